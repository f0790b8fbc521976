package pipeline

import (
	"fmt"
	"time"

	"connector/internal/fault"
	"connector/sources"
)

// silentAfter is how long a stream may be without a record before that is
// worth a doubt.
const silentAfter = 24 * time.Hour

// found notes when the records of a window were created. With the first ones
// after a silence, the silent time is to be read again: the provider may have
// answered without rows for another reason than that there were none.
func (r *runner) found(b *batch, records []sources.Record, w sources.Span) {
	var oldest, newest time.Time
	for _, rec := range records {
		at := rec.Created
		if !w.Contains(at) { // the provider filters on another time, or there is none
			at = w.To
		}
		if oldest.IsZero() || at.Before(oldest) {
			oldest = at
		}
		if at.After(newest) {
			newest = at
		}
	}
	if newest.IsZero() {
		return
	}
	since := r.ledger.SilentSince() // rows of the tick before w may be among the records
	if r.ledger.Latest().IsZero() || oldest.Sub(since) > silentAfter {
		r.reopen(b, sources.Span{From: since, To: w.From.Add(-2 * r.stream.Tick)}, "a record came after it")
	}
	b.ledger.Found(newest)
}

// reopen stages that a silent time is read once more.
func (r *runner) reopen(b *batch, s sources.Span, why string) {
	if end := r.ledger.End(); s.To.After(end) {
		s.To = end
	}
	if s.Empty() {
		return
	}
	r.log.Info("reading a time without records once more", "from", s.From, "to", s.To, "reason", why)
	b.ledger.Reopen(s)
}

// doubt logs once that a stream has been silent for long.
func (r *runner) doubt() {
	silent := r.ledger.End().Sub(r.ledger.SilentSince()) > silentAfter
	if silent && !r.doubted {
		r.log.Info("no record for more than a day: if some must have been, check the account, its rights and its filters, since providers answer for a wrong one as for an empty log", "since", r.ledger.SilentSince())
	}
	r.doubted = silent
}

// own checks that the records are those of the account that the ledger knows.
func (r *runner) own(b *batch) error {
	owner := r.account.Source.Owner()
	if owner == "" || b.ledger.Own(owner) {
		return nil
	}
	return fault.Fatal(fmt.Errorf("stream %s of account %s now holds the records of %s, and those of another owner before", r.stream.Name, r.account.Name, owner),
		"give the other company or application an account name of its own; to go on with this one, restore its credentials")
}
