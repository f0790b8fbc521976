package checkpoint_test

import (
	"slices"
	"sort"
	"testing"
	"time"

	"pgregory.net/rapid"

	"connector/checkpoint"
)

// seconds is a map of coverage with a state for each second.
type seconds struct {
	from   int // of the first one
	states []checkpoint.State
}

func newSeconds(from, to int) *seconds {
	return &seconds{from: from, states: make([]checkpoint.State, to-from)}
}

func (m *seconds) clone() *seconds { return &seconds{m.from, slices.Clone(m.states)} }

func (m *seconds) set(from, to int, of func(second int, was checkpoint.State) checkpoint.State) {
	for s := max(from, m.from); s <= to && s < m.from+len(m.states); s++ {
		m.states[s-m.from] = of(s, m.states[s-m.from])
	}
}

func closed(s checkpoint.State) bool {
	return s == checkpoint.Sealed || s == checkpoint.Lost
}

// TestCoverageModel compares the ranges of a ledger with a state per second,
// through whatever changes them, reloads and rewinds.
func TestCoverageModel(t *testing.T) {
	const first, last = -4 * 3600, 8 * 3600
	seen := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		d := newDisk()
		m := newSeconds(first, last)
		saved := map[int64]*seconds{}
		second := func(label string) int {
			return rapid.SampledFrom([]int{rapid.IntRange(first, last-1).Draw(t, label), -1, 0, 1, 3599, 3600, 3601}).Draw(t, label)
		}
		for n := range rapid.IntRange(1, 30).Draw(t, "steps") {
			l := d.ledger(t)
			b := l.Begin()
			from := second("from")
			to := min(from+rapid.IntRange(-1, 5000).Draw(t, "length"), last-1)
			switch rapid.IntRange(0, 6).Draw(t, "step") {
			case 0, 1:
				now := second("seen")
				b.Cover(span(from, to), span(0, now).To, 10*time.Minute)
				m.set(from, to, func(s int, was checkpoint.State) checkpoint.State {
					switch {
					case closed(was) || was == checkpoint.Watched:
						return was
					case s <= now-600:
						return checkpoint.Watched
					}
					return checkpoint.Young
				})
			case 2:
				b.Gap(span(from, to))
				m.set(from, to, func(_ int, was checkpoint.State) checkpoint.State {
					if closed(was) {
						return was
					}
					return checkpoint.Gap
				})
			case 3:
				at := second("seal")
				b.Seal(span(0, at).To)
				whole := first + (at-first)/3600*3600
				m.set(first, whole-1, func(_ int, was checkpoint.State) checkpoint.State {
					switch was {
					case checkpoint.Watched:
						seen["sealed"]++
						return checkpoint.Sealed
					case checkpoint.Gap:
						seen["lost"]++
						return checkpoint.Lost
					default:
						return was
					}
				})
			case 4:
				b.Want(span(from, to))
				m.set(from, min(to, -1), func(_ int, was checkpoint.State) checkpoint.State {
					if was == checkpoint.Unread {
						return checkpoint.Backfill
					}
					return was
				})
			case 5:
				b.Save(t0.Add(time.Duration(n) * time.Minute))
				saved[t0.Add(time.Duration(n)*time.Minute).Unix()] = m.clone()
			case 6:
				if len(l.Savepoints()) == 0 {
					continue
				}
				at := rapid.SampledFrom(l.Savepoints()).Draw(t, "savepoint")
				ranges, err := l.Savepoint(t.Context(), at)
				if err != nil {
					t.Fatal(err)
				}
				old := saved[at.Unix()]
				reopened := m.clone()
				m.set(first, last, func(s int, was checkpoint.State) checkpoint.State {
					then := old.states[s-first]
					pending := then == checkpoint.Unread || then == checkpoint.Backfill
					if closed(was) || was == checkpoint.Unread || was == checkpoint.Backfill || !pending && (then != checkpoint.Young || was != checkpoint.Watched) {
						return was
					}
					seen["reopened"]++
					if then == checkpoint.Unread && s < 0 { // nothing else would read it again
						return checkpoint.Backfill
					}
					return then
				})
				want := 0
				for i := range m.states {
					if m.states[i] != reopened.states[i] {
						want++
					}
				}
				got := 0
				for _, s := range b.Rewind(ranges) {
					got += int(s.To.Sub(s.From)/time.Second) + 1
				}
				if got != want {
					t.Fatalf("rewound to %v: got %d seconds, want %d", at, got, want)
				}
			}
			d.commit(t, b)
			checkSeconds(t, d.ledger(t), m)
		}
	})
	for _, event := range []string{"sealed", "lost", "reopened"} {
		if seen[event] == 0 {
			t.Errorf("%s: never happened", event)
		}
	}
}

