package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"connector/internal/budget"
	"connector/internal/wait"
)

// Times of a note that a call takes long.
const (
	firstNote = 2 * time.Second
	nextNote  = 15 * time.Second
)

// notes says on a terminal what a check waits for.
type notes struct{ w io.Writer } // nil: nobody looks

func newNotes(stderr io.Writer) notes {
	if c, ok := terminal(stderr); ok {
		return notes{c}
	}
	return notes{}
}

// start says now and then what a call of a subject waits for: its turn by b, or
// an answer. It stops when ctx ends, and before done returns.
func (n notes) start(ctx context.Context, subject string, b *budget.Budget) (done func()) {
	if n.w == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for d := firstNote; wait.For(ctx, d) == nil; d = nextNote {
			_, _ = fmt.Fprintf(n.w, "...   %-28s  %s\n", subject, pending(b))
		}
	}()
	return func() { cancel(); <-ended }
}

// pending says what a request by b waits for.
func pending(b *budget.Budget) string {
	if d, ok := b.Waiting(); ok {
		return fmt.Sprintf("waiting for its turn, the next is in %v: the limit is one request per %v", d.Round(time.Second), b.Every())
	}
	return "waiting for an answer"
}
