package pipeline

import (
	"maps"
	"math/bits"
	"slices"
	"time"

	"connector/checkpoint"
	"connector/sources"
)

// plan says what a stream reads next.
type plan struct {
	now    time.Time      // the provider's, of the present pass
	passes uint64         // since the process began
	live   sources.Span   // the newest window, with what is young before it
	settle []sources.Span // the other young ones that are due

	refilled time.Time // provider's time when watched and gaps were filled
	watched  []sources.Span
	gaps     []sources.Span
	gapsFrom time.Time // gaps are not read before, by our clock
	kind     kind      // of the next task

	postponed map[time.Time]postponed // by the beginning of the window
}

// kind is a kind of reading that nothing waits for.
type kind int

const (
	unread  kind = iota // the backlog: what is to be read and lies before the newest window
	watched             // hours with open records
	gaps
	kinds
	backfill // when there is no other
)

// task is a window to read.
type task struct {
	kind   kind
	window sources.Span
}

// begin plans a pass at the provider's time now.
func (p *plan) begin(r *runner, now time.Time) {
	head := now.Add(-r.account.Lag).Truncate(r.stream.Tick)
	p.now = now
	young := r.youngFrom(now.Add(-r.account.Lateness).Truncate(r.stream.Tick))
	from := p.lookback(r, head, young)
	p.live = sources.Span{From: from, To: head}
	if limit := r.stream.MaxWindow; limit > 0 && head.Add(-limit).After(from) {
		p.live.From = head.Add(-limit)
	}
	p.settle = nil
	for _, s := range r.ledger.In(checkpoint.Young) {
		if s.To.Before(young) && (r.once || !s.To.After(now.Add(-r.account.Lateness))) {
			p.settle = append(p.settle, s)
		}
	}
	before := sources.Span{From: from, To: p.live.From.Add(-r.stream.Tick)}
	if end := r.ledger.End(); before.To.After(end) {
		before.To = end
	}
	p.settle = append(p.settle, before)
	p.passes++
	if len(p.watched)+len(p.gaps) == 0 && now.Sub(p.refilled) >= r.account.Lateness {
		p.refill(r)
	}
}

// youngFrom returns the beginning of what is young, or a gap that is not older
// than aged, and reaches to the end of what was read; without any, the tick after
// that end.
func (r *runner) youngFrom(aged time.Time) time.Time {
	from := r.ledger.End().Add(r.stream.Tick)
	ranges := r.ledger.Ranges()
	for i := len(ranges) - 1; i >= 0; i-- {
		s := ranges[i].State
		if s == checkpoint.Gap && ranges[i].From.Before(aged) {
			if aged.Before(from) {
				from = aged
			}
			break
		}
		if s != checkpoint.Young && s != checkpoint.Gap {
			break
		}
		from = ranges[i].From
	}
	return from
}

// lookback returns from where the newest window and what is young before it are
// read: two poll intervals before the head, in each second pass four, in each
// fourth eight, and so on, and all that is young once per lateness. So a row is
// read again before its age has grown threefold, and at last after its lateness.
func (p *plan) lookback(r *runner, head, young time.Time) time.Time {
	back := r.account.Lateness
	if n := bits.TrailingZeros64(p.passes); n < 32 {
		back = min(back, 2*r.account.Poll<<n)
	}
	if r.once || p.passes == 0 || p.now.Sub(young) >= 2*r.account.Lateness {
		return young
	}
	from := head.Add(-back).Truncate(r.stream.Tick)
	if end := r.ledger.End().Add(r.stream.Tick); from.After(end) {
		from = end
	}
	if from.Before(young) {
		from = young
	}
	return from
}

// refill lists what is read once per lateness until it is given up: the hours
// of watched ranges that hold open records, and gaps.
func (p *plan) refill(r *runner) {
	p.refilled = p.now
	for _, s := range r.ledger.In(checkpoint.Watched) {
		p.watched = append(p.watched, r.ledger.Open(s.From, s.To)...)
	}
	p.gaps = r.ledger.In(checkpoint.Gap)
}

