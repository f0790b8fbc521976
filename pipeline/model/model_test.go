//go:debug randseednop=0

// Package model searches for histories that break the pipeline: random rows,
// faults and crashes against the real pipeline, ledger and scans, in fake
// time, checked against what the simulated provider knows. See docs/proofs.md.
package model

import (
	"bufio"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	histories = flag.Int("histories", 0, "number of histories; 0 for a number that takes seconds")
	firstSeed = flag.Uint64("seed", 1, "seed of the first history")
	traced    = flag.Bool("steps", false, "log what happens in a history that fails")
)

const (
	full      = 10_000 // histories of a full run
	leastEach = 100    // times that each kind of event must occur in it
)

// seedJitter makes the jitter of retries, which package backoff takes from
// the global source, the same in each run of a history.
func seedJitter(seed uint64) {
	rand.Seed(int64(seed)) //nolint:staticcheck // the global source is what backoff uses; see the go:debug line
}

func TestHistories(t *testing.T) {
	n := *histories
	switch {
	case n > 0:
	case raced:
		n = full / 100
	default:
		n = full / 25
	}
	defer debug.SetGCPercent(debug.SetGCPercent(800)) // a history is small and its garbage is not
	var total counts
	began := time.Now()
	for seed := *firstSeed; seed < *firstSeed+uint64(n); seed++ {
		c, err := play(t, seed, nil)
		if total.add(&c); err != nil {
			explain(t, seed, err, int(seed-*firstSeed)+1)
		}
	}
	var table strings.Builder
	rare := total.print(&table, leastEach*n/full)
	t.Logf("%d histories in %v, %v each\n%s", n, time.Since(began).Round(time.Millisecond), (time.Since(began) / time.Duration(n)).Round(time.Microsecond), table.String())
	if n >= full/4 && len(rare) > 0 {
		t.Errorf("too rare in %d histories, want at least %d: %s", n, leastEach*n/full, strings.Join(rare, ", "))
	}
}

// explain plays a failed history again with its trace and fails.
func explain(t *testing.T, seed uint64, err error, n int) {
	t.Helper()
	var trace []string
	_, again := play(t, seed, func(format string, args ...any) { trace = append(trace, fmt.Sprintf(format, args...)) })
	if *traced {
		t.Log(strings.Join(trace, "\n"))
	}
	if fmt.Sprint(again) != fmt.Sprint(err) {
		t.Logf("played again: %v", again)
	}
	t.Fatalf("history %d, seed %d: %v\nsee it: go test ./pipeline/model -run Histories -histories 1 -seed %d -steps\nkeep it: testdata/seeds.txt", n, seed, err, seed)
}

// A seed is worth keeping only when it is the same history each time.
func TestSeedsRepeat(t *testing.T) {
	for seed := range uint64(max(25, *histories/100)) {
		first, err := play(t, seed, nil)
		second, again := play(t, seed, nil)
		if first != second || fmt.Sprint(err) != fmt.Sprint(again) {
			t.Errorf("seed %d: got %v, %v, then %v, %v", seed, first, err, second, again)
		}
	}
}

// TestRegressions plays the histories that once failed.
func TestRegressions(t *testing.T) {
	f, err := os.Open("testdata/seeds.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		seed, err := strconv.ParseUint(line, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := play(t, seed, nil); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}
