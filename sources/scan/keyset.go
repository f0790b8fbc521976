package scan

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"time"

	"connector/sources"
)

// Page is one page of rows.
type Page struct {
	Rows  []Row
	Full  bool // whether there may be more rows behind it
	Total int  // how many rows the answer says there are; 0 if it says nothing
}

// PageFunc reads the page of index offset (0, 1, 2, …) of the rows whose time
// lies in span, ascending by time. It may return rows of the neighbouring
// ticks too. Its rows have passed their checks.
type PageFunc func(ctx context.Context, span sources.Span, offset int) (Page, error)

// Keyset scans window by pages of index 0: a full page moves the lower bound
// to the time of its last row, whose tick is read again. Rows that arrive
// meanwhile shift no page.
//
// Which time of a row the API selects and orders by is learned in each scan:
// one that lies outside the span, is absent, or descends on any page is ruled
// out. The bound moves to the earliest of the others, once each has been seen
// to ascend: that is right whichever of them it is. Where that does not help,
// it goes on so:
//
//   - No time is left, or one has not yet been seen to ascend: the span is
//     halved until a page is not full or shows the order.
//   - Total shows that a page did not hold all rows before the new bound, so
//     that its rows ascend by chance: so is the span of that page.
//   - One tick that fills a page: it is read by index until a page is not
//     full. Rows may change places meanwhile, so it is a [sources.GapError] unless
//     there are as many ids as every page says, and Total has been seen to
//     count more than the rows of a page.
func Keyset(ctx context.Context, window sources.Span, tick time.Duration, page PageFunc) iter.Seq2[sources.Chunk, error] {
	return Run(window, tick, func(c *Chunks) error {
		k := keyset{Chunks: c, page: page, tick: tick}
		return k.scan(ctx, window)
	})
}

type keyset struct {
	*Chunks
	page   PageFunc
	tick   time.Duration
	order  order
	totals bool // whether a Total was more than its page's rows
}

// read reads a page and learns from it.
func (k *keyset) read(ctx context.Context, span sources.Span, offset int) (Page, error) {
	p, err := k.page(ctx, span, offset)
	if err != nil {
		return Page{}, err
	}
	k.order.learn(p.Rows, span, k.tick)
	k.totals = k.totals || p.Full && p.Total > len(p.Rows)
	return p, nil
}