// next returns the next task, of one window: the kinds take turns, and backfill
// comes when they have nothing.
func (p *plan) next(r *runner) (task, bool) {
	sealed := r.horizon(p.now).Truncate(time.Hour)
	p.watched, p.gaps = after(p.watched, sealed), after(p.gaps, sealed)
	for range kinds {
		at := p.kind
		p.kind = (p.kind + 1) % kinds
		var list []sources.Span
		switch at {
		case unread:
			list = r.untried(r.ledger.In(checkpoint.Unread))
		case watched:
			list = p.watched
		case gaps:
			if r.once || !time.Now().Before(p.gapsFrom) {
				list = p.gaps
			}
		default: // backfill comes when there is no other
		}
		if w, ok := r.window(list); ok {
			return task{at, w}, true
		}
	}
	w, ok := r.window(r.untried(r.ledger.In(checkpoint.Backfill)))
	return task{backfill, w}, ok
}

// window returns the first window of the spans that is not postponed. Reading
// once means everything, so that nothing is.
func (r *runner) window(list []sources.Span) (sources.Span, bool) {
	for _, s := range list {
		for !s.Empty() {
			w := r.cut(s)
			if r.once || !r.plan.postponed[w.From].until.After(time.Now()) {
				return w, true
			}
			s.From = w.To.Add(r.stream.Tick)
		}
	}
	return nothing, false
}

// untried returns the first window of the spans that did not fail before, or the
// spans when all did: many that fail do not hold up what lies behind them.
func (r *runner) untried(list []sources.Span) []sources.Span {
	for _, s := range list {
		for !s.Empty() {
			w := r.cut(s)
			if _, failed := r.plan.postponed[w.From]; !failed {
				return []sources.Span{w}
			}
			s.From = w.To.Add(r.stream.Tick)
		}
	}
	return list
}

// cut returns the first window of a span.
func (r *runner) cut(s sources.Span) sources.Span {
	if limit := r.stream.MaxWindow; limit > 0 && s.From.Add(limit).Before(s.To) {
		s.To = s.From.Add(limit)
	}
	return s
}

// postponed is a window that failed although the newest one did not.
type postponed struct {
	times int
	until time.Time
}

// postpone puts a window aside, for one poll interval, then two, then four each
// time it fails, so that it does not hold up the others. Windows that came back
// in no hour since, because others took their place, are forgotten; not those of
// pending time, which wait until what did not fail is read.
func (p *plan) postpone(w sources.Span, poll time.Duration, pending []sources.Span) {
	if p.postponed == nil {
		p.postponed = map[time.Time]postponed{}
	}
	maps.DeleteFunc(p.postponed, func(from time.Time, past postponed) bool {
		waits := func(s sources.Span) bool { return s.Contains(from) }
		return time.Since(past.until) > time.Hour && !slices.ContainsFunc(pending, waits)
	})
	n := p.postponed[w.From].times
	p.postponed[w.From] = postponed{n + 1, time.Now().Add(poll << min(n, 2))}
}

// gapShare is how many times longer than reading gaps took they then rest, so that
// they get a fifth of the time.
const gapShare = 4

// done notes that a task was read up to from, and how long that took.
func (p *plan) done(t task, from time.Time, took time.Duration) {
	switch t.kind {
	case watched:
		p.watched = after(p.watched, from)
	case gaps:
		p.gaps = after(p.gaps, from)
		p.gapsFrom = time.Now().Add(gapShare * took)
	default: // the ledger knows
	}
}

// after returns what of list, which ascends, lies not before from.
func after(list []sources.Span, from time.Time) []sources.Span {
	for len(list) > 0 && list[0].From.Before(from) {
		if list[0].From = from; !list[0].Empty() {
			break
		}
		list = list[1:]
	}
	return list
}

// horizon returns the time before which records are given up.
func (r *runner) horizon(now time.Time) time.Time {
	return now.Add(-r.account.GiveUp).Truncate(r.stream.Tick)
}
