package sourcetest

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"connector/sources"
)

// largeBytes is what the rows of the large window have, at least.
const largeBytes = 8 << 20

// again scans twice at once, by the source and by another, while both are
// asked for all else, and checks that records come out the same.
func (c *checker) again(ctx context.Context, src sources.Source, st sources.Stream, first *result) {
	other, ok := c.other()
	if !ok {
		return
	}
	c.owner(other, false)
	var results [3]*result
	var group sync.WaitGroup
	for i, s := range []sources.Source{src, src, other} {
		group.Go(func() { results[i] = read(ctx, s, st, c.Window) })
		group.Go(func() {
			_, _ = s.Now(ctx) // checked when it is called alone
			s.Owner()
			s.Streams()
			for _, id := range c.IDs[:min(10, len(c.IDs))] {
				_, _ = s.Normalize(st, first.records[id])
			}
		})
	}
	group.Wait()
	for _, r := range results {
		c.keeps(r)
		c.same("again", r, first, "")
	}
	c.owner(other, true)
}

// empty scans a window without an instant.
func (c *checker) empty(ctx context.Context, src sources.Source, st sources.Stream) {
	window := sources.Span{From: c.Window.From, To: c.Window.From.Add(-st.Tick)}
	if r := c.scan(ctx, src, st, window); r.err != nil || r.proven != window {
		c.breach("empty", "scan of %v ends with %v proven and error %v", window, r.proven, r.err)
	}
}

// tick scans the instant of one record: both ends of a window belong to it.
func (c *checker) tick(ctx context.Context, src sources.Source, st sources.Stream, good *result) {
	id := c.IDs[len(c.IDs)/2]
	at := good.records[id].Created
	at = at.Add(-(at.Sub(c.Window.From) % st.Tick))
	r := c.scan(ctx, src, st, sources.Span{From: at, To: at})
	_, gap := errors.AsType[*sources.GapError](r.err)
	if _, found := r.records[id]; !found || r.err != nil && !gap {
		c.breach("tick", "record %q is found by a scan of its instant %v: %v, error %v", id, at, found, r.err)
	}
}

// huge scans a window of half a century.
func (c *checker) huge(ctx context.Context, src sources.Source, st sources.Stream, good *result) {
	window := sources.Span{From: c.Window.From.AddDate(-50, 0, 0), To: c.Window.To}
	r := c.scan(ctx, src, st, window)
	if r.err != nil || r.proven != window {
		c.breach("huge", "scan of %v ends with %v proven and error %v", window, r.proven, r.err)
		return
	}
	for id := range good.records {
		if _, found := r.records[id]; !found {
			c.breach("huge", "scan of %v lacks record %q", window, id)
			return
		}
	}
}

// memory scans many bytes and checks that most are let go meanwhile.
func (c *checker) memory(ctx context.Context, src sources.Source, st sources.Stream) {
	before, most := heap(0), uint64(0)
	var total, counted int64 // bytes of rows, and those when the bytes in use were counted
	for chunk, err := range src.Scan(ctx, st, c.Large) {
		if err != nil {
			c.sees(err)
			c.breach("memory", "scan of %v ends with error %v", c.Large, err)
			return
		}
		for _, rec := range chunk.Records {
			total += rec.Size
		}
		if total-counted >= largeBytes/8 {
			most, counted = max(most, heap(before+largeBytes/2)), total
		}
	}
	switch {
	case total < largeBytes:
		c.breach("harness", "the rows of Large have %d bytes, less than %d", total, largeBytes)
	case most > before+uint64(total/2):
		c.breach("memory", "%d bytes in use after some of %d bytes of rows, and %d before", most, total, before)
	}
}

// heap returns the bytes in use. More than limit are counted again: they may be
// what others let go meanwhile.
func heap(limit uint64) (used uint64) {
	for range 3 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		if used = m.HeapAlloc; used <= limit {
			break
		}
	}
	return used
}