// scan reads span page after page.
func (k *keyset) scan(ctx context.Context, span sources.Span) error {
	var due *step
	for !span.Empty() {
		p, err := k.read(ctx, span, 0)
		if err != nil {
			return err
		}
		if due.denied(p) {
			k.order.out = [2]bool{true, true}
			return k.halve(ctx, sources.Span{From: due.from, To: span.To})
		}
		if due != nil {
			if err := k.Prove(due.to); err != nil {
				return err
			}
			due = nil
		}
		if !p.Full {
			return k.add(p, span.To)
		}
		last, known := k.order.last(p.Rows, k.tick)
		switch {
		case !last.IsZero() && !last.After(span.From):
			err, span.From = k.enumerate(ctx, span.From), span.From.Add(k.tick)
		case known && k.totals && !last.After(span.To): // there is a next page
			due = &step{from: span.From, to: last.Add(-k.tick), total: p.Total, left: k.order.before(p.Rows, last)}
			err, span.From = k.addAll(p), last
		case known:
			err, span.From = k.add(p, last.Add(-k.tick)), last
		default:
			return k.halve(ctx, span)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// step is a move of the lower bound by a page whose Total counts all rows. The
// page behind it shows whether the first one held all that it leaves behind.
type step struct {
	from  time.Time // lower bound of the page
	to    time.Time // end of what it proves then
	total int
	left  int // rows of the page that the next one need not count
}

// denied reports whether next, the page behind the step, counts fewer rows than
// the step can have left behind.
func (s *step) denied(next Page) bool {
	return s != nil && next.Total > 0 && s.total-next.Total > s.left
}

// halve reads span, whose first page is full, in two parts.
func (k *keyset) halve(ctx context.Context, span sources.Span) error {
	ticks := span.To.Sub(span.From) / k.tick
	if ticks == 0 {
		return k.enumerate(ctx, span.From)
	}
	middle := span.From.Add(ticks / 2 * k.tick)
	if err := k.scan(ctx, sources.Span{From: span.From, To: middle}); err != nil {
		return err
	}
	return k.scan(ctx, sources.Span{From: middle.Add(k.tick), To: span.To})
}

// enumerate reads the tick at by page index.
func (k *keyset) enumerate(ctx context.Context, at time.Time) error {
	tick := sources.Span{From: at, To: at}
	seen, total, reason := newIDs(), 0, ""
	for offset := 0; ; offset++ {
		p, err := k.read(ctx, tick, offset)
		if err != nil {
			return err
		}
		fresh := seen.add(p.Rows)
		if offset == 0 {
			total = p.Total
		}
		if k.totals && p.Total > 0 && p.Total != total {
			reason = fmt.Sprintf("its number of rows changed from %d to %d in between", total, p.Total)
		}
		switch {
		case p.Full && !fresh:
			return &sources.GapError{Span: tick, Reason: fmt.Sprintf("page %d of this one instant holds no row that the pages before it lack", offset)}
		case p.Full:
			err = k.addAll(p)
		case reason == "" && (offset == 0 || k.totals && len(seen.set) == total):
			return k.add(p, at)
		case reason == "":
			reason = k.reason(len(seen.set), total)
			fallthrough
		default:
			return errors.Join(k.addAll(p), &sources.GapError{Span: tick, Reason: reason})
		}
		if err != nil {
			return err
		}
	}
}

// reason says why a tick of several pages is not proven.
func (k *keyset) reason(got, total int) string {
	if !k.totals {
		return fmt.Sprintf("this one instant has %d rows on several pages, and the API does not say how many there are", got)
	}
	return fmt.Sprintf("this one instant has %d rows on several pages, and the API counts %d", got, total)
}

// order is what the pages of a scan show about the times of their rows.
type order struct {
	out     [2]bool // cannot be what the API goes by
	ascends [2]bool // seen to ascend
}

// learn compares the rows of a page with the span asked for. A page that
// only descends by one time says that the API does not ascend at all.
func (o *order) learn(rows []Row, span sources.Span, tick time.Duration) {
	for i := range o.out {
		ascends, descends, within := course(rows, i, span, tick)
		o.out[i] = o.out[i] || descends || !within
		o.ascends[i] = o.ascends[i] || ascends
		if descends && !ascends {
			o.out = [2]bool{true, true}
		}
	}
}

// course tells how time i runs through a page: whether it ascends by a tick
// somewhere, whether it descends somewhere, and whether all of it is within
// the span. A time that cannot be read tells nothing, but a row without the
// other time is not in the answer because of it.
func course(rows []Row, i int, span sources.Span, tick time.Duration) (ascends, descends, within bool) {
	var last time.Time
	within = true
	for _, r := range rows {
		at := r.times()[i]
		if at.IsZero() {
			within = within && (i == 0 || r.Created.IsZero())
			continue
		}
		within = within && near(at, span, tick)
		descends = descends || at.Before(last)
		ascends = ascends || !last.IsZero() && at.Truncate(tick).After(last)
		last = at
	}
	return ascends, descends, within
}

// last returns the earliest tick of the last row by the times that are not
// ruled out, zero if there are none, and whether all of these have been seen
// to ascend.
func (o *order) last(rows []Row, tick time.Duration) (last time.Time, known bool) {
	known = true
	for i := range o.out {
		if o.out[i] {
			continue
		}
		at := lastTime(rows, i).Truncate(tick)
		if at.IsZero() {
			return time.Time{}, false
		}
		if last.IsZero() || at.Before(last) {
			last = at
		}
		known = known && o.ascends[i]
	}
	return last, known && !last.IsZero()
}

// before counts the rows that may not be in an answer that begins at from.
func (o *order) before(rows []Row, from time.Time) (n int) {
	for _, r := range rows {
		for i, at := range r.times() {
			if !o.out[i] && at.Before(from) { // a time that cannot be read, too
				n++
				break
			}
		}
	}
	return n
}

// lastTime returns the last readable time i of rows.
func lastTime(rows []Row, i int) (last time.Time) {
	for _, r := range rows {
		if at := r.times()[i]; !at.IsZero() {
			last = at
		}
	}
	return last
}

func (k *keyset) addAll(p Page) error {
	for _, r := range p.Rows {
		if err := k.Add(r.Record); err != nil {
			return err
		}
	}
	return nil
}

// add takes a page after which everything up to to has been added.
func (k *keyset) add(p Page, to time.Time) error {
	if err := k.addAll(p); err != nil {
		return err
	}
	return k.Prove(to)
}

// ids is a set of record ids, 8 bytes each.
type ids struct{ set map[uint64]struct{} }

func newIDs() ids { return ids{map[uint64]struct{}{}} }

// add reports whether one of the rows was not in the set.
func (s ids) add(rows []Row) bool {
	before := len(s.set)
	for _, r := range rows {
		s.set[maphash.String(idSeed, r.ID)] = struct{}{}
	}
	return len(s.set) > before
}
