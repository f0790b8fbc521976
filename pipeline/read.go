package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"connector/sources"
)

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
	b.ledger.Gap(gap.Span, now, r.account.Lateness)
	return r.commits.commit(ctx, b)
}

// scan moves the records of one window, chunk by chunk.
func (r *runner) scan(ctx context.Context, w sources.Span, now time.Time) error {
	if !r.shared.wait(ctx, r.status) {
		return ctx.Err()
	}
	for chunk, err := range r.account.Source.Scan(ctx, r.stream, w) {
		if err != nil {
			return fmt.Errorf("reading %s of stream %s: %w", w, r.stream.Name, err)
		}
		if err := r.publish(ctx, chunk, w, now); err != nil {
			return err
		}
		r.show()
		r.status.beat(0)
	}
	return nil
}

// show sets the metrics that follow from the ledger.
func (r *runner) show() {
	r.metrics.frontier.Set(float64(r.ledger.Frontier().UnixMilli()) / 1000)
	r.metrics.gaps.Set(float64(len(r.ledger.Gaps())))
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
	b.ledger.Cover(chunk.Proven, now, r.account.Lateness)
	b.ledger.Forget(r.horizon(now))
	return r.commits.commit(ctx, b)
}
