package sourcetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"connector/internal/fault"
	"connector/schema"
	"connector/sources"
)

// result is what a scan gave.
type result struct {
	records map[string]sources.Record // by id
	proven  sources.Span              // of the last chunk
	err     error
	wrong   []string // breaches of the rules for chunks
}

// read runs a scan to its end.
func read(ctx context.Context, src sources.Source, st sources.Stream, window sources.Span) result {
	r := result{records: map[string]sources.Record{}}
	for chunk, err := range src.Scan(ctx, st, window) {
		if r.err != nil {
			r.wrong = append(r.wrong, "something follows the error")
		}
		if r.err = err; err != nil {
			continue
		}
		if !chunk.Proven.From.Equal(window.From) || chunk.Proven.To.After(window.To) || !r.proven.From.IsZero() && chunk.Proven.To.Before(r.proven.To) {
			r.wrong = append(r.wrong, fmt.Sprintf("proven goes from %v to %v in window %v", r.proven, chunk.Proven, window))
		}
		r.proven = chunk.Proven
		for _, rec := range chunk.Records {
			r.records[rec.ID] = rec
		}
	}
	return r
}

// scan runs a scan and checks the rules every scan keeps.
func (c *checker) scan(ctx context.Context, src sources.Source, st sources.Stream, window sources.Span) result {
	r := read(ctx, src, st, window)
	c.sees(r.err)
	for _, text := range r.wrong {
		c.breach("chunks", "%s", text)
	}
	return r
}

// whole scans the window and checks that nothing is missing.
func (c *checker) whole(ctx context.Context, src sources.Source, st sources.Stream) result {
	r := c.scan(ctx, src, st, c.Window)
	if r.err != nil {
		c.breach("scan", "%v", r.err)
	}
	if r.proven != c.Window {
		c.breach("scan", "%v is proven at the end, not the window %v", r.proven, c.Window)
	}
	events := map[string]bool{}
	for id, rec := range r.records {
		events[id] = c.record(src, st, rec)
	}
	for _, id := range c.IDs {
		if !events[id] {
			c.breach("scan", "record %q is missing or rejected: %v", id, r.records[id].Fault)
		}
	}
	rejects := 0
	for _, event := range events {
		if !event {
			rejects++
		}
	}
	if rejects < c.Poison {
		c.breach("poison", "%d records can be no event, want %d", rejects, c.Poison)
	}
	return r
}

// again scans twice at once and checks that records come out the same.
func (c *checker) again(ctx context.Context, src sources.Source, st sources.Stream, first result) {
	var results [2]result
	var group sync.WaitGroup
	for i := range results {
		group.Go(func() { results[i] = read(ctx, src, st, c.Window) })
	}
	group.Wait()
	for _, r := range results {
		c.sees(r.err)
		if r.err != nil || len(r.records) != len(first.records) {
			c.breach("again", "%d records, error %v; %d at first", len(r.records), r.err, len(first.records))
			return
		}
		for id, rec := range r.records {
			was := first.records[id]
			if rec.Print != was.Print || rec.Rank != was.Rank || !rec.Created.Equal(was.Created) || rec.Terminal != was.Terminal {
				c.breach("again", "record %q: print, rank, creation or terminal differ though it did not change", id)
				return
			}
		}
	}
}

// record checks one record and reports whether it becomes an event.
func (c *checker) record(src sources.Source, st sources.Stream, rec sources.Record) bool {
	if rec.ID == "" || rec.Print == "" || rec.Size < int64(len(rec.Raw)) || (rec.SHA256 != "") != (rec.Size > int64(len(rec.Raw))) {
		c.breach("record", "%q: id or print is empty, or size, hash and raw do not agree", rec.ID)
	}
	e, err := src.Normalize(st, rec)
	c.sees(err)
	c.sees(rec.Fault)
	if err != nil {
		if _, rejected := fault.Class(err); !rejected {
			c.breach("normalize", "record %q: the error is not marked as reject: %v", rec.ID, err)
		}
		return false
	}
	if rec.Fault != nil {
		c.breach("normalize", "record %q has a fault and becomes an event", rec.ID)
	}
	c.event(st, rec, e)
	return true
}

func (c *checker) event(st sources.Stream, rec sources.Record, e schema.Event) {
	var wrong error
	switch {
	case e.Record.ID != rec.ID || e.Source.Stream != st.Name || e.Record.Terminal != rec.Terminal:
		wrong = errors.New("id, stream or terminal are not the record's")
	case st.Leaves && e.Channel != st.Channel:
		wrong = errors.New("channel is not the stream's")
	case !e.CreatedAt.Equal(rec.Created):
		wrong = fmt.Errorf("createdAt is %v, not %v", e.CreatedAt, rec.Created)
	case e.ID != "" || e.Record.Revision != 0 || !e.ObservedAt.IsZero():
		wrong = errors.New("id, revision or observedAt are set; they are the pipeline's")
	}
	e.Record.Revision, e.ObservedAt = 1, time.Unix(0, 0).UTC()
	m, err := e.Message()
	if err == nil {
		err = schema.Validate(m.Body)
	}
	if err = errors.Join(wrong, err); err != nil {
		c.breach("event", "record %q: %v", rec.ID, err)
	}
}
