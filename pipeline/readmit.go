package pipeline

import (
	"context"
	"slices"

	"connector/checkpoint"
	"connector/schema"
	"connector/sources"
)

// readmit turns each record into an event: an unmarked one when the ledger does
// not know the version, and a marked one when it is the latest that it knows,
// or of a time of which it knows nothing any more. It returns the records that do
// not fit one commit with these.
func (r *replayer) readmit(ctx context.Context, records []sources.Record, w sources.Span) (_ *batch, rest []sources.Record, err error) {
	b, err := r.stage(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := r.own(b); err != nil {
		return nil, nil, err
	}
	records, rest = r.commits.first(records)
	near := sources.Span{From: w.From.Add(-r.stream.Tick), To: w.To.Add(r.stream.Tick)}
	forgotten := r.left[0].forgotten
	if !forgotten {
		if err := b.ledger.Read(ctx, records, near); err != nil {
			return nil, nil, err
		}
	}
	for i, rec := range records {
		if b.full(rec) {
			records, rest = records[:i], slices.Concat(records[i:], rest)
			break
		}
		switch {
		case r.beside(rec, w) || !r.seen.add(rec):
		case forgotten:
			b.add(rec, checkpoint.Version{}, r.what)
		default:
			if err := b.repeat(ctx, rec, near, r.what); err != nil {
				return nil, nil, err
			}
		}
	}
	b.rows = len(records)
	r.metrics.rows.Add(float64(len(records)))
	return b, rest, nil
}

// beside reports whether a record lies in a tick next to w and is replayed
// with that, if at all. One of the tick before w is not when that was just replayed:
// then it was seen, unless the provider filters on another time than the creation.
func (r *replayer) beside(rec sources.Record, w sources.Span) bool {
	after := rec.Created.After(w.To) && !rec.Created.After(w.To.Add(r.stream.Tick))
	before := rec.Created.Before(w.From) && !rec.Created.Before(w.From.Add(-r.stream.Tick))
	return after || before && w.From.Equal(r.left[0].begin)
}

// repeat adds the event of a record in time that the ledger remembers; of an
// older version than the latest, none.
func (b *batch) repeat(ctx context.Context, rec sources.Record, near sources.Span, what *Replay) error {
	v, err := b.ledger.Admit(ctx, rec, near)
	if err != nil {
		return err
	}
	if v.Fresh {
		b.add(rec, v, nil)
		return nil
	}
	known := b.ledger.Known(rec)
	switch {
	case !known.Current:
		b.runner.metrics.stale.Inc()
	case known.Dead:
		b.revive(rec, what)
	default:
		b.add(rec, checkpoint.Version{Revision: known.Revision}, what)
	}
	return nil
}

// revive adds the event of a version that was a dead letter only: it was never
// published, so it bears no mark of the replay, by which a refusal does not count either.
func (b *batch) revive(rec sources.Record, what *Replay) {
	undo := b.ledger.Undo(rec.ID)
	b.runner.validate.strict = true // else one that was found invalid is published because it is not its turn
	m, err := b.runner.event(rec, b.ledger.Revive(rec), nil)
	b.runner.validate.strict = false
	if err != nil {
		undo()
		b.letter(rec, err, what.ID, nil)
		return
	}
	b.retry(rec, &trial{undo: undo, refused: func(err error) { b.letter(rec, err, what.ID, nil) }})
	b.settle(rec, resolved{record: b.runner.shortID(rec.ID), outcome: schema.Published})
	b.publish(rec, m)
}
