package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"connector/checkpoint"
	"connector/internal/fault"
	"connector/schema"
	"connector/sources"
)

// runner moves the records of one stream. Between two readings it holds
// nothing but the ledger.
type runner struct {
	account Account
	stream  sources.Stream
	from    schema.Source
	prefix  string
	start   func(now time.Time) time.Time
	once    bool

	pages   *checkpoint.Pages
	ledger  *checkpoint.Ledger // nil until the first reading of a new stream
	clock   clock
	watched time.Time      // provider's time when again was filled
	again   []sources.Span // gaps and hours with open records that are still to be read
	commits *committer
	shared  *shared
	retry   *retry
	log     *slog.Logger
	metrics *streamMetrics
	status  *status
}

// run reads the stream again and again until ctx ends or a fatal error.
func (r *runner) run(ctx context.Context) error {
	if r.once && !r.outwaitLag(ctx) {
		return nil
	}
	for {
		wait := r.account.Poll
		switch err := r.pass(ctx); {
		case err == nil && r.once:
			return nil
		case err == nil:
			r.retry.reset()
			r.status.good()
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the end of ctx is how a run ends
		case isSinkFailure(err):
			r.shared.stop(r.log, err)
			return err
		case fault.IsFatal(err):
			r.shared.stop(r.log, err)
			return fmt.Errorf("account %s: %w", r.account.Name, err)
		default:
			wait = r.failed(err)
		}
		if !r.status.sleep(ctx, wait) {
			return nil
		}
	}
}

// clockStep is how far a provider's clock may lag behind its time: HTTP dates
// are cut to the second.
const clockStep = time.Second

// outwaitLag waits until what the provider calls now may be read.
func (r *runner) outwaitLag(ctx context.Context) bool {
	return r.status.sleep(ctx, r.account.Lag+max(r.stream.Tick, clockStep)+clockStep/10)
}

// failed notes a transient error and returns how long to wait.
func (r *runner) failed(err error) time.Duration {
	wait := r.retry.next()
	if after, throttled := fault.RetryAfter(err); throttled {
		wait = max(wait, after)
		r.shared.shut(wait)
	}
	r.metrics.errors.Inc()
	r.status.bad(err)
	r.log.Warn("reading stopped, trying again", "error", err, "wait", wait.Round(time.Millisecond).String())
	return wait
}

// pass reads everything between what is settled and the head, oldest first,
// and from time to time the older records that may still change.
func (r *runner) pass(ctx context.Context) error {
	if !r.shared.wait(ctx, r.status) {
		return ctx.Err()
	}
	now, err := r.account.Source.Now(ctx)
	if err != nil {
		return err
	}
	if now, err = r.clock.check(now); err != nil {
		return err
	}
	if r.ledger == nil {
		r.begin(now)
	}
	head := now.Add(-r.account.Lag).Truncate(r.stream.Tick)
	for w := r.window(head); !w.Empty(); w = r.next(w, head) {
		if err := r.read(ctx, w, now); err != nil {
			return err
		}
	}
	return r.watch(ctx, now)
}

// begin makes the ledger of a new stream.
func (r *runner) begin(now time.Time) {
	start := r.start(now).Truncate(r.stream.Tick)
	if start.After(now) {
		r.log.Warn("nothing is read yet: the start lies in the future", "start", start)
	}
	r.ledger = checkpoint.New(r.account.Name, r.stream, start, r.pages)
}

// window returns the first window between what is settled and the head.
func (r *runner) window(head time.Time) sources.Span {
	return r.next(sources.Span{To: r.ledger.Settled()}, head)
}

// next returns the window after w, cut at the stream's longest, or an empty
// one when the head is reached.
func (r *runner) next(w sources.Span, head time.Time) sources.Span {
	from, to := w.To.Add(r.stream.Tick), head
	if limit := r.stream.MaxWindow; limit > 0 && from.Add(limit).Before(to) {
		to = from.Add(limit)
	}
	return sources.Span{From: from, To: to}
}

// watch reads the gaps again, and the hours that hold records which may still
// change: all of them once per lateness, until they are given up (see
// Account.GiveUp), but in each pass no longer than half the poll interval, so
// that the head is not held up.
func (r *runner) watch(ctx context.Context, now time.Time) error {
	if len(r.again) == 0 && now.Sub(r.watched) >= r.account.Lateness {
		r.again = append(r.ledger.Open(r.horizon(now), r.ledger.Settled()), r.ledger.Gaps()...)
		r.watched = now
	}
	for began := time.Now(); len(r.again) > 0 && (r.once || time.Since(began) < r.account.Poll/2); {
		open := &r.again[0]
		if horizon := r.horizon(now); open.From.Before(horizon) { // what is forgotten must not be read again
			open.From = horizon
		}
		w := r.next(sources.Span{To: open.From.Add(-r.stream.Tick)}, open.To)
		if err := r.read(ctx, w, now); err != nil {
			return err
		}
		if open.From = w.To.Add(r.stream.Tick); open.Empty() {
			r.again = r.again[1:]
		}
	}
	return nil
}

// horizon returns the time before which records are given up.
func (r *runner) horizon(now time.Time) time.Time {
	return now.Add(-r.account.GiveUp).Truncate(r.stream.Tick)
}
