package sinktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"connector/schema"
	"connector/sinks"
)

func checks() []check {
	return []check{
		{"round trip", checkRoundTrip},
		{"order", checkOrder},
		{"dead letters", checkDead},
		{"empty publish", checkEmpty},
		{"large batch", checkLargeBatch},
		{"ended context", checkEnded},
		{"cancelled while publishing", checkCancelled},
		{"published again", checkAgain},
		{"replayed", checkReplayed},
		{"closed", checkClosed},
		{"tail", checkTail},
		{"tail follows", checkFollow},
		{"too large", checkTooLarge}, // last: what it stores is read again by the others
	}
}

func checkRoundTrip(ctx context.Context, r *run) error {
	awkward := r.awkward()
	for i := range awkward {
		if err := r.stored(ctx, awkward[i:i+1], nil); err != nil {
			return err
		}
	}
	return nil
}

// checkOrder publishes versions of the same records within and across calls.
func checkOrder(ctx context.Context, r *run) error {
	const records, versions, perCall = 7, 12, 30
	var all []schema.Message
	for v := range versions {
		for rec := range records {
			all = append(all, r.message("order", fmt.Sprintf("record %d", rec), v, 100))
		}
	}
	for rest := all; len(rest) > 0; {
		n := min(perCall, len(rest), r.publisher.Limits().MaxMessages)
		if err := r.publisher.Publish(ctx, rest[:n], nil); err != nil {
			return fmt.Errorf("publishing: %w", err)
		}
		rest = rest[n:]
	}
	return r.expect(ctx, all, nil, false)
}

func checkDead(ctx context.Context, r *run) error {
	events := r.messages("dead", 3, 200)
	dead := make([]schema.Message, 3)
	for i := range dead {
		// A record may have both.
		dead[i] = r.deadLetter(events[i].Source.Stream, events[i].RecordID, i)
	}
	if err := r.stored(ctx, events, dead); err != nil {
		return err
	}
	return r.stored(ctx, nil, []schema.Message{r.deadLetter("dead", "alone", 3)})
}

func checkEmpty(ctx context.Context, r *run) error {
	if err := r.stored(ctx, nil, nil); err != nil {
		return err
	}
	return r.stored(ctx, []schema.Message{}, []schema.Message{})
}

func checkLargeBatch(ctx context.Context, r *run) error {
	limit := r.publisher.Limits().MaxMessages
	if limit < 1 {
		return fmt.Errorf("got limit of %d messages, want at least 1", limit)
	}
	n := min(limit, maxBatch)
	dead := min(2, n-1)
	all := r.messages("large batch", n, 1000)
	for i := range dead {
		all[n-1-i] = r.deadLetter("large batch", "dead", i)
	}
	return r.stored(ctx, all[:n-dead], all[n-dead:])
}

func checkTooLarge(ctx context.Context, r *run) error {
	limit := r.publisher.Limits().MaxMessageBytes
	if limit == 0 {
		return r.stored(ctx, []schema.Message{r.message("too large", "no limit", 0, 4<<20)}, nil)
	}
	largest := r.message("too large", "at the limit", 0, limit)
	if err := r.stored(ctx, []schema.Message{largest}, nil); err != nil {
		return fmt.Errorf("message of %d bytes, the limit: %w", limit, err)
	}
	events, dead := r.messages("too large", 4, 200), r.messages("too large, dead", 2, 200)
	dead[0], dead[1] = r.deadLetter("too large", "dead", 0), r.message("too large", "dead and too large", 0, limit+1)
	events[1] = r.message("too large", "above the limit", 0, limit+1)
	if err := r.rejects(ctx, events, dead, []sinks.Rejection{{Index: 1}, {Dead: true, Index: 1}}); err != nil {
		return err
	}
	if err := r.expect(ctx, []schema.Message{events[0], events[2], events[3]}, dead[:1], false); err != nil {
		return fmt.Errorf("neighbours of rejected messages: %w", err)
	}
	if err := r.rejects(ctx, events[1:2], nil, []sinks.Rejection{{Index: 0}}); err != nil {
		return fmt.Errorf("alone: %w", err)
	}
	return r.expect(ctx, nil, nil, false)
}

