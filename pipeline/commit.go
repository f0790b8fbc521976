package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"connector/checkpoint"
	"connector/internal/fault"
	"connector/internal/wait"
	"connector/schema"
	"connector/sinks"
	"connector/sources"
)

// shutdownGrace bounds how long a commit in flight may go on after the
// process was told to stop.
const shutdownGrace = 8 * time.Second

// committer shares the session of a unit among its streams.
type committer struct {
	limits  sinks.Limits
	apart   bool // whether resolutions need a commit of their own, because a crash may store a part of one
	log     *slog.Logger
	metrics *Metrics

	turn    chan struct{} // holds one token: whoever takes it may use session
	session sinks.Session
}

func newCommitter(session sinks.Session, promise sinks.Guarantee, log *slog.Logger, metrics *Metrics) *committer {
	c := &committer{session: session, limits: session.Limits(), apart: !promise.IsExactlyOnce(), log: log, metrics: metrics, turn: make(chan struct{}, 1)}
	c.turn <- struct{}{}
	return c
}

// most returns how many events and dead letters one commit may hold, beside
// its state.
func (c *committer) most() int {
	if c.limits.MaxMessages <= 0 {
		return math.MaxInt
	}
	return max(1, c.limits.MaxMessages-checkpoint.MaxEntries)
}

// first returns the records that one commit may take, and the rest.
func (c *committer) first(records []sources.Record) (now, rest []sources.Record) {
	n := min(len(records), c.most())
	return records[:n], records[n:]
}

// fits refuses a message that the sink would refuse.
func (c *committer) fits(m schema.Message) error {
	size := m.Size()
	if limit := c.limits.MaxMessageBytes; limit > 0 && size > limit {
		return fault.Reject("too_large", fmt.Errorf("message has %d bytes, %w (%d)", size, errTooLarge, limit))
	}
	return nil
}

// take waits for the turn and returns true, or false when ctx ends first. A
// turn that is free is taken even then: the commit in hand has its grace.
func (c *committer) take(ctx context.Context) bool {
	select {
	case <-c.turn:
		return true
	default:
	}
	select {
	case <-c.turn:
		return true
	case <-ctx.Done():
		return false
	}
}

// commit makes a batch durable and then applies it to the ledger. Where a crash
// may store a part of a commit, the resolutions follow when the events are
// stored: a dead letter must not be called resolved without.
func (c *committer) commit(ctx context.Context, b *batch) error {
	if b.ledger.Empty() && len(b.events)+len(b.dead) == 0 {
		return nil
	}
	b.runner.status.rest()
	if err := c.durable(ctx, b.commit, b.replace); err != nil {
		return err
	}
	b.done()
	if !c.apart {
		return nil
	}
	settled := b.settledApart()
	if len(settled) == 0 {
		return nil
	}
	return c.durable(ctx, func(context.Context) (sinks.Commit, error) { return sinks.Commit{Dead: settled}, nil },
		func(*sinks.RejectedError) bool { return false })
}

// durable makes what build returns durable. It is built again after replace
// was told which messages the sink rejects, which returns false when they cannot
// be replaced. A transient error is tried again with the same commit until ctx
// ends; one that is under way when ctx ends is given shutdownGrace to finish.
func (c *committer) durable(ctx context.Context, build func(context.Context) (sinks.Commit, error), replace func(*sinks.RejectedError) bool) error {
	if !c.take(ctx) {
		return ctx.Err()
	}
	defer func() { c.turn <- struct{}{} }()
	defer c.metrics.committing()()
	ctx, cancel := grace(ctx, shutdownGrace)
	defer cancel()
	again := newRetry()
	commit, err := build(ctx)
	if err != nil {
		return err
	}
	for {
		began := time.Now()
		err = c.session.Commit(ctx, commit)
		rejected, isRejected := errors.AsType[*sinks.RejectedError](err)
		switch {
		case err == nil:
			c.metrics.commit.Observe(time.Since(began).Seconds())
			return nil
		case isRejected && replace(rejected):
			if commit, err = build(ctx); err != nil {
				return err
			}
			continue
		case isRejected:
			return sinkFailed{fault.Fatal(err, "the sink refuses even a dead letter: check its size limits and permissions")}
		case fault.IsFatal(err), errors.Is(err, sinks.ErrFenced):
			return sinkFailed{err}
		case ctx.Err() != nil:
			return ctx.Err()
		}
		pause := again.next()
		c.metrics.commitErrors.Inc()
		c.log.Warn("commit not durable, trying again", "error", err, "wait", pause.Round(time.Millisecond).String())
		if wait.For(ctx, pause) != nil {
			return ctx.Err()
		}
	}
}

// restore makes the ledger's state durable that an earlier process had
// published and not saved.
func (c *committer) restore(ctx context.Context, l *checkpoint.Ledger) error {
	b, err := l.Recovered(ctx)
	if b == nil || err != nil {
		return err
	}
	build := func(ctx context.Context) (sinks.Commit, error) {
		state, err := b.Entries(ctx)
		return sinks.Commit{State: state}, err
	}
	if err := c.durable(ctx, build, func(*sinks.RejectedError) bool { return false }); err != nil {
		return fmt.Errorf("saving what was published before a crash: %w", err)
	}
	b.Apply()
	return nil
}

// sinkFailed marks an error that ends every stream.
type sinkFailed struct{ error }

func (e sinkFailed) Unwrap() error { return e.error }

func isSinkFailure(err error) bool {
	_, ok := errors.AsType[sinkFailed](err)
	return ok
}

// grace returns a context that outlives ctx by d.
func grace(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		_ = wait.For(longer, d)
		cancel()
	})
	return longer, func() { stop(); cancel() }
}