// checkSeconds compares the state of each second, and that equal neighbours are one range.
func checkSeconds(t *rapid.T, l *checkpoint.Ledger, m *seconds) {
	ranges := l.Ranges()
	for i, r := range ranges {
		if i > 0 && (ranges[i-1].State == r.State || !ranges[i-1].To.Add(tick).Equal(r.From)) {
			t.Fatalf("ranges %v and %v do not follow each other", ranges[i-1], r)
		}
	}
	got := newSeconds(m.from, m.from+len(m.states))
	for _, r := range ranges {
		got.set(int(r.From.Sub(t0)/time.Second), int(r.To.Sub(t0)/time.Second), func(int, checkpoint.State) checkpoint.State { return r.State })
	}
	read, end := true, -1
	for i, want := range m.states {
		s := m.from + i
		if got := got.states[i]; got != want {
			t.Fatalf("second %d: got %v, want %v", s, got, want)
		}
		if s >= 0 {
			if read = read && want != checkpoint.Unread && want != checkpoint.Backfill; read {
				end = s
			}
		}
	}
	if got, want := l.Frontier(), span(0, end).To; !got.Equal(want) {
		t.Fatalf("frontier: got %v, want %v", got, want)
	}
}

// TestManyGapsBecomeFewer checks that the head stays small, and that what is
// unread or given up is never taken for a gap.
func TestManyGapsBecomeFewer(t *testing.T) {
	d := newDisk()
	l := d.ledger(t)
	b := l.Begin()
	b.Cover(span(0, 100_000), span(0, 200_000).To, time.Hour)
	for i := range 5000 {
		b.Gap(span(10+20*i, 12+20*i))
	}
	d.commit(t, b)
	l = d.ledger(t)
	if got, most := len(l.Ranges()), 4096; got > most {
		t.Errorf("got %d ranges, want at most %d", got, most)
	}
	gaps := l.In(checkpoint.Gap)
	for i := range 5000 {
		at := span(0, 11+20*i).To
		if n := sort.Search(len(gaps), func(i int) bool { return !gaps[i].To.Before(at) }); n == len(gaps) || !gaps[n].Contains(at) {
			t.Fatalf("gap %d is lost", i)
		}
	}
}

// TestManyLostGapsBecomeFewer gives up a gap in each of many hours: they must
// not widen those that are still tried.
func TestManyLostGapsBecomeFewer(t *testing.T) {
	d := newDisk()
	l := d.ledger(t)
	b := l.Begin()
	for h := range 2200 {
		b.Cover(span(h*3600, h*3600+3599), span(h*3600+8000, h*3600+8000).To, time.Hour)
		b.Gap(span(h*3600+100, h*3600+100))
		b.Seal(span(0, (h-72)*3600).To)
	}
	d.commit(t, b)
	l = d.ledger(t)
	if got, most := len(l.Ranges()), 4096; got > most {
		t.Errorf("got %d ranges, want at most %d", got, most)
	}
	for _, s := range l.In(checkpoint.Gap) {
		if !s.From.Equal(s.To) {
			t.Errorf("got the gap %v, want one of a second", s)
		}
	}
}

// TestSavepointsAreBounded saves every hour for 60 days.
func TestSavepointsAreBounded(t *testing.T) {
	d := newDisk()
	l := d.ledger(t)
	for h := range 60 * 24 {
		b := l.Begin()
		b.Save(t0.Add(time.Duration(h) * time.Hour))
		d.commit(t, b)
	}
	got := l.Savepoints()
	last := t0.Add((60*24 - 1) * time.Hour)
	if n := len(got); n < 48+27 || n > 48+31 {
		t.Errorf("got %d savepoints, want 48 and one for each of the 30 days before", n)
	}
	if !got[len(got)-1].Equal(last) || !got[len(got)-48].Equal(last.Add(-47*time.Hour)) {
		t.Errorf("got %v as the latest, want each of the last 48 hours to %v", got[len(got)-48:], last)
	}
	kept := 0
	for key := range d.state {
		if checkpoint.Paged(key) {
			kept++
		}
	}
	if kept != len(got) {
		t.Errorf("got %d savepoints in the store, want %d", kept, len(got))
	}
}
