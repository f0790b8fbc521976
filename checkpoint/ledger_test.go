package checkpoint_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"connector/checkpoint"
	"connector/sources"
)

var (
	t0     = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	flow   = sources.Stream{Name: "flow", Tick: tick}
	prefix = checkpoint.Prefix("hq", flow)
)

const tick = time.Second

func span(from, to int) sources.Span {
	return sources.Span{From: t0.Add(time.Duration(from) * time.Second), To: t0.Add(time.Duration(to) * time.Second)}
}

func rec(id string, created int, rank int64, print string, terminal bool) sources.Record {
	return sources.Record{ID: id, Created: t0.Add(time.Duration(created) * time.Second), Rank: rank, Print: print, Terminal: terminal}
}

func bad(id, print string) sources.Record {
	return sources.Record{ID: id, Created: t0.Add(time.Second), Print: print, Rank: sources.UnknownRank, Fault: errors.New("not an object")}
}

func TestAdmit(t *testing.T) {
	type step struct {
		r    sources.Record
		want int // revision, 0 for a stale read
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"same row again", []step{{rec("a", 1, 1, "p", false), 1}, {rec("a", 1, 1, "p", false), 0}}},
		{"next version", []step{{rec("a", 1, 1, "p", false), 1}, {rec("a", 1, 2, "q", false), 2}, {rec("a", 1, 2, "q", false), 0}}},
		{"same rank, new print", []step{{rec("a", 1, 1, "p", false), 1}, {rec("a", 1, 1, "q", false), 2}}},
		{"older rank", []step{{rec("a", 1, 2, "q", false), 1}, {rec("a", 1, 1, "p", false), 0}}},
		{"back to the print before", []step{{rec("a", 1, 1, "p", false), 1}, {rec("a", 1, 1, "q", false), 2}, {rec("a", 1, 1, "p", false), 0}}},
		{"turned bad", []step{{rec("a", 1, 2, "q", false), 1}, {bad("a", "r"), 2}, {bad("a", "r"), 0}, {rec("a", 1, 1, "p", false), 0}}},
		{"two records", []step{{rec("a", 1, 1, "p", false), 1}, {rec("b", 1, 1, "p", false), 1}}},
	}
	for _, tt := range tests {
		for _, separate := range []bool{false, true} {
			disk := newDisk()
			l := disk.ledger(t)
			b := l.Begin()
			for i, s := range tt.steps {
				got, fresh := admit(t, b, s.r, span(0, 10))
				if got != s.want || fresh != (s.want > 0) {
					t.Errorf("%s, step %d, separate %v: got revision %d, %v, want %d", tt.name, i, separate, got, fresh, s.want)
				}
				if separate {
					disk.commit(t, b)
					b = l.Begin()
				}
			}
		}
	}
}

func TestDeadCountsNoRevision(t *testing.T) {
	b := newDisk().ledger(t).Begin()
	poison := rec("a", 1, 1, "p", false)
	if _, fresh := admit(t, b, poison, span(0, 10)); !fresh {
		t.Fatal("got a stale read of an unknown record")
	}
	b.Dead(poison)
	if _, fresh := admit(t, b, poison, span(0, 10)); fresh {
		t.Error("a dead letter would be written twice")
	}
	if got, _ := admit(t, b, rec("a", 1, 2, "q", false), span(0, 10)); got != 1 {
		t.Errorf("first published version: got revision %d, want 1", got)
	}
}

func TestCover(t *testing.T) {
	const lateness = 30 * time.Second
	tests := []struct {
		name              string
		spans             []sources.Span
		seen              int
		settled, frontier int
	}{
		{"nothing yet", nil, 100, -1, -1},
		{"old range", []sources.Span{span(0, 50)}, 100, 50, 50},
		{"young range", []sources.Span{span(0, 90)}, 100, 70, 90},
		{"two that join", []sources.Span{span(0, 50), span(51, 60)}, 100, 60, 60},
		{"a hole stops both", []sources.Span{span(0, 50), span(52, 60)}, 100, 50, 50},
		{"read again", []sources.Span{span(0, 90), span(71, 90)}, 100, 70, 90},
		{"empty span", []sources.Span{span(0, -1)}, 100, -1, -1},
	}
	for _, tt := range tests {
		disk := newDisk()
		l := disk.ledger(t)
		for _, s := range tt.spans {
			b := l.Begin()
			b.Cover(s, span(0, tt.seen).To, lateness)
			disk.commit(t, b)
		}
		if got, want := l.Settled(), span(0, tt.settled).To; !got.Equal(want) {
			t.Errorf("%s: settled: got %v, want %v", tt.name, got, want)
		}
		if got, want := l.Frontier(), span(0, tt.frontier).To; !got.Equal(want) {
			t.Errorf("%s: frontier: got %v, want %v", tt.name, got, want)
		}
	}
}

