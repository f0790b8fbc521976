package sinktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"connector/checkpoint"
	"connector/internal/fault"
	"connector/schema"
	"connector/sinks"
)

// prefix begins the keys of the stream that the kit commits to.
const prefix = "kit/orders/"

const (
	headKey = prefix + "h"
	markKey = prefix + "m/"
	slots   = 64

	perCommit = 3 // entries of state that build adds
)

// build returns a commit of messages with a small state, as a ledger has it:
// another head, one of the slots and a page. more is state besides.
func (r *run) build(events, dead []schema.Message, more ...checkpoint.Entry) sinks.Commit {
	r.commits++
	if r.limits.Marks {
		r.mark(events)
		r.mark(dead)
	}
	state := append(heads(r.commits), more...)
	state = append(state, checkpoint.Entry{Key: prefix + "b/2026010000/0000", Value: fmt.Appendf(nil, "page of commit %d", r.commits)})
	return sinks.Commit{Events: events, Dead: dead, State: state}
}

func heads(n int) []checkpoint.Entry {
	return []checkpoint.Entry{
		{Key: headKey, Value: fmt.Appendf(nil, "head of commit %d", n)},
		{Key: fmt.Sprintf("%sd/%02d", prefix, n%slots), Value: fmt.Appendf(nil, "changes of commit %d", n)},
	}
}

// commit commits and keeps in mind what state is durable by then.
func (r *run) commit(ctx context.Context, c sinks.Commit) error {
	began := time.Now()
	err := r.session.Commit(ctx, c)
	r.slowest = max(r.slowest, time.Since(began))
	if err != nil {
		return fmt.Errorf("committing %d events, %d dead letters and %d entries of state: %w", len(c.Events), len(c.Dead), len(c.State), err)
	}
	r.state = after(r.state, c)
	return nil
}

// after returns the state, pages apart, that a commit makes of another.
func after(state map[string][]byte, c sinks.Commit) map[string][]byte {
	next := maps.Clone(state)
	for _, e := range c.State {
		switch {
		case checkpoint.Paged(e.Key):
		case e.Value == nil:
			delete(next, e.Key)
		default:
			next[e.Key] = e.Value
		}
	}
	return next
}

// recovered returns what a session recovers: the state, and the marks.
func recovered(ctx context.Context, s sinks.Session) (state map[string][]byte, marks [][]byte, err error) {
	state = map[string][]byte{}
	err = s.Recover(ctx, func(e checkpoint.Entry) error {
		_, twice := state[e.Key]
		switch {
		case e.Key == checkpoint.FenceKey, e.Key == checkpoint.ManifestKey:
			return fmt.Errorf("yielded the unit's own entry %q", e.Key)
		case checkpoint.Paged(e.Key):
			return fmt.Errorf("yielded %q, which is paged", e.Key)
		case e.Value == nil:
			return fmt.Errorf("yielded %q, which is deleted", e.Key)
		case twice:
			return fmt.Errorf("yielded %q twice", e.Key)
		case strings.HasPrefix(e.Key, markKey):
			marks = append(marks, bytes.Clone(e.Value))
		default:
			state[e.Key] = append([]byte{}, e.Value...)
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("recovering: %w", err)
	}
	return state, marks, nil
}

func sameState(got, want map[string][]byte) error {
	var faults faults
	for k, v := range want {
		if g, ok := got[k]; !ok || !bytes.Equal(g, v) {
			faults.add("recovering: %q: got %s, want %s", k, value(g, ok), value(v, true))
		}
	}
	for k, v := range got {
		if _, ok := want[k]; !ok {
			faults.add("recovering: %q: got %s, want no entry", k, value(v, true))
		}
	}
	return faults.err()
}

func value(v []byte, ok bool) string {
	if !ok {
		return "no entry"
	}
	return short(string(v))
}

// settle opens the unit again after a commit of which it is not known whether
// it took place. All of it must be there, or nothing; of sinks that store state
// after messages, any of the messages. What is missing is then committed.
func (r *run) settle(ctx context.Context, c sinks.Commit) error {
	if err := r.resolve(ctx, c); err != nil {
		return err
	}
	return r.got(ctx, c.State...)
}

func (r *run) resolve(ctx context.Context, c sinks.Commit) error {
	before := r.state
	r.state = nil
	if err := r.open(ctx); err != nil {
		return err
	}
	if sameState(r.state, after(before, c)) == nil {
		if err := r.expect(ctx, c.Events, c.Dead, false); err != nil {
			return fmt.Errorf("the state is that of the commit: %w", err)
		}
		return nil
	}
	if err := sameState(r.state, before); err != nil {
		return fmt.Errorf("the state is neither that before the commit nor that behind it: %w", err)
	}
	if !r.exactlyOnce() {
		return r.completed(ctx, c)
	}
	if err := r.expect(ctx, nil, nil, false); err != nil {
		return fmt.Errorf("the state is that before the commit: %w", err)
	}
	if err := r.commit(ctx, c); err != nil {
		return err
	}
	return r.expect(ctx, c.Events, c.Dead, false)
}

// completed commits again what no mark tells to be durable.
func (r *run) completed(ctx context.Context, c sinks.Commit) error {
	rest := sinks.Commit{Events: r.missing(c.Events), Dead: r.missing(c.Dead), State: c.State}
	if err := r.commit(ctx, rest); err != nil {
		return err
	}
	return r.expect(ctx, c.Events, c.Dead, r.repeats())
}

// missing returns the messages whose marks were not recovered.
func (r *run) missing(list []schema.Message) []schema.Message {
	there := make(map[string]bool, len(r.marks))
	for _, m := range r.marks {
		there[string(m)] = true
	}
	var rest []schema.Message
	for _, m := range list {
		if m.Mark == nil || !there[string(m.Mark)] {
			rest = append(rest, m)
		}
	}
	return rest
}

// isTransient reports whether the same commit is to be called again.
func isTransient(err error) bool {
	_, rejected := errors.AsType[*sinks.RejectedError](err)
	return err != nil && !rejected && !fault.IsFatal(err) && !errors.Is(err, sinks.ErrFenced)
}
