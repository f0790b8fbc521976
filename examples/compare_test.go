package examples

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
)

// questions are what every example answers, in this order.
var questions = [...]string{
	"Which share of the logged calls has failed, by node and hour?",
	"How many seconds does the delivery of a text message take?",
	"Which messages are unresolved?",
}

// compare returns what is wrong about the tables that an example printed, "" when nothing is. Each table begins with
// "== " and the question, then comes its head.
func (a answers) compare(printed string) string {
	want := [][][]string{a.failureRate, a.latency, a.unresolved}
	sections := strings.Split("\n"+printed, "\n== ")
	if len(sections)-1 != len(want) {
		return fmt.Sprintf("got %d tables, want %d", len(sections)-1, len(want))
	}
	for i, section := range sections[1:] {
		lines := strings.Split(strings.TrimSpace(section), "\n")
		if lines[0] != questions[i] {
			return fmt.Sprintf("table %d: got question %q, want %q", i+1, lines[0], questions[i])
		}
		if len(lines)-2 != len(want[i]) {
			return fmt.Sprintf("table %q: got %d rows, want %d", lines[0], len(lines)-2, len(want[i]))
		}
		for j, line := range lines[2:] {
			if got := strings.Fields(line); !sameCells(got, want[i][j]) {
				return fmt.Sprintf("table %q, row %d: got %q, want %q", lines[0], j+1, got, want[i][j])
			}
		}
	}
	return ""
}

// sameCells compares two rows. Numbers are the same whatever their spelling, and rounded to one decimal place: half a
// tenth may be rounded up or down.
func sameCells(got, want []string) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if got[i] == want[i] {
			continue
		}
		g, err := strconv.ParseFloat(got[i], 64)
		w, werr := strconv.ParseFloat(want[i], 64)
		if err != nil || werr != nil || math.Abs(g-w) > 0.101 {
			return false
		}
	}
	return true
}

// TestCompare changes each cell of right answers in turn: every one must be noticed.
func TestCompare(t *testing.T) {
	a := answer(population())
	if got := a.compare(a.print()); got != "" {
		t.Fatalf("got %q of the answers themselves, want nothing", got)
	}
	for _, table := range [][][]string{a.failureRate, a.latency, a.unresolved} {
		for _, cells := range table {
			for i, was := range cells {
				right := a
				printed := func() string { cells[i] = changed(was); defer func() { cells[i] = was }(); return a.print() }()
				if right.compare(printed) == "" {
					t.Fatalf("row %q: nobody notices %q instead of %q", cells, changed(was), was)
				}
			}
		}
	}
}

// changed returns another value of a cell.
func changed(cell string) string {
	if n, err := strconv.ParseFloat(cell, 64); err == nil {
		return strconv.FormatFloat(n+1, 'f', 1, 64)
	}
	return cell + "x"
}

func (a answers) print() string {
	var b strings.Builder
	for i, table := range [][][]string{a.failureRate, a.latency, a.unresolved} {
		fmt.Fprintf(&b, "== %s\nhead\n", questions[i])
		for _, cells := range table {
			fmt.Fprintln(&b, strings.Join(cells, "\t"))
		}
	}
	return b.String()
}
