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

// settle is how long a follower is given to show what it must not show.
const settle = 200 * time.Millisecond

var errStop = errors.New("sinktest: enough")

func checkTail(ctx context.Context, r *run) error {
	events, dead := r.messages("tail", 5, 200), []schema.Message{r.deadLetter("tail", "dead", 0)}
	if err := r.stored(ctx, events, dead); err != nil {
		return err
	}
	got, err := r.read(ctx, sinks.TailOptions{FromStart: true})
	if err != nil {
		return err
	}
	if err := contains(got, events); err != nil {
		return fmt.Errorf("without dead letters: %w", err)
	}
	for _, m := range got {
		if m.Dead {
			return fmt.Errorf("%s: got a dead letter that was not asked for", m.Position)
		}
	}
	if got, err = r.read(ctx, sinks.TailOptions{FromStart: true, Dead: true, NoEvents: true}); err != nil {
		return err
	}
	if err := contains(got, dead); err != nil {
		return fmt.Errorf("dead letters only: %w", err)
	}
	for _, m := range got {
		if !m.Dead {
			return fmt.Errorf("%s: got an event where only dead letters were asked for", m.Position)
		}
	}
	if got, err = r.read(ctx, sinks.TailOptions{Dead: true}); err != nil || len(got) != 0 {
		return fmt.Errorf("new messages only, not following: got %d messages and error %w, want none", len(got), errOr(err))
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = r.target.Tail(ctx, sinks.TailOptions{FromStart: true, Follow: true}, func(sinks.Received) error { return errStop })
	if !errors.Is(err, errStop) {
		return fmt.Errorf("got error %w, want yield's", errOr(err))
	}
	return nil
}

// checkFollow starts followers, commits, and cancels them.
func checkFollow(ctx context.Context, r *run) error {
	before := r.messages("follow, before", 3, 200)
	if err := r.stored(ctx, before, nil); err != nil {
		return err
	}
	newOnly := r.follow(ctx, sinks.TailOptions{Follow: true, Dead: true})
	all := r.follow(ctx, sinks.TailOptions{Follow: true, FromStart: true})
	defer newOnly.cancel()
	defer all.cancel()
	probes, deadProbes, err := r.probe(ctx, newOnly)
	if err != nil {
		return fmt.Errorf("following new messages: %w", err)
	}
	events, dead := r.messages("follow", 4, 200), []schema.Message{r.deadLetter("follow", "dead", 0)}
	if err := r.commit(ctx, r.build(events, dead)); err != nil {
		return err
	}
	if err := r.expect(ctx, slices.Concat(probes, events), slices.Concat(deadProbes, dead), false); err != nil {
		return err
	}
	got, err := newOnly.stop(slices.Concat(dead, events))
	if err == nil {
		err = compare(without(got, slices.Concat(probes, deadProbes)), events, dead, false)
	}
	if err != nil {
		return fmt.Errorf("following new messages: %w", err)
	}
	got, err = all.stop(slices.Concat(before, events))
	if err == nil {
		err = contains(got, slices.Concat(before, events))
	}
	if err != nil {
		return fmt.Errorf("following from the start: %w", err)
	}
	return nil
}

// probe commits until the follower shows both kinds: it has begun then.
func (r *run) probe(ctx context.Context, f *follower) (events, dead []schema.Message, err error) {
	shown := map[bool]bool{}
	for range patience / settle {
		n := len(events)
		events = append(events, r.message("follow, probe", "probe", n, 200))
		dead = append(dead, r.deadLetter("follow, probe", "probe", n))
		if err := r.commit(ctx, r.build(events[n:], dead[n:])); err != nil {
			return nil, nil, err
		}
		for next := time.After(settle); next != nil; {
			select {
			case m := <-f.got:
				f.seen = append(f.seen, m)
				if shown[m.Dead] = true; len(shown) == 2 {
					return events, dead, nil
				}
			case err := <-f.done:
				return nil, nil, fmt.Errorf("tail ended early: %w", errOr(err))
			case <-next:
				next = nil
			}
		}
	}
	return nil, nil, fmt.Errorf("not all new messages are shown; events %v, dead letters %v", shown[false], shown[true])
}

// without returns what is in got and was not committed by probe.
func without(got []sinks.Received, probes []schema.Message) []sinks.Received {
	return slices.DeleteFunc(got, func(m sinks.Received) bool {
		return slices.ContainsFunc(probes, func(p schema.Message) bool { return p.ID == m.Attribute("id") })
	})
}

// follower is a running Tail.
type follower struct {
	cancel context.CancelFunc
	got    chan sinks.Received
	done   chan error
	seen   []sinks.Received
	prompt time.Duration // in which it must end after its context
}

func (r *run) follow(ctx context.Context, opts sinks.TailOptions) *follower {
	ctx, cancel := context.WithCancel(ctx)
	f := &follower{cancel: cancel, got: make(chan sinks.Received), done: make(chan error, 1), prompt: r.prompt()}
	go func() {
		f.done <- r.target.Tail(ctx, opts, func(m sinks.Received) error {
			m.Body = bytes.Clone(m.Body)
			select {
			case f.got <- m:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	return f
}

// stop collects until the wanted messages came, and a little longer, then
// cancels the follower and waits for it.
func (f *follower) stop(want []schema.Message) ([]sinks.Received, error) {
	defer f.cancel()
	missing := make(map[string]bool, len(want))
	for _, m := range want {
		missing[m.ID] = true
	}
	for {
		idle := patience
		if len(missing) == 0 {
			idle = settle
		}
		select {
		case m := <-f.got:
			f.seen = append(f.seen, m)
			delete(missing, m.Attribute("id"))
			continue
		case err := <-f.done:
			return f.seen, fmt.Errorf("tail ended early: %w", errOr(err))
		case <-time.After(idle):
		}
		break
	}
	f.cancel()
	select {
	case err := <-f.done:
		if !errors.Is(err, context.Canceled) {
			return f.seen, fmt.Errorf("cancelled: got error %w, want context.Canceled", errOr(err))
		}
		return f.seen, nil
	case <-time.After(f.prompt):
		return f.seen, errors.New("tail goes on after its context ended")
	}
}

// contains wants each message in got.
func contains(got []sinks.Received, want []schema.Message) error {
	ids := make(map[string]bool, len(got))
	for _, m := range got {
		ids[m.Attribute("id")] = true
	}
	for _, m := range want {
		if !ids[m.ID] {
			return fmt.Errorf("record %s is missing", short(m.RecordID))
		}
	}
	return nil
}
