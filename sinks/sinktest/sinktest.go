// Package sinktest is the conformance kit every [sinks.Sink] passes.
//
// A sink's test gives [Check] a [Target]: how to open the sink, the sink's own
// reader, and what it can do behind the sink's back. The kit commits through
// the one and reads through the other.
package sinktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"connector/checkpoint"
	"connector/schema"
	"connector/sinks"
)

// Target is the sink under test. Checks that need a field which is nil are
// left out.
type Target struct {
	// Open connects as a process of its own would. It is called again after
	// Close and, with sinks that fence, beside sinks that are still open. All
	// calls lead to the same destination, which is empty at first.
	Open func(ctx context.Context) (sinks.Sink, error)
	// Tail is the sink's reader, apart from the sink. It yields the versions of
	// one record in the order they were stored, returns yield's first error, and
	// returns ctx's error promptly when ctx ends.
	Tail func(ctx context.Context, opts sinks.TailOptions, yield func(sinks.Received) error) error

	// View reads the state of a unit without taking it over.
	View func(ctx context.Context, unit string) (checkpoint.Reader, error)
	// Crash ends a sink and its session the way the system ends a killed
	// process: it releases locks and connections, and neither waits nor tidies
	// up. Without it the two stay open beside the next ones and are closed at
	// the end of the check.
	Crash func(sinks.Sink, sinks.Session) error
	// PublishOnly does of a commit what comes before its state is saved, for
	// sinks that do one after the other.
	PublishOnly func(ctx context.Context, sink sinks.Sink, session sinks.Session, c sinks.Commit) error
	// Trouble makes the destination fail, for open sinks too, until end is
	// called. The answers to what is under way are lost.
	Trouble func() (end func())
	// Damage takes an entry out of the durable state of a unit that is closed;
	// the key may be [checkpoint.FenceKey] or [checkpoint.ManifestKey].
	Damage func(ctx context.Context, unit, key string) error
	// OneUnit is set when the destination cannot hold a second unit.
	OneUnit bool
}

// Paired returns the target that joins a publisher to a store by [sinks.Pair].
func Paired(open func(ctx context.Context) (sinks.Publisher, error), store sinks.OpenStore,
	tail func(ctx context.Context, opts sinks.TailOptions, yield func(sinks.Received) error) error,
) Target {
	var latest sinks.Publisher
	return Target{
		Open: func(ctx context.Context) (sinks.Sink, error) {
			p, err := open(ctx)
			if err != nil {
				return nil, err
			}
			latest = p
			return sinks.Pair(p, store), nil
		},
		Tail:  tail,
		Crash: func(sink sinks.Sink, session sinks.Session) error { return errors.Join(session.Close(), sink.Close()) },
		PublishOnly: func(ctx context.Context, _ sinks.Sink, _ sinks.Session, c sinks.Commit) error {
			return latest.Publish(ctx, c.Events, c.Dead)
		},
	}
}

// promptly is how long a call may go on after its context ended, beside ten
// times what the slowest commit took: a busy machine needs more.
const promptly = 5 * time.Second

// patience is how long the kit waits for what it must be shown.
const patience = time.Minute

// checkTimeout bounds each check; only one that hangs takes it.
const checkTimeout = 5 * time.Minute

// mainUnit is the unit of most checks, otherUnits of the rest.
const mainUnit = "u0"

var otherUnits = []string{"u1", "u2", "u3"}

type check struct {
	name string
	run  func(ctx context.Context, r *run) error
}

