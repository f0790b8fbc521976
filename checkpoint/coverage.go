package checkpoint

import (
	"sort"
	"time"

	"connector/sources"
)

// State says what is known of a range of a stream's time.
type State uint8

// The states of ranges. Every instant from the stream's start on has one;
// before the start only what a backfill asked for.
const (
	Unread   State = iota // to be read; before the start: not asked for
	Backfill              // to be read when nothing else is
	Gap                   // read, but an answer did not prove itself: rows may be missing
	Young                 // read; rows may still appear
	Watched               // read after the lateness of its rows; open records may change
	Lost                  // a gap that was given up
	Sealed                // given up: read no more, its entries are forgotten
)

// String returns the word for a state.
func (s State) String() string {
	return [...]string{"unread", "backfill", "gap", "young", "watched", "lost", "sealed"}[s]
}

// closed reports whether a range is not read any more.
func (s State) closed() bool { return s == Sealed || s == Lost }

// pending reports whether a range was not read yet.
func (s State) pending() bool { return s == Unread || s == Backfill }

// Range is a stretch of time in one state.
type Range struct {
	sources.Span
	State State
}

// coverage is an interval map: ranges that ascend, do not touch while their
// states are equal, and leave out what is Unread. It is never changed in place.
type coverage []Range

// paint gives each instant of s the state that of returns for its present one.
func (c coverage) paint(s sources.Span, tick time.Duration, of func(State) State) coverage {
	if s.Empty() {
		return c
	}
	before, behind := s.From.Add(-tick), s.To.Add(tick)
	first := sort.Search(len(c), func(i int) bool { return c[i].To.After(before) })
	last := first + sort.Search(len(c)-first, func(i int) bool { return !c[first+i].From.Before(behind) })
	painted := append(make(coverage, 0, len(c)+2), c[:first]...)
	for _, r := range c[first:last] {
		if r.From.Before(s.From) {
			r.To = earlier(r.To, before)
			painted = painted.add(r, tick)
		}
	}
	for _, r := range c[first:last].within(s, tick) {
		painted = painted.add(Range{r.Span, of(r.State)}, tick)
	}
	for _, r := range c[first:last] {
		if r.To.After(s.To) {
			r.From = later(r.From, behind)
			painted = painted.add(r, tick)
		}
	}
	if last < len(c) { // alone it may touch what is painted
		painted = append(painted.add(c[last], tick), c[last+1:]...)
	}
	return painted
}

// add appends r, or joins it to the last range when they touch and are alike.
func (c coverage) add(r Range, tick time.Duration) coverage {
	if r.State == Unread {
		return c
	}
	if n := len(c); n > 0 && c[n-1].State == r.State && c[n-1].To.Add(tick).Equal(r.From) {
		c[n-1].To = r.To
		return c
	}
	return append(c, r)
}

// within returns all of s in ranges, Unread ones included.
func (c coverage) within(s sources.Span, tick time.Duration) []Range {
	var list []Range
	for _, r := range c {
		if r.To.Before(s.From) || r.From.After(s.To) {
			continue
		}
		if r.From.After(s.From) {
			list = append(list, Range{sources.Span{From: s.From, To: r.From.Add(-tick)}, Unread})
			s.From = r.From
		}
		r.From, r.To = s.From, earlier(r.To, s.To)
		list = append(list, r)
		s.From = r.To.Add(tick)
	}
	if !s.Empty() {
		list = append(list, Range{s, Unread})
	}
	return list
}

// at returns the state of an instant.
func (c coverage) at(t time.Time) State {
	for _, r := range c {
		if r.Contains(t) {
			return r.State
		}
	}
	return Unread
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