func TestOpenMergesHours(t *testing.T) {
	disk := newDisk()
	l := disk.ledger(t)
	b := l.Begin()
	for i, hour := range []int{0, 1, 2, 5, 9} {
		admit(t, b, rec(fmt.Sprint(i), hour*3600+60, 1, "p", hour == 9), span(0, 10*3600))
	}
	disk.commit(t, b)
	got := l.Open(span(0, 3600).To, span(0, 5*3600+600).To)
	want := []sources.Span{span(3600, 3*3600), span(5*3600, 5*3600+600)}
	if !slices.EqualFunc(got, want, func(a, b sources.Span) bool { return a.From.Equal(b.From) && a.To.Equal(b.To) }) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestForgetKeepsWhatIsReadAgain(t *testing.T) {
	disk := newDisk()
	l := disk.ledger(t)
	b := l.Begin()
	admit(t, b, rec("old", 10, 1, "p", true), span(0, 3*3600))
	admit(t, b, rec("young", 2*3600+60, 1, "p", true), span(0, 3*3600))
	b.Cover(span(0, 3*3600), span(0, 9*3600).To, time.Hour)
	disk.commit(t, b)
	b = l.Begin()
	b.Seal(span(0, 2*3600).To)
	disk.commit(t, b)
	for _, l := range []*checkpoint.Ledger{l, disk.ledger(t)} {
		b = l.Begin()
		if _, fresh := admit(t, b, rec("young", 2*3600+60, 1, "p", true), span(0, 3*3600)); fresh {
			t.Error("a record that may be read again was forgotten")
		}
		if _, fresh := admit(t, b, rec("old", 10, 1, "p", true), span(0, 3*3600)); !fresh {
			t.Error("a record that is never read again was kept")
		}
	}
}

func TestKnown(t *testing.T) {
	known := []sources.Record{rec("a", 1, 1, "p", false), rec("a", 1, 2, "q", false), rec("turned bad", 1, 1, "p", false), bad("turned bad", "r"), bad("bad", "r")}
	tests := []struct {
		name     string
		r        sources.Record
		revision int
		current  bool
	}{
		{"latest", rec("a", 1, 2, "q", false), 2, true},
		{"older", rec("a", 1, 1, "p", false), 2, false},
		{"unreadable, after a readable one", bad("turned bad", "r"), 1, true},
		{"dead letter only", bad("bad", "r"), 0, true},
		{"unknown", rec("b", 1, 1, "p", false), 0, false},
	}
	disk := newDisk()
	l := disk.ledger(t)
	b := l.Begin()
	for _, r := range known {
		admit(t, b, r, span(0, 10))
		if r.Fault != nil {
			b.Dead(r)
		}
	}
	disk.commit(t, b)
	for _, tt := range tests {
		b := l.Begin()
		if err := b.Read(t.Context(), []sources.Record{tt.r}, span(0, 10)); err != nil {
			t.Fatal(err)
		}
		if k := b.Known(tt.r); k.Revision != tt.revision || k.Current != tt.current {
			t.Errorf("%s: got %+v, want revision %d, current %v", tt.name, k, tt.revision, tt.current)
		}
	}
}

// TestTurnedUndated reads a row that loses its readable time, in the same
// commit as before or in a later one, and that gets it back.
func TestTurnedUndated(t *testing.T) {
	good, next := rec("a", 1, 1, "p", false), rec("a", 1, 2, "r", false)
	undated := bad("a", "q")
	undated.Created = time.Time{}
	for _, separate := range []bool{false, true} {
		disk := newDisk()
		l := disk.ledger(t)
		b := l.Begin()
		for i, s := range []struct {
			r    sources.Record
			want int
		}{{good, 1}, {undated, 2}, {undated, 0}, {good, 0}, {next, 3}, {undated, 4}, {next, 0}, {undated, 0}} {
			if got, _ := admit(t, b, s.r, span(0, 3600)); got != s.want {
				t.Errorf("step %d, separate %v: got revision %d, want %d", i, separate, got, s.want)
			}
			if separate || i == 1 {
				disk.commit(t, b)
				l = disk.ledger(t)
				b = l.Begin()
			}
		}
	}
}
