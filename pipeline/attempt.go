package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"connector/checkpoint"
	"connector/schema"
	"connector/sources"
)

// match returns the places of the dead letters that a record is of.
func (r *retrier) match(rec sources.Record) []int {
	list := append(slices.Clone(r.pending[r.shortID(rec.ID)]), r.pending[digestKey(r.account.Privacy.RowDigest(rec))]...)
	slices.Sort(list)
	return slices.Compact(list)
}

// attempt is one record in a batch of a retry, and its dead letters.
type attempt struct {
	rec     sources.Record
	places  []int
	fate    func(i int) Fate // of a resolved one
	event   string
	reason  string // why it failed, or empty
	failing Fate
}

// some tries as many records as one commit takes, each id once, and returns
// how many that were.
func (r *retrier) some(ctx context.Context, records []sources.Record, w sources.Span) (n int, err error) {
	b := r.newBatch()
	if !r.what.Dry {
		if b, err = r.stage(ctx); err != nil {
			return 0, err
		}
	}
	if err := r.own(b); err != nil {
		return 0, err
	}
	near := sources.Span{From: w.From.Add(-r.stream.Tick), To: w.To.Add(r.stream.Tick)}
	records, _ = r.commits.first(records)
	if err := b.ledger.Read(ctx, records, near); err != nil {
		return 0, err
	}
	tried := map[string]*attempt{}
	messages := 0
	for _, rec := range records {
		places := r.match(rec)
		if tried[rec.ID] != nil || messages > 0 && messages+1+len(places) > r.commits.most() {
			break
		}
		if n++; len(places) == 0 {
			continue
		}
		a := &attempt{rec: rec, places: places}
		if err := r.one(ctx, b, a, near); err != nil {
			return 0, err
		}
		tried[rec.ID] = a
		messages += 1 + len(places)
	}
	if !r.what.Dry {
		if err := r.commits.commit(ctx, b); err != nil {
			return 0, err
		}
	}
	for _, a := range tried {
		r.done(a)
	}
	return n, nil
}

// one stages what becomes of a record.
func (r *retrier) one(ctx context.Context, b *batch, a *attempt, near sources.Span) error {
	rec := a.rec
	undo := b.ledger.Undo(rec.ID)
	refuse := func(fate Fate, err error) {
		a.failing, a.reason = fate, cut(r.account.Privacy.Reason(err), maxReason)
		undo()
	}
	m, v, err := r.attempt(ctx, b, rec, near)
	if stop, ok := errors.AsType[ledgerError](err); ok {
		return stop.error
	}
	switch {
	case errors.Is(err, errOlder):
		refuse(Stale, err)
		return nil
	case err != nil:
		refuse(Failing, err)
		return nil
	}
	a.fate = func(i int) Fate {
		if v.revived || r.list[i].Digest == r.account.Privacy.RowDigest(rec) {
			return Published
		}
		return Superseded
	}
	list := make([]resolved, 0, len(a.places))
	for _, i := range a.places {
		list = append(list, resolved{record: r.list[i].RecordID, letter: r.list[i].ID, replay: r.list[i].Replay, outcome: schema.Outcome(a.fate(i))})
	}
	if a.event = m.ID; v.known {
		b.dead = append(b.dead, r.resolutions(list, m.ID)...)
		return nil
	}
	b.retry(rec, &trial{undo: undo, refused: func(err error) { a.failing, a.reason = Failing, cut(r.account.Privacy.Reason(err), maxReason) }})
	b.settle(rec, list...)
	b.publish(rec, m)
	return nil
}

// ledgerError says that the ledger could not be read.
type ledgerError struct{ error }

var errOlder = errors.New("the provider shows an older version than the one published last")

// version is what a retry finds a record to be.
type version struct {
	revived bool // the version that the dead letter is of
	known   bool // published before
}

// attempt makes the event of a record, which the ledger then calls published.
func (r *retrier) attempt(ctx context.Context, b *batch, rec sources.Record, near sources.Span) (m schema.Message, v version, err error) {
	if m, err = r.event(rec, checkpoint.Version{Revision: 1}, nil); err != nil {
		return m, v, err
	}
	if !b.ledger.Known(rec).Record && r.forgotten(rec, near) {
		m, err = r.event(rec, checkpoint.Version{}, &Replay{ID: r.what.ID})
		return m, v, err
	}
	found, err := b.ledger.Admit(ctx, rec, near)
	if err != nil {
		return m, v, ledgerError{err}
	}
	if !found.Fresh {
		known := b.ledger.Known(rec)
		switch {
		case known.Dead:
			found, v.revived = b.ledger.Revive(rec), true
		case known.Current:
			return m, version{known: true}, nil
		default:
			return m, v, fmt.Errorf("revision %d: %w", known.Revision, errOlder)
		}
	}
	m, err = r.event(rec, found, nil)
	return m, v, err
}

// forgotten reports whether the ledger keeps nothing of the time of a record.
func (r *retrier) forgotten(rec sources.Record, near sources.Span) bool {
	at := rec.Created
	if !near.Contains(at) {
		at = near.To
	}
	return r.ledger.Closed(at)
}

// done notes what became of the dead letters of an attempt.
func (r *retrier) done(a *attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range a.places {
		l := &r.list[i]
		if a.reason != "" {
			l.Fate, l.Reason = a.failing, a.reason
			continue
		}
		l.Fate, l.Reason, l.EventID = a.fate(i), "", a.event
		for _, key := range []string{l.RecordID, digestKey(l.Digest)} {
			r.pending[key] = slices.DeleteFunc(r.pending[key], func(at int) bool { return at == i })
		}
	}
	if a.reason == "" {
		r.progress.Events++
	}
}
