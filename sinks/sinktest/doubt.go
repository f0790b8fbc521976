package sinktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"connector/checkpoint"
	"connector/internal/fault"
	"connector/internal/filelock"
	"connector/internal/wait"
	"connector/schema"
	"connector/sinks"
)

// checkCrash leaves a session as it is; the next one goes on from there.
func checkCrash(ctx context.Context, r *run) error {
	for i := range 3 {
		all := r.messages(fmt.Sprint("crash ", i), 5, 200)
		c := r.build(all, nil)
		if err := r.commit(ctx, c); err != nil {
			return err
		}
		if err := r.crash(); err != nil {
			return err
		}
		if err := r.open(ctx); err != nil {
			return err
		}
		if err := r.got(ctx, c.State...); err != nil {
			return err
		}
		if err := r.expect(ctx, all, nil, false); err != nil {
			return err
		}
	}
	return nil
}

// checkPublished crashes between the messages of a commit and its state.
func checkPublished(ctx context.Context, r *run) error {
	if r.target.PublishOnly == nil {
		return nil
	}
	if r.exactlyOnce() {
		return errors.New("the sink stores state after messages and says that it is exactly once")
	}
	var events []schema.Message
	for i := range 50 {
		events = append(events, r.message("published", fmt.Sprintf("record %d", i%10), i, 300))
	}
	c := r.build(events, []schema.Message{r.deadLetter("published", "dead", 0)})
	if err := r.target.PublishOnly(ctx, r.sink, r.session, c); err != nil {
		return err
	}
	if err := r.crash(); err != nil {
		return err
	}
	if err := r.open(ctx); err != nil {
		return err
	}
	if r.limits.Marks {
		if err := r.marked(c.Events, c.Dead); err != nil {
			return err
		}
	}
	if err := r.completed(ctx, c); err != nil {
		return err
	}
	return r.reopen(ctx)
}

// marked wants the marks of messages recovered, those of a record in order.
func (r *run) marked(lists ...[]schema.Message) error {
	for _, list := range lists {
		last := map[string]int{}
		for _, m := range list {
			at := slices.IndexFunc(r.marks, func(mark []byte) bool { return bytes.Equal(mark, m.Mark) })
			if at < 0 {
				return fmt.Errorf("the mark of a durable message of record %s was not recovered", short(m.RecordID))
			}
			if before, ok := last[m.Key()]; ok && at < before {
				return fmt.Errorf("the mark of a version of record %s was recovered before that of an earlier one", short(m.RecordID))
			}
			last[m.Key()] = at
		}
	}
	return nil
}

func checkEnded(ctx context.Context, r *run) error {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	c, session := r.build(r.messages("ended", 5, 200), nil), r.session
	ok, err := within(r.prompt(), func() error { return session.Commit(ended, c) })
	if !ok {
		return errors.New("a commit goes on after its context ended")
	}
	if !errors.Is(err, context.Canceled) {
		return fmt.Errorf("got error %w, want context.Canceled", errOr(err))
	}
	if err := r.close(); err != nil {
		return err
	}
	return r.settle(ctx, c)
}

// checkCancelled cancels at several moments of a commit, and closes or crashes.
func checkCancelled(ctx context.Context, r *run) error {
	n := min(r.limits.MaxMessages-perCommit, 200)
	for i, moment := range []time.Duration{0, 300 * time.Microsecond, time.Millisecond, 3 * time.Millisecond, 10 * time.Millisecond} {
		for j, end := range []func() error{r.close, r.crash} {
			if err := r.cancelled(ctx, fmt.Sprintf("cancelled %d, %d", i, j), n, moment, end); err != nil {
				return fmt.Errorf("cancelled after %v: %w", moment, err)
			}
		}
	}
	return nil
}

func (r *run) cancelled(ctx context.Context, stream string, n int, moment time.Duration, end func() error) error {
	c, session := r.build(r.versions(stream, n), nil), r.session
	short, cancel := context.WithTimeout(ctx, moment)
	defer cancel()
	ok, err := within(r.prompt(), func() error { return session.Commit(short, c) })
	if !ok {
		return errors.New("a commit goes on after its context ended")
	}
	if err == nil {
		r.state = after(r.state, c)
		if err := r.expect(ctx, c.Events, nil, false); err != nil {
			return err
		}
		return errors.Join(end(), r.open(ctx))
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("got error %w, want nil or the context's", err)
	}
	if err := end(); err != nil {
		return err
	}
	return r.settle(ctx, c)
}

// checkTrouble commits while the destination fails for a moment.
func checkTrouble(ctx context.Context, r *run) error {
	if r.target.Trouble == nil {
		return nil
	}
	for i, moment := range []time.Duration{0, time.Millisecond, 3 * time.Millisecond, 10 * time.Millisecond} {
		c, session := r.build(r.versions(fmt.Sprint("trouble ", i), min(r.limits.MaxMessages-perCommit, 150)), nil), r.session
		var end func()
		if moment == 0 {
			end = r.target.Trouble()
		}
		done := make(chan error, 1)
		go func() { done <- untilDefinite(ctx, session, c) }()
		if end == nil {
			_ = wait.For(ctx, moment)
			end = r.target.Trouble()
		}
		_ = wait.For(ctx, settle)
		end()
		if err := <-done; err != nil {
			return fmt.Errorf("committing in trouble: %w", err)
		}
		r.state = after(r.state, c)
		if err := r.expect(ctx, c.Events, nil, r.repeats()); err != nil {
			return err
		}
	}
	return r.reopen(ctx)
}

// untilDefinite commits, again after each transient error.
func untilDefinite(ctx context.Context, s sinks.Session, c sinks.Commit) error {
	for {
		err := s.Commit(ctx, c)
		if !isTransient(err) {
			return err
		}
		if wait.For(ctx, 20*time.Millisecond) != nil {
			return err
		}
	}
}

// checkFence has two owners of a unit: the earlier one commits nothing.
func checkFence(ctx context.Context, r *run) error {
	if !r.exactlyOnce() {
		return nil
	}
	earlier := r.session
	newer, err := r.take(ctx, mainUnit)
	if errors.Is(err, filelock.ErrHeld) && fault.IsFatal(err) {
		return nil // the earlier one keeps the others out
	}
	if err != nil {
		return err
	}
	r.left = append(r.left, r.owner)
	r.owner = newer
	late := r.build(r.messages("fenced", 3, 200), []schema.Message{r.deadLetter("fenced", "dead", 0)}, checkpoint.Entry{Key: prefix + "i", Value: []byte("fenced")})
	refused := func() error {
		err := earlier.Commit(ctx, late)
		if !errors.Is(err, sinks.ErrFenced) || !fault.IsFatal(err) {
			return fmt.Errorf("commit of an earlier owner: got error %w, want a fatal sinks.ErrFenced", errOr(err))
		}
		return r.expect(ctx, nil, nil, false)
	}
	if err := refused(); err != nil {
		return err
	}
	if err := r.stored(ctx, r.messages("fencing", 3, 200), nil); err != nil {
		return fmt.Errorf("the newer owner: %w", err)
	}
	if err := refused(); err != nil {
		return fmt.Errorf("once more: %w", err)
	}
	return r.reopen(ctx)
}
