package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connector/checkpoint"
	"connector/internal/budget"
	"connector/sources"
)

// read moves the records of one window and returns up to where: its end, or
// less when it yields or fails. What cannot be proven complete becomes a gap of
// the ledger, and reading goes on behind it.
func (r *runner) read(ctx context.Context, w sources.Span, t turn) (reached time.Time, err error) {
	ctx = budget.With(ctx, t.class)
	reached = w.From.Add(-r.stream.Tick)
	for !w.Empty() {
		reached, err = r.scan(ctx, w, t, r.publish)
		gap, ok := errors.AsType[*sources.GapError](err)
		if !ok {
			return reached, err
		}
		if err := r.skip(ctx, gap); err != nil {
			return reached, err
		}
		if t.backfill {
			r.status.countGap()
		}
		reached = gap.Span.To
		w.From = reached.Add(r.stream.Tick)
		if t.over() {
			break
		}
	}
	return reached, nil
}

// skip notes a gap.
func (r *runner) skip(ctx context.Context, gap *sources.GapError) error {
	b, err := r.stage(ctx)
	if err != nil {
		return err
	}
	b.ledger.Gap(gap.Span)
	if b.ledger.Empty() { // known
		return nil
	}
	r.log.Error("gap: the provider may hold rows that it does not show; tried again until it is given up", "from", gap.Span.From, "to", gap.Span.To, "reason", gap.Reason)
	if err := r.commits.commit(ctx, b); err != nil {
		return err
	}
	r.show()
	return nil
}

// scan moves the records of one window with publish, chunk by chunk, and returns
// up to where they are proven complete. It yields only between two proven parts.
func (r *runner) scan(ctx context.Context, w sources.Span, t turn, publish publishFunc) (proven time.Time, err error) {
	proven = w.From.Add(-r.stream.Tick)
	if !r.status.sleep(ctx, r.account.Budget.Held()) {
		return proven, ctx.Err()
	}
	r.present.begin(r.stream, w)
	for chunk, err := range r.account.Source.Scan(ctx, r.stream, w) {
		if err != nil {
			return proven, fmt.Errorf("reading %s of stream %s: %w", w, r.stream.Name, err)
		}
		chunk.Records = r.account.Privacy.Seal(chunk.Records)
		if err := publish(ctx, chunk, w, t); err != nil {
			return proven, err
		}
		r.show()
		r.status.answer()
		r.status.beat(0)
		if chunk.Proven.To.After(proven) {
			if proven = chunk.Proven.To; t.over() {
				break
			}
		}
	}
	return proven, nil
}

// publishFunc makes the records of a chunk, found in window w, durable.
type publishFunc func(ctx context.Context, chunk sources.Chunk, w sources.Span, t turn) error

// show sets the metrics and the status that follow from the ledger.
func (r *runner) show() {
	r.metrics.frontier.Set(float64(r.ledger.Frontier().UnixMilli()) / 1000)
	r.metrics.gaps.Set(float64(len(r.ledger.In(checkpoint.Gap))))
	r.metrics.unread.Set(length(r.ledger.In(checkpoint.Unread)).Seconds())
	_, open := r.ledger.GivenUp()
	r.metrics.givenUp.Set(float64(open))
	r.metrics.silent.Set(max(0, r.ledger.End().Sub(r.ledger.SilentSince())).Seconds())
	r.status.show(r.ledger)
	r.doubt()
}

// length returns the time that spans take together.
func length(list []sources.Span) (sum time.Duration) {
	for _, s := range list {
		sum += s.To.Sub(s.From)
	}
	return sum
}

// publish admits what is new in a chunk and commits it, in as many commits as
// the sink's limit asks for. With the last one coverage follows (invariants 3,
// 4 and 5), and what is given up is forgotten.
func (r *runner) publish(ctx context.Context, chunk sources.Chunk, w sources.Span, t turn) error {
	b, rest, err := r.admit(ctx, chunk.Records, w, t)
	for err == nil && len(rest) > 0 {
		if err = r.commits.commit(ctx, b); err == nil {
			b, rest, err = r.admit(ctx, rest, w, t)
		}
	}
	if err != nil {
		return err
	}
	if b, err = r.sweep(ctx, b, chunk, t.now); err != nil {
		return err
	}
	b.ledger.Cover(chunk.Proven, t.now, r.account.Lateness)
	b.ledger.Seal(r.horizon(t.now))
	if saved := r.ledger.Savepoints(); len(saved) == 0 || t.now.Sub(saved[len(saved)-1]) >= saveEvery {
		b.ledger.Save(t.now)
	}
	return r.commits.commit(ctx, b)
}

// saveEvery is the time between two savepoints.
const saveEvery = time.Hour
