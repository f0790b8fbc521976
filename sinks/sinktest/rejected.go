package sinktest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"connector/schema"
	"connector/sinks"
)

// checkRejected commits messages above the limit: the sink names each of them,
// and takes the others with what comes in their place.
func checkRejected(ctx context.Context, r *run) error {
	limit := r.limits.MaxMessageBytes
	if limit == 0 {
		return r.stored(ctx, []schema.Message{r.message("too large", "no limit", 0, 4<<20)}, nil)
	}
	for _, largest := range []schema.Message{r.message("too large", "at the limit", 0, limit), r.structured("too large", "structured, at the limit", limit)} {
		if err := r.stored(ctx, []schema.Message{largest}, nil); err != nil {
			return fmt.Errorf("message of %d bytes, the limit: %w", limit, err)
		}
	}
	events, dead := r.messages("too large", 4, 200), r.messages("too large, dead", 2, 200)
	dead[0], dead[1] = r.deadLetter("too large", "dead", 0), r.message("too large", "dead and too large", 0, limit+1)
	events[1] = r.message("too large", "above the limit", 0, limit+1)
	c := r.build(events, dead)
	if err := r.rejects(ctx, c, []sinks.Rejection{{Index: 1}, {Dead: true, Index: 1}}); err != nil {
		return err
	}
	replaced := r.build([]schema.Message{events[0], events[2], events[3]}, []schema.Message{dead[0], r.deadLetter("too large", "above the limit", 1)})
	replaced.State = c.State
	if err := r.commit(ctx, replaced); err != nil {
		return fmt.Errorf("without the rejected messages: %w", err)
	}
	if err := r.expect(ctx, replaced.Events, replaced.Dead, false); err != nil {
		return fmt.Errorf("neighbours of rejected messages: %w", err)
	}
	for _, m := range []schema.Message{events[1], r.structured("too large", "structured, above the limit", limit+1)} {
		if err := r.rejects(ctx, r.build([]schema.Message{m}, nil), []sinks.Rejection{{Index: 0}}); err != nil {
			return fmt.Errorf("alone: %w", err)
		}
	}
	if err := r.expect(ctx, nil, nil, false); err != nil {
		return err
	}
	return r.reopen(ctx)
}

// rejects commits and wants exactly these messages refused, and of sinks that
// are exactly once nothing stored.
func (r *run) rejects(ctx context.Context, c sinks.Commit, want []sinks.Rejection) error {
	err := r.session.Commit(ctx, c)
	rejected, ok := errors.AsType[*sinks.RejectedError](err)
	if !ok {
		return fmt.Errorf("committing messages above the limit: got error %w, want a *sinks.RejectedError", errOr(err))
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
		return fmt.Errorf("committing messages above the limit: got rejections %+v, want %+v", got, want)
	}
	if r.exactlyOnce() {
		return r.expect(ctx, nil, nil, false)
	}
	return nil
}
