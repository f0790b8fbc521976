package sourcetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"connector/sources"
	"connector/sources/scan"
)

// result is what a scan gave.
type result struct {
	records map[string]sources.Record // by id
	rows    map[string][sha256.Size]byte
	proven  sources.Span // of the last chunk
	err     error
	wrong   []breach
}

// breach of a rule, in a goroutine of its own.
type breach struct{ rule, text string }

func (r *result) breach(rule, format string, args ...any) {
	r.wrong = append(r.wrong, breach{rule, fmt.Sprintf(format, args...)})
}

// read runs a scan to its end and checks the rules for chunks.
func read(ctx context.Context, src sources.Source, st sources.Stream, window sources.Span) *result {
	r := &result{
		records: map[string]sources.Record{}, rows: map[string][sha256.Size]byte{},
		proven: sources.Span{From: window.From, To: window.From.Add(-st.Tick)},
	}
	for chunk, err := range src.Scan(ctx, st, window) {
		if r.err != nil {
			r.breach("chunks", "something follows the error")
		}
		if r.err = err; err != nil {
			continue
		}
		r.take(chunk, st.Tick, window)
	}
	for id, rec := range r.records {
		if sha256.Sum256(rec.Raw) != r.rows[id] {
			r.breach("chunks", "the row of record %q changed after it was yielded", id)
		}
	}
	if gap, ok := errors.AsType[*sources.GapError](r.err); ok {
		if !gap.Span.From.Equal(r.proven.To.Add(st.Tick)) || gap.Span.Empty() || gap.Span.To.After(window.To) {
			r.breach("gap", "%v, when %v is proven of %v", gap.Span, r.proven, window)
		}
	}
	return r
}

// take checks one chunk.
func (r *result) take(chunk sources.Chunk, tick time.Duration, window sources.Span) {
	bytes := 0
	for _, rec := range chunk.Records {
		bytes += len(rec.Raw)
		r.record(rec, window)
	}
	if n := len(chunk.Records); n > scan.MaxRecords || n > 1 && bytes > scan.MaxBytes {
		r.breach("chunks", "one has %d records of %d bytes", n, bytes)
	}
	to := chunk.Proven.To
	if !chunk.Proven.From.Equal(window.From) || to.Before(r.proven.To) || to.After(window.To) || to.Sub(window.From)%tick != 0 {
		r.breach("chunks", "proven goes from %v to %v in window %v", r.proven, chunk.Proven, window)
	}
	r.proven = chunk.Proven
}

// record checks a record against those before it: the rows do not change
// while they are read.
func (r *result) record(rec sources.Record, window sources.Span) {
	row := sha256.Sum256(rec.Raw)
	before, seen := r.rows[rec.ID]
	switch {
	case seen && before != row:
		r.breach("record", "id %q names two rows", rec.ID)
	case !seen && !rec.Moves && window.Contains(rec.Created) && r.proven.Contains(rec.Created):
		r.breach("chunks", "record %q, created %v, comes after %v was proven", rec.ID, rec.Created, r.proven)
	}
	r.records[rec.ID], r.rows[rec.ID] = rec, row
}

// scan runs a scan and checks the rules every scan keeps.
func (c *checker) scan(ctx context.Context, src sources.Source, st sources.Stream, window sources.Span) *result {
	r := read(ctx, src, st, window)
	c.keeps(r)
	return r
}

// keeps notes what was wrong with a scan.
func (c *checker) keeps(r *result) {
	c.sees(r.err)
	for _, w := range r.wrong {
		c.breach(w.rule, "%s", w.text)
	}
	if mark := markOf(r.err); mark == "reject" {
		c.breach("mark", "a scan ends with an error that rejects one record: %v", r.err)
	}
}

// whole scans the window and checks that nothing is missing.
func (c *checker) whole(ctx context.Context, src sources.Source, st sources.Stream) *result {
	r := c.scan(ctx, src, st, c.Window)
	if r.err != nil {
		c.breach("scan", "%v", r.err)
		return r
	}
	if r.proven != c.Window {
		c.breach("scan", "%v is proven at the end, not the window %v", r.proven, c.Window)
	}
	events, rejects := map[string]bool{}, 0
	for id, rec := range r.records {
		if events[id] = c.record(src, st, rec); !events[id] {
			rejects++
		}
	}
	for _, id := range c.IDs {
		if rec, found := r.records[id]; !events[id] {
			c.breach("scan", "record %q is missing or rejected (found: %v): %v", id, found, rec.Fault)
			return r
		}
	}
	if rejects != c.Poison {
		c.breach("poison", "%d records can be no event, want %d", rejects, c.Poison)
	}
	return r
}

// same checks that a scan of the window gave what was read before, but for
// the record that changed.
func (c *checker) same(rule string, r, was *result, but string) {
	if r.err != nil || r.proven != c.Window {
		c.breach(rule, "%v is proven, error %v", r.proven, r.err)
		return
	}
	for id := range r.records {
		if _, known := was.records[id]; !known && id != but {
			c.breach(rule, "record %q was not there before", id)
			return
		}
	}
	for id, old := range was.records {
		if rec, found := r.records[id]; id != but && (!found || !alike(rec, old)) {
			c.breach(rule, "record %q is missing, or its print, rank, creation or end differ though it did not change", id)
			return
		}
	}
}

// alike reports whether two records are the same version of one row.
func alike(a, b sources.Record) bool {
	return a.Print == b.Print && a.Rank == b.Rank && a.Created.Equal(b.Created) && a.Terminal == b.Terminal && a.Moves == b.Moves
}