// rejects publishes and wants exactly these messages refused.
func (r *run) rejects(ctx context.Context, events, dead []schema.Message, want []sinks.Rejection) error {
	err := r.publisher.Publish(ctx, events, dead)
	rejected, ok := errors.AsType[*sinks.RejectedError](err)
	if !ok {
		return fmt.Errorf("publishing messages above the limit: got error %w, want a *sinks.RejectedError", errOr(err))
	}
	got := make([]sinks.Rejection, 0, len(rejected.Messages))
	for _, m := range rejected.Messages {
		if m.Err == nil {
			return fmt.Errorf("rejection of message %d gives no reason", m.Index)
		}
		got = append(got, sinks.Rejection{Dead: m.Dead, Index: m.Index})
	}
	slices.SortFunc(got, func(a, b sinks.Rejection) int {
		if a.Dead != b.Dead {
			return map[bool]int{false: -1, true: 1}[a.Dead]
		}
		return a.Index - b.Index
	})
	if !slices.Equal(got, want) {
		return fmt.Errorf("publishing messages above the limit: got rejections %+v, want %+v", got, want)
	}
	return nil
}

func checkEnded(ctx context.Context, r *run) error {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	all := r.messages("ended", 5, 200)
	ok, err := within(promptly, func() error { return r.publisher.Publish(ended, all, nil) })
	if !ok {
		return errors.New("publish goes on after its context ended")
	}
	if !errors.Is(err, context.Canceled) {
		return fmt.Errorf("got error %w, want context.Canceled", errOr(err))
	}
	return r.retried(ctx, all)
}

// checkCancelled cancels at several moments of a publish.
func checkCancelled(ctx context.Context, r *run) error {
	n := min(r.publisher.Limits().MaxMessages, 500)
	for i, after := range []time.Duration{0, 300 * time.Microsecond, time.Millisecond, 3 * time.Millisecond, 10 * time.Millisecond} {
		all := r.versions(fmt.Sprintf("cancelled %d", i), n)
		short, cancel := context.WithTimeout(ctx, after)
		ok, err := within(promptly, func() error { return r.publisher.Publish(short, all, nil) })
		cancel()
		if !ok {
			return errors.New("publish goes on after its context ended")
		}
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("got error %w, want nil or the context's", err)
		}
		if err == nil {
			err = r.expect(ctx, all, nil, false)
		} else {
			err = r.retried(ctx, all)
		}
		if err != nil {
			return fmt.Errorf("cancelled after %v: %w", after, err)
		}
	}
	return nil
}

func checkAgain(ctx context.Context, r *run) error {
	all := r.messages("again", 20, 200)
	if err := r.publisher.Publish(ctx, all, nil); err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	if err := r.retried(ctx, all); err != nil {
		return err
	}
	if err := errors.Join(r.close(), r.open(ctx)); err != nil {
		return err
	}
	if r.repeats() {
		return nil
	}
	if err := r.publisher.Publish(ctx, all, nil); err != nil {
		return fmt.Errorf("publishing again after opening again: %w", err)
	}
	return r.expect(ctx, nil, nil, false)
}

// retried publishes events whose fate is unknown.
func (r *run) retried(ctx context.Context, events []schema.Message) error {
	if err := r.publisher.Publish(ctx, events, nil); err != nil {
		return fmt.Errorf("publishing again: %w", err)
	}
	return r.expect(ctx, events, nil, r.repeats())
}

// checkReplayed publishes an event again under the same id, marked by a replay.
func checkReplayed(ctx context.Context, r *run) error {
	events, dead := r.messages("replayed", 3, 200), []schema.Message{r.deadLetter("replayed", "dead", 3)}
	for _, id := range []string{"", "replay 1", "replay 2"} {
		for _, list := range [][]schema.Message{events, dead} {
			for i := range list {
				list[i].Replay = id
			}
		}
		if err := r.stored(ctx, events, dead); err != nil {
			return fmt.Errorf("replay %q: %w", id, err)
		}
	}
	return nil
}

// repeats reports whether publishing again may store again.
func (r *run) repeats() bool { return r.publisher.Guarantee() == sinks.ExactlyOnceUnlessCrash }

func checkClosed(ctx context.Context, r *run) error {
	all := r.messages("closed", 10, 200)
	if err := r.publisher.Publish(ctx, all, nil); err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	if err := r.close(); err != nil {
		return err
	}
	if err := r.expect(ctx, all, nil, false); err != nil {
		return fmt.Errorf("after closing: %w", err)
	}
	ok, err := within(promptly, func() error { return r.publisher.Publish(ctx, r.messages("closed twice", 1, 200), nil) })
	if !ok {
		return errors.New("publish after close does not return")
	}
	if err == nil {
		return errors.New("publish after close: got no error")
	}
	return r.expect(ctx, nil, nil, false)
}

// within calls f and waits for it for at most d.
func within(d time.Duration, f func() error) (ok bool, err error) {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return true, err
	case <-time.After(d):
		return false, nil
	}
}

func errOr(err error) error {
	if err == nil {
		return errors.New("none")
	}
	return err
}
