// Package sinktest is the conformance kit every [sinks.Publisher] passes.
//
// A sink's test gives [Check] a [Target]: how to open the publisher, and the
// sink's own reader. The kit publishes through the one and reads through the
// other; it needs a destination of its own, but not an empty one.
package sinktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"connector/schema"
	"connector/sinks"
)

// Target is the sink under test.
type Target struct {
	// Open opens the publisher; it is called again after Close, always on the
	// same destination.
	Open func(ctx context.Context) (sinks.Publisher, error)
	// Tail is the sink's reader, apart from the publisher. It yields the
	// versions of one record in the order they were stored, returns yield's
	// first error, and returns ctx's error promptly when ctx ends.
	Tail func(ctx context.Context, opts sinks.TailOptions, yield func(sinks.Received) error) error
}

// promptly is how long a call may go on after its context ended.
const promptly = 5 * time.Second

// checkTimeout bounds each check.
const checkTimeout = time.Minute

type check struct {
	name string
	run  func(ctx context.Context, r *run) error
}

// Check publishes to the target and reads back. It returns nil when the
// target keeps the contract of [sinks.Publisher], else one error for every
// check that failed, joined; each begins with the name of its check. What it
// asks for:
//
//   - every acknowledged message is readable as soon as Publish returns, once,
//     with the versions of a record in order, also after Close and Open;
//   - attributes and bodies are byte-equal, whatever Unicode they hold; dead
//     letters are told apart;
//   - a message whose body, attribute names and attribute values together
//     exceed Limits().MaxMessageBytes is rejected by a [*sinks.RejectedError]
//     that lists every such message of the call, while its neighbours are
//     stored; one of exactly that size is accepted;
//   - Limits().MaxMessages messages fit one call; none is fine too;
//   - when ctx ends Publish returns its error promptly; calling again stores
//     everything, and twice only under [sinks.ExactlyOnceUnlessCrash];
//   - a message published again under another replay id is stored once more;
//   - after Close, Publish returns an error;
//   - Tail keeps [sinks.TailOptions].
func Check(ctx context.Context, target Target) error {
	r := &run{target: target, seen: map[string]bool{}, nonce: time.Now().Format(time.RFC3339Nano)}
	// The publisher may have to create the destination.
	if err := r.open(ctx); err != nil {
		return err
	}
	if err := r.close(); err != nil {
		return err
	}
	if _, err := r.fresh(ctx); err != nil {
		return fmt.Errorf("reading what the destination holds: %w", err)
	}
	var errs []error
	for _, c := range checks() {
		if err := r.one(ctx, c); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// run is one pass of the kit over a target.
type run struct {
	target    Target
	publisher sinks.Publisher
	nonce     string          // makes ids differ from an earlier run's
	seen      map[string]bool // positions read by earlier checks
	closed    bool
}

func (r *run) one(ctx context.Context, c check) (err error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if err := r.open(ctx); err != nil {
		return err
	}
	defer func() {
		if !r.closed {
			err = errors.Join(err, r.close())
		}
		// What a failed check left must not trouble the next one.
		_, readErr := r.fresh(ctx)
		if err == nil {
			err = readErr
		}
	}()
	return c.run(ctx, r)
}

func (r *run) open(ctx context.Context) error {
	p, err := r.target.Open(ctx)
	if err != nil {
		return fmt.Errorf("opening: %w", err)
	}
	r.publisher, r.closed = p, false
	return nil
}

func (r *run) close() error {
	r.closed = true
	if err := r.publisher.Close(); err != nil {
		return fmt.Errorf("closing: %w", err)
	}
	return nil
}

// stored publishes, reads back and compares.
func (r *run) stored(ctx context.Context, events, dead []schema.Message) error {
	if err := r.publisher.Publish(ctx, events, dead); err != nil {
		return fmt.Errorf("publishing %d events and %d dead letters: %w", len(events), len(dead), err)
	}
	return r.expect(ctx, events, dead, false)
}

// expect reads what came since the last read and compares it.
func (r *run) expect(ctx context.Context, events, dead []schema.Message, repeats bool) error {
	got, err := r.fresh(ctx)
	if err != nil {
		return err
	}
	return compare(got, events, dead, repeats)
}

// fresh returns the messages that no earlier call returned.
func (r *run) fresh(ctx context.Context) ([]sinks.Received, error) {
	all, err := r.read(ctx, sinks.TailOptions{FromStart: true, Dead: true})
	if err != nil {
		return nil, err
	}
	here := make(map[string]bool, len(all))
	var got []sinks.Received
	for _, m := range all {
		if m.Position == "" || here[m.Position] {
			return nil, fmt.Errorf("reading: position %q is empty or not unique", m.Position)
		}
		here[m.Position] = true
		if !r.seen[m.Position] {
			got = append(got, m)
		}
	}
	for p := range r.seen {
		if !here[p] {
			return nil, fmt.Errorf("reading: the message at %s is gone", p)
		}
	}
	r.seen = here
	return got, nil
}

func (r *run) read(ctx context.Context, opts sinks.TailOptions) ([]sinks.Received, error) {
	var all []sinks.Received
	err := r.target.Tail(ctx, opts, func(m sinks.Received) error {
		m.Body = bytes.Clone(m.Body)
		m.Attributes = slices.Clone(m.Attributes)
		all = append(all, m)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading: %w", err)
	}
	return all, nil
}
