package scan

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"connector/sources"
)

// slow is an API with a row in each tick that answers in time for so many ticks at most.
type slow struct {
	most           int // ticks
	requests, late int
}

func (s *slow) answer(_ context.Context, span sources.Span, take func(Row) error) error {
	s.requests++
	from, to := ticksOf(span.From), ticksOf(span.To)
	for i := from; i <= to; i++ {
		if to-from >= s.most && i-from == s.most/2 { // in the middle of it
			s.late++
			return fmt.Errorf("reading: %w", ErrLate)
		}
		if err := take(Row{Record: sources.Record{ID: strconv.Itoa(i), Created: at(i), Size: 9}}); err != nil {
			return err
		}
	}
	return nil
}

// read scans a window as often as answers come late, each time what is not proven yet.
func (s *slow) read(t rapid.TB, window sources.Span, memory *Memory) {
	seen := map[string]bool{}
	for rest, n := window, 0; !rest.Empty(); n++ {
		if n == 1000 {
			t.Fatalf("%v of %v is not read by %d scans", rest, window, n)
		}
		var last error
		for chunk, err := range Split(context.Background(), rest, tick, memory, s.answer) {
			if last = err; err != nil {
				break
			}
			for _, r := range chunk.Records {
				seen[r.ID] = true
			}
			rest.From = chunk.Proven.To.Add(tick)
		}
		if last != nil && !errors.Is(last, ErrLate) {
			t.Fatal(last)
		}
	}
	for i := ticksOf(window.From); i <= ticksOf(window.To); i++ {
		if !seen[strconv.Itoa(i)] {
			t.Fatalf("tick %d of %v is proven and was not shown", i, window)
		}
	}
}

// TestSplitLate reads any window of an API that answers in time for a part of it only.
func TestSplitLate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := slow{most: rapid.IntRange(1, 200).Draw(t, "most")}
		ticks := rapid.IntRange(1, 1000).Draw(t, "ticks")
		s.read(t, span(0, ticks-1), new(Memory))
		if most := 11 + ticks/(patience*((s.most+1)/2)); s.late > most {
			t.Errorf("%d ticks, %d at once: got %d late answers, want %d at most", ticks, s.most, s.late, most)
		}
	})
}

// TestSplitAfterOutage asks for more again when an API that answered nothing in time is back.
func TestSplitAfterOutage(t *testing.T) {
	s, memory := slow{}, new(Memory)
	for range 40 {
		for _, err := range Split(t.Context(), span(0, 3_600_000), tick, memory, s.answer) {
			if !errors.Is(err, ErrLate) {
				t.Fatalf("got %v, want a late answer", err)
			}
		}
	}
	if got := memory.first(span(0, 9), tick); got != span(0, 0) || s.requests != 40 {
		t.Errorf("after an outage: got %v asked for first, %d requests for 40 scans", got, s.requests)
	}
	s = slow{most: 1 << 30}
	const ticks = 10_000
	s.read(t, span(0, ticks), memory)
	if s.requests > 100 || s.late > 0 {
		t.Errorf("got %d requests for %d ticks", s.requests, ticks)
	}
	s.requests = 0
	s.read(t, span(ticks+1, 2*ticks), memory)
	if s.requests > 60 {
		t.Errorf("got %d requests for the next %d ticks", s.requests, ticks)
	}
}
