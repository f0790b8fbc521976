package sourcetest

import (
	"context"

	"connector/sources"
)

// maxChanges bounds how often rows are changed.
const maxChanges = 10

// late shows a row in time that was read before.
func (c *checker) late(ctx context.Context, src sources.Source, st sources.Stream, was *result) *result {
	id := c.Late()
	r := c.scan(ctx, src, st, c.Window)
	if rec, found := r.records[id]; !found || rec.Fault != nil {
		c.breach("late", "record %q, which appeared in time that was read before, is missing or rejected: %v", id, rec.Fault)
		return r
	}
	c.same("late", r, was, id)
	return r
}

// changes gives rows their next versions.
func (c *checker) changes(ctx context.Context, src sources.Source, st sources.Stream, was *result) {
	if c.Change == nil {
		for id, rec := range was.records {
			if rec.Fault == nil && !rec.Terminal {
				c.breach("terminal", "record %q is not terminal, and Change of the harness is nil", id)
				return
			}
		}
		return
	}
	for n := range maxChanges {
		id := c.Change()
		if id == "" && n == 0 {
			c.breach("harness", "Change changes nothing")
		}
		if id == "" {
			return
		}
		r := c.scan(ctx, src, st, c.Window)
		if rec, found := r.records[id]; !found || rec.Fault != nil {
			c.breach("change", "record %q is missing or rejected after it changed: %v", id, rec.Fault)
			return
		}
		c.same("change", r, was, id)
		c.changed(was.records[id], r.records[id])
		was = r
	}
}

// changed compares two versions of a record.
func (c *checker) changed(was, is sources.Record) {
	if is.Print == was.Print {
		c.breach("print", "that of record %q is %q before and after it changed", is.ID, is.Print)
	}
	if is.Rank < was.Rank {
		c.breach("rank", "that of record %q falls from %d to %d", is.ID, was.Rank, is.Rank)
	}
	if was.Terminal {
		c.breach("terminal", "record %q was, and changed", is.ID)
	}
	if !is.Moves && !is.Created.Equal(was.Created) {
		c.breach("created", "that of record %q moves from %v to %v", is.ID, was.Created, is.Created)
	}
}
