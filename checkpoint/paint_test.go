package checkpoint

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"connector/sources"
)

// TestPaint compares coverage with a state for each second: paint changes what lies in
// the span and nothing else, leaves its receiver alone, and joins what is alike.
func TestPaint(t *testing.T) {
	const seconds = 40
	at := func(n int) time.Time { return time.Unix(int64(1000+n), 0) }
	rapid.Check(t, func(t *rapid.T) {
		var c coverage
		var want [seconds]State
		for range rapid.IntRange(1, 20).Draw(t, "paints") {
			from := rapid.IntRange(0, seconds-1).Draw(t, "from")
			to := rapid.IntRange(from-1, seconds-1).Draw(t, "to")
			as := rapid.Permutation([]State{Unread, Backfill, Gap, Young, Watched, Lost, Sealed}).Draw(t, "as")
			of := func(s State) State { return as[s] % 3 } // often alike
			before := slices.Clone(c)
			next := c.paint(sources.Span{From: at(from), To: at(to)}, time.Second, of)
			if !slices.EqualFunc(c, before, sameRange) {
				t.Fatalf("paint changed its receiver: got %v, want %v", c, before)
			}
			for i := from; i <= to; i++ {
				want[i] = of(want[i])
			}
			if c = next; !slices.EqualFunc(c, ranges(want[:], at), sameRange) {
				t.Fatalf("painting %d–%d: got %v, want %v", from, to, c, ranges(want[:], at))
			}
		}
	})
}

// ranges returns the coverage of a state for each second.
func ranges(states []State, at func(int) time.Time) (c coverage) {
	for i, s := range states {
		switch n := len(c); {
		case s == Unread:
		case n > 0 && c[n-1].State == s && c[n-1].To.Equal(at(i-1)):
			c[n-1].To = at(i)
		default:
			c = append(c, Range{sources.Span{From: at(i), To: at(i)}, s})
		}
	}
	return c
}