// Check commits to the target and reads back. It returns nil when the target
// keeps the contract of [sinks.Sink] and [sinks.Session], else one error for
// every check that failed, joined; each begins with the name of its check.
func Check(ctx context.Context, target Target) error {
	r := newRun(ctx, target)
	if err := r.begin(ctx); err != nil {
		return err
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

// owner is a sink and the session of a unit on it.
type owner struct {
	sink    sinks.Sink
	session sinks.Session
}

func (o owner) close() error {
	if err := errors.Join(o.session.Close(), o.sink.Close()); err != nil {
		return fmt.Errorf("closing: %w", err)
	}
	return nil
}

// run is one pass of the kit over a target.
type run struct {
	target  Target
	nonce   string          // makes ids differ from an earlier run's
	commits int             // built so far
	slowest time.Duration   // what a commit took
	seen    map[string]bool // positions read by earlier checks

	owner  // of mainUnit; zero while closed
	left   []owner
	state  map[string][]byte      // of mainUnit, what is durable by now, pages apart
	marks  [][]byte               // that Recover yielded
	mark   func([]schema.Message) // gives messages their marks
	limits sinks.Limits
	grants sinks.Guarantee
}

func newRun(ctx context.Context, target Target) *run {
	return &run{target: target, mark: newMarker(ctx), nonce: time.Now().Format(time.RFC3339Nano)}
}

// begin takes over all units while the destination is empty: later it would
// hold events that no state of a new unit tells of.
func (r *run) begin(ctx context.Context) error {
	sink, err := r.target.Open(ctx)
	if err != nil {
		return fmt.Errorf("opening: %w", err)
	}
	units := []string{mainUnit}
	if !r.target.OneUnit {
		units = append(units, otherUnits...)
	}
	for _, unit := range units {
		session, err := sink.Open(ctx, unit)
		if err == nil {
			r.limits, r.grants = session.Limits(), sink.Guarantee()
			err = session.Close()
		}
		if err != nil {
			return errors.Join(fmt.Errorf("opening unit %s of an empty destination: %w", unit, err), sink.Close())
		}
	}
	if err := sink.Close(); err != nil {
		return fmt.Errorf("closing: %w", err)
	}
	if _, err := r.fresh(ctx); err != nil {
		return fmt.Errorf("reading what the destination holds: %w", err)
	}
	return nil
}

func (r *run) one(ctx context.Context, c check) (err error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	r.state = nil
	if err := r.open(ctx); err != nil {
		return err
	}
	defer func() {
		for _, o := range r.left {
			_ = o.close() // as it may fail: a newer owner has the unit
		}
		r.left = nil
		if r.session != nil {
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

// open takes the main unit over, recovers its state, and compares that with
// what is known of it.
func (r *run) open(ctx context.Context) error {
	o, err := r.take(ctx, mainUnit)
	if err != nil {
		return err
	}
	r.owner = o
	got, marks, err := recovered(ctx, o.session)
	if err != nil {
		return err
	}
	r.marks = marks
	if r.state != nil {
		if err := sameState(got, r.state); err != nil {
			return err
		}
	}
	r.state = got
	return nil
}

func (r *run) take(ctx context.Context, unit string) (owner, error) {
	sink, err := r.target.Open(ctx)
	if err != nil {
		return owner{}, fmt.Errorf("opening: %w", err)
	}
	session, err := sink.Open(ctx, unit)
	if err != nil {
		return owner{}, errors.Join(fmt.Errorf("opening unit %s: %w", unit, err), sink.Close())
	}
	return owner{sink, session}, nil
}

func (r *run) close() error {
	o := r.owner
	r.owner = owner{}
	return o.close()
}

// crash leaves the sink and its session as they are.
func (r *run) crash() error {
	o := r.owner
	r.owner = owner{}
	if r.target.Crash == nil {
		r.left = append(r.left, o)
		return nil
	}
	if err := r.target.Crash(o.sink, o.session); err != nil {
		return fmt.Errorf("crashing: %w", err)
	}
	return nil
}

func (r *run) reopen(ctx context.Context) error {
	if err := r.close(); err != nil {
		return err
	}
	return r.open(ctx)
}

// prompt is how long a call may go on after its context ended.
func (r *run) prompt() time.Duration { return promptly + 10*r.slowest }

func (r *run) exactlyOnce() bool { return r.grants.IsExactlyOnce() }

// repeats reports whether a message may be stored again after an error.
func (r *run) repeats() bool { return r.grants == sinks.ExactlyOnceUnlessCrash }

// stored commits, reads back and compares.
func (r *run) stored(ctx context.Context, events, dead []schema.Message) error {
	if err := r.commit(ctx, r.build(events, dead)); err != nil {
		return err
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
