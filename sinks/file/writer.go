package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"connector/internal/fault"
	"connector/schema"
	"connector/sinks"
)

var _ sinks.Publisher = (*WriterPublisher)(nil)

// WriterPublisher writes the same lines to a stream as go to a file. A message
// counts as stored once the stream took it.
type WriterPublisher struct {
	w       io.Writer
	closed  bool
	writing chan written // of a write that its Publish did not wait for, else nil
	torn    bool         // whether the last write ended inside a line
}

type written struct {
	n   int
	err error
}

// NewWriterPublisher returns a publisher for w, which stays the caller's to close.
func NewWriterPublisher(w io.Writer) *WriterPublisher { return &WriterPublisher{w: w} }

// Limits implements [sinks.Publisher].
func (p *WriterPublisher) Limits() sinks.Limits { return sinks.Limits{MaxMessages: maxMessages} }

// Guarantee implements [sinks.Publisher].
func (p *WriterPublisher) Guarantee() sinks.Guarantee { return sinks.ExactlyOnceUnlessCrash }

// Publish writes the events, then the dead letters, in one call of Write.
// When ctx ends while the stream does not take them, it returns; what was
// begun is written nevertheless, before anything else.
func (p *WriterPublisher) Publish(ctx context.Context, events, dead []schema.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if p.closed {
		return errClosed
	}
	if len(events)+len(dead) == 0 {
		return nil
	}
	if p.writing != nil {
		// Its batch comes again with this one or a later call.
		if err := p.wait(ctx); err != nil && ctx.Err() != nil {
			return err
		}
	}
	batch := lines(events, dead)
	if p.torn {
		batch = append([]byte("\n"), batch...)
	}
	p.writing = make(chan written, 1)
	go func(done chan<- written) {
		n, err := p.w.Write(batch)
		done <- written{n, err}
	}(p.writing)
	return p.wait(ctx)
}

// wait waits for the write under way.
func (p *WriterPublisher) wait(ctx context.Context) error {
	select {
	case r := <-p.writing:
		p.writing = nil
		p.torn = r.err != nil && (r.n > 0 || p.torn)
		if errors.Is(r.err, syscall.EPIPE) || errors.Is(r.err, io.ErrClosedPipe) {
			return fault.Fatal(fmt.Errorf("writing events: %w", r.err), "keep the program that reads them running")
		}
		if r.err != nil {
			return fmt.Errorf("writing events: %w", r.err)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// closeWait is how long Close waits for a write under way.
const closeWait = time.Second

// Close ends publishing; it does not close the stream. It waits a moment for
// what was begun.
func (p *WriterPublisher) Close() error {
	p.closed = true
	if p.writing == nil {
		return nil
	}
	select {
	case <-p.writing:
		p.writing = nil
	case <-time.After(closeWait):
	}
	return nil
}
