package sinktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"connector/checkpoint"
	"connector/schema"
	"connector/sinks"
)

// checks are what the kit asks for, in the order it does.
func checks() []check {
	return []check{
		// Messages: each readable as soon as Commit returns, once, byte-equal
		// whatever Unicode it holds, and the versions of a record in order.
		{"guarantee", checkGuarantee},
		{"round trip", checkRoundTrip},
		{"structured mode", checkStructured},
		{"order", checkOrder},
		{"dead letters", checkDead},
		{"empty commit", checkEmpty},
		{"repeated", checkRepeated},
		{"replayed", checkReplayed},
		{"closed", checkClosed},
		{"tail", checkTail},
		{"tail follows", checkFollow},

		// State: recovered and got as it was committed, and only that.
		{"state", checkState},
		{"deleted state", checkDeleted},
		{"pages", checkPages},
		{"large state", checkLargeState},
		{"got beside a commit", checkGetBeside},
		{"units apart", checkUnits},
		{"view", checkView},

		// Doubt: a commit takes place once or not at all.
		{"crash", checkCrash},
		{"crash before the state is saved", checkPublished},
		{"ended context", checkEnded},
		{"cancelled commit", checkCancelled},
		{"trouble", checkTrouble},
		{"fence", checkFence},

		// What these two store would be read again by the others; the last one
		// leaves nothing to go on with.
		{"largest commit", checkLargest},
		{"rejected", checkRejected},
		{"lost entry", checkLost},
	}
}

func checkGuarantee(_ context.Context, r *run) error {
	known := []sinks.Guarantee{sinks.ExactlyOnce, sinks.ExactlyOnceCommitted, sinks.OnceUnlessZombie, sinks.DedupedInWindow, sinks.ExactlyOnceUnlessCrash}
	if got := r.sink.Guarantee(); got != r.grants || !slices.Contains(known, got) {
		return fmt.Errorf("got %q, want one of package sinks, and the same as before", got)
	}
	return nil
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

// most is how many messages the checks put into a commit that need none larger.
const most = 30

// chunk returns how many messages such a commit holds.
func (r *run) chunk() int { return max(1, min(most, r.limits.MaxMessages-perCommit)) }

// checkStructured commits messages in structured mode: in a commit of their own,
// in one with binary ones, again, and as dead letters.
func checkStructured(ctx context.Context, r *run) error {
	awkward := r.awkward()
	for i := range awkward {
		awkward[i].ID = schema.EventID("kit structured", awkward[i].Source.Stream, awkward[i].RecordID, r.nonce) // another than in binary mode
		awkward[i].Structure()
	}
	for part := range slices.Chunk(awkward, r.chunk()) {
		if err := r.stored(ctx, part, nil); err != nil {
			return err
		}
	}
	events, dead := r.messages("structured", 4, 200), []schema.Message{r.deadLetter("structured", "dead", 0), r.deadLetter("structured", "dead", 1)}
	events[1].Structure()
	events[2].Structure()
	dead[1].Structure()
	if err := r.stored(ctx, events, dead); err != nil {
		return fmt.Errorf("both modes in a commit: %w", err)
	}
	if r.grants != sinks.DedupedInWindow {
		return nil
	}
	if err := r.commit(ctx, r.build(events, dead)); err != nil {
		return err
	}
	if err := r.expect(ctx, nil, nil, false); err != nil {
		return fmt.Errorf("committed again: %w", err)
	}
	return nil
}

// checkOrder commits versions of the same records within and across commits.
func checkOrder(ctx context.Context, r *run) error {
	const records, versions = 7, 12
	var all []schema.Message
	for v := range versions {
		for rec := range records {
			all = append(all, r.message("order", fmt.Sprintf("record %d", rec), v, 100))
		}
	}
	for part := range slices.Chunk(all, r.chunk()) {
		if err := r.commit(ctx, r.build(part, nil)); err != nil {
			return err
		}
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

// checkEmpty commits nothing, state alone, and messages alone.
func checkEmpty(ctx context.Context, r *run) error {
	events := r.messages("without state", 2, 200)
	if r.limits.Marks {
		r.mark(events)
	}
	for _, c := range []sinks.Commit{{}, {Events: []schema.Message{}}, r.build(nil, nil), {Events: events}} {
		if err := r.commit(ctx, c); err != nil {
			return err
		}
		if err := r.expect(ctx, c.Events, c.Dead, false); err != nil {
			return err
		}
	}
	return r.reopen(ctx)
}

// checkLargest commits as many messages and entries as the limit says.
func checkLargest(ctx context.Context, r *run) error {
	limit := r.limits.MaxMessages
	if limit < 5 {
		return fmt.Errorf("got limit of %d messages, want at least 5", limit)
	}
	n := min(limit, maxBatch)
	var more []checkpoint.Entry
	for i := range max(0, min(n/3, checkpoint.MaxEntries)-perCommit) {
		more = append(more, checkpoint.Entry{Key: fmt.Sprintf("%sb/2026010100/%04d", prefix, i), Value: fmt.Appendf(nil, "page %d", i)})
	}
	messages := n - len(more) - perCommit
	dead := min(2, messages-1)
	all := r.messages("largest", messages, 1000)
	for i := range dead {
		all[messages-1-i] = r.deadLetter("largest", "dead", i)
	}
	if err := r.commit(ctx, r.build(all[:messages-dead], all[messages-dead:], more...)); err != nil {
		return err
	}
	if err := r.expect(ctx, all[:messages-dead], all[messages-dead:], false); err != nil {
		return err
	}
	if err := r.reopen(ctx); err != nil {
		return err
	}
	for _, e := range more {
		if err := r.got(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// checkRepeated commits events again, for sinks that say they drop repetitions.
func checkRepeated(ctx context.Context, r *run) error {
	if r.grants != sinks.DedupedInWindow {
		return nil
	}
	all := r.messages("repeated", 20, 200)
	if err := r.stored(ctx, all, nil); err != nil {
		return err
	}
	if err := r.reopen(ctx); err != nil {
		return err
	}
	if err := r.commit(ctx, r.build(all, nil)); err != nil {
		return err
	}
	return r.expect(ctx, nil, nil, false)
}

// checkReplayed commits an event again under the same id, marked by a replay.
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

func checkClosed(ctx context.Context, r *run) error {
	all := r.messages("closed", 10, 200)
	if err := r.commit(ctx, r.build(all, nil)); err != nil {
		return err
	}
	session := r.session
	if err := r.close(); err != nil {
		return err
	}
	if err := r.expect(ctx, all, nil, false); err != nil {
		return fmt.Errorf("after closing: %w", err)
	}
	ok, err := within(r.prompt(), func() error { return session.Commit(ctx, r.build(r.messages("closed twice", 1, 200), nil)) })
	if !ok {
		return errors.New("a commit after closing does not return")
	}
	if err == nil {
		return errors.New("a commit after closing: got no error")
	}
	if err := r.expect(ctx, nil, nil, false); err != nil {
		return err
	}
	return r.open(ctx)
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
