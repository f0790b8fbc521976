// Package scan turns the answers of an API into the chunks of a scan and
// proves which part of its window they cover. It knows no provider.
package scan

import (
	"context"
	"errors"
	"iter"
	"time"

	"connector/sources"
)

// Bounds of a chunk; a larger single record is a chunk of its own.
const (
	MaxRecords = 500
	MaxBytes   = 1 << 20 // of Raw
)

// errStopped says that the consumer of a scan wants no more chunks.
var errStopped = errors.New("scan stopped")

// Chunks gathers records into the chunks of one scan.
type Chunks struct {
	yield  func(sources.Chunk, error) bool
	window sources.Span
	proven sources.Span
	batch  []sources.Record
	bytes  int
	room   int // records of the chunk before, as many as the next may have
}

// Errors of answers that fail a check. Nothing of such an answer is proven.
var (
	// ErrOutside says that a row's times lie outside the requested window.
	ErrOutside = errors.New("the answer holds a row from outside the requested window")
	// ErrOther says that a row or answer belongs to another query or account.
	ErrOther = errors.New("the answer belongs to another query")
	// ErrLong says that an answer is longer than is read. For [Split] it is one that was cut.
	ErrLong = errors.New("the answer is too long")
	// ErrLate says that an answer took too long. [Split] asks for less at once then.
	ErrLate = errors.New("the answer takes too long")
)

// Run makes a scan of f, which adds records and proves parts of window. The
// error f returns is the scan's; f must return, or wrap, those of [Chunks].
// Records added since the last chunk are yielded before it, unless the scan was
// cancelled: they passed their checks, and may have changed by the next scan. An
// empty window is proven without calling f.
func Run(window sources.Span, tick time.Duration, f func(*Chunks) error) iter.Seq2[sources.Chunk, error] {
	return func(yield func(sources.Chunk, error) bool) {
		c := &Chunks{yield: yield, window: window, proven: sources.Span{From: window.From, To: window.From.Add(-tick)}}
		if window.Empty() {
			yield(sources.Chunk{Proven: window}, nil)
			return
		}
		err := f(c)
		if err == nil || errors.Is(err, errStopped) {
			return
		}
		if len(c.batch) > 0 && !errors.Is(err, context.Canceled) && c.flush() != nil {
			return
		}
		yield(sources.Chunk{}, err)
	}
}

// Add takes a record that passed its checks. It yields a chunk, which proves
// nothing new, when the record does not fit into the one begun.
func (c *Chunks) Add(r sources.Record) error {
	if len(c.batch) == MaxRecords || len(c.batch) > 0 && c.bytes+len(r.Raw) > MaxBytes {
		if err := c.flush(); err != nil {
			return err
		}
	}
	if c.batch == nil {
		c.batch = make([]sources.Record, 0, c.room)
	}
	c.batch = append(c.batch, r)
	c.bytes += len(r.Raw)
	return nil
}

// Prove says that everything in the window up to and including to has been
// added, and yields the chunk begun.
func (c *Chunks) Prove(to time.Time) error {
	if to.After(c.window.To) {
		to = c.window.To
	}
	if to.After(c.proven.To) {
		c.proven.To = to
	}
	return c.flush()
}

func (c *Chunks) flush() error {
	chunk := sources.Chunk{Records: c.batch, Proven: c.proven}
	c.batch, c.bytes, c.room = nil, 0, len(c.batch)
	if !c.yield(chunk, nil) {
		return errStopped
	}
	return nil
}
