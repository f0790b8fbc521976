package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"connector/checkpoint"
	"connector/internal/fault"
	"connector/schema"
	"connector/sinks"
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
	watched time.Time          // provider's time at the latest reading of open records
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
		case fault.IsFatal(err), errors.Is(err, sinks.ErrFenced):
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

// outwaitLag waits until what the provider calls now may be read.
func (r *runner) outwaitLag(ctx context.Context) bool {
	return r.status.sleep(ctx, r.account.Lag+r.stream.Tick)
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
	if r.ledger == nil {
		r.ledger = checkpoint.New(r.prefix, r.start(now).Truncate(r.stream.Tick), r.stream.Tick, r.pages)
	}
	head := now.Add(-r.account.Lag).Truncate(r.stream.Tick)
	for w := r.window(head); !w.Empty(); w = r.next(w, head) {
		if err := r.read(ctx, w, now); err != nil {
			return err
		}
	}
	return r.watch(ctx, now)
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
// change, once per lateness, until they are given up (see Account.GiveUp).
func (r *runner) watch(ctx context.Context, now time.Time) error {
	if r.once || now.Sub(r.watched) < r.account.Lateness {
		return nil
	}
	again := append(r.ledger.Open(r.horizon(now), r.ledger.Settled()), r.ledger.Gaps()...)
	for _, open := range again {
		first := sources.Span{To: open.From.Add(-r.stream.Tick)}
		for w := r.next(first, open.To); !w.Empty(); w = r.next(w, open.To) {
			if err := r.read(ctx, w, now); err != nil {
				return err
			}
		}
	}
	r.watched = now
	return nil
}

// horizon returns the time before which records are given up.
func (r *runner) horizon(now time.Time) time.Time {
	return now.Add(-r.account.GiveUp).Truncate(r.stream.Tick)
}

// read moves the records of one window. What cannot be proven complete becomes
// a gap of the ledger, and reading goes on behind it.
func (r *runner) read(ctx context.Context, w sources.Span, now time.Time) error {
	for !w.Empty() {
		err := r.scan(ctx, w, now)
		gap, ok := errors.AsType[*sources.GapError](err)
		if !ok {
			return err
		}
		if err := r.skip(ctx, gap, now); err != nil {
			return err
		}
		w.From = gap.Span.To.Add(r.stream.Tick)
	}
	return nil
}

// skip notes a gap.
func (r *runner) skip(ctx context.Context, gap *sources.GapError, now time.Time) error {
	known := slices.ContainsFunc(r.ledger.Gaps(), func(s sources.Span) bool { return s.Contains(gap.Span.From) && s.Contains(gap.Span.To) })
	if known {
		return nil
	}
	r.log.Error("gap: the provider may hold rows that it does not show; tried again until it is given up", "from", gap.Span.From, "to", gap.Span.To, "reason", gap.Reason)
	b := &batch{runner: r, ledger: r.ledger.Begin()}
	b.ledger.Gap(gap.Span, now, r.account.Lateness, r.stream.Tick)
	return r.commits.commit(ctx, b)
}

// scan moves the records of one window, chunk by chunk.
func (r *runner) scan(ctx context.Context, w sources.Span, now time.Time) error {
	r.status.beat(0)
	for chunk, err := range r.account.Source.Scan(ctx, r.stream, w) {
		if err != nil {
			return fmt.Errorf("reading %s of stream %s: %w", w, r.stream.Name, err)
		}
		if err := r.publish(ctx, chunk, w, now); err != nil {
			return err
		}
		r.status.beat(0)
	}
	r.metrics.frontier.Set(float64(r.ledger.Frontier().UnixMilli()) / 1000)
	r.metrics.gaps.Set(float64(len(r.ledger.Gaps())))
	return nil
}

// publish admits what is new in a chunk and commits it, in as many commits as
// the sink's limit asks for. With the last one coverage follows (invariants 3,
// 4 and 5), and what is given up is forgotten.
func (r *runner) publish(ctx context.Context, chunk sources.Chunk, w sources.Span, now time.Time) error {
	records, most := chunk.Records, r.commits.limits.MaxMessages
	for most > 0 && len(records) > most {
		b, err := r.admit(ctx, records[:most], w)
		if err != nil {
			return err
		}
		if err := r.commits.commit(ctx, b); err != nil {
			return err
		}
		records = records[most:]
	}
	b, err := r.admit(ctx, records, w)
	if err != nil {
		return err
	}
	b.ledger.Cover(chunk.Proven, now, r.account.Lateness, r.stream.Tick)
	b.ledger.Forget(r.horizon(now))
	return r.commits.commit(ctx, b)
}
