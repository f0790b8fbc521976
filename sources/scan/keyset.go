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
	Records []sources.Record
	Full    bool // whether there may be more rows behind it
}

// PageFunc reads the page of index offset (0, 1, 2, …) of the rows whose time
// lies in span, ascending by time. It may return rows of the neighbouring
// ticks too. Its records have passed their checks.
type PageFunc func(ctx context.Context, span sources.Span, offset int) (Page, error)

// ErrOffset says that pages of higher index bring nothing new.
var ErrOffset = errors.New("the next page holds no row that the pages before it lack")

// Keyset scans window by pages of index 0: a full page moves the lower bound
// to the time of its last record, whose tick is read again. Rows that arrive
// meanwhile shift no page. Where that does not help, it goes on so:
//
//   - Rows out of order, or not yet seen in order: the rest of the scan halves
//     its span until a page is not full.
//   - One tick that fills a page: it is read by index until a page is not
//     full. That is complete unless rows of the tick leave or change places
//     meanwhile.
func Keyset(ctx context.Context, window sources.Span, tick time.Duration, page PageFunc) iter.Seq2[sources.Chunk, error] {
	return Run(window, tick, func(c *Chunks) error {
		k := keyset{Chunks: c, page: page, tick: tick}
		return k.scan(ctx, window)
	})
}

type keyset struct {
	*Chunks
	page    PageFunc
	tick    time.Duration
	ascends bool // whether a page has shown the order; one of equal times does not
}

// scan reads span page after page.
func (k *keyset) scan(ctx context.Context, span sources.Span) error {
	for !span.Empty() {
		p, err := k.page(ctx, span, 0)
		if err != nil {
			return err
		}
		if !p.Full {
			return k.add(p, span.To)
		}
		first, last, ordered := bounds(p.Records, k.tick)
		k.ascends = k.ascends || ordered && last.After(first)
		switch {
		case ordered && !last.After(span.From):
			err, span.From = k.enumerate(ctx, span.From), span.From.Add(k.tick)
		case ordered && k.ascends:
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

// bounds returns the ticks of the first and the last record, and whether no
// time is before the one in front of it. Records without a readable time are
// passed over.
func bounds(records []sources.Record, tick time.Duration) (first, last time.Time, ordered bool) {
	for _, r := range records {
		switch {
		case r.Created.IsZero():
			continue
		case r.Created.Before(last):
			return first, last, false
		case first.IsZero():
			first = r.Created
		}
		last = r.Created
	}
	return first.Truncate(tick), last.Truncate(tick), !last.IsZero()
}

// bisect reads span, whose pages are in no order.
func (k *keyset) bisect(ctx context.Context, span sources.Span) error {
	p, err := k.page(ctx, span, 0)
	if err != nil {
		return err
	}
	if !p.Full {
		return k.add(p, span.To)
	}
	return k.halve(ctx, span)
}

// halve reads span, whose first page is full, in two parts.
func (k *keyset) halve(ctx context.Context, span sources.Span) error {
	ticks := span.To.Sub(span.From) / k.tick
	if ticks == 0 {
		return k.enumerate(ctx, span.From)
	}
	middle := span.From.Add(ticks / 2 * k.tick)
	if err := k.bisect(ctx, sources.Span{From: span.From, To: middle}); err != nil {
		return err
	}
	return k.bisect(ctx, sources.Span{From: middle.Add(k.tick), To: span.To})
}

// enumerate reads the tick at by page index.
func (k *keyset) enumerate(ctx context.Context, at time.Time) error {
	seen := newIDs()
	for offset := 0; ; offset++ {
		p, err := k.page(ctx, sources.Span{From: at, To: at}, offset)
		if err != nil {
			return err
		}
		if !p.Full {
			return k.add(p, at)
		}
		if !seen.add(p.Records) {
			return fmt.Errorf("reading page %d of the rows at %s: %w", offset, at.UTC().Format(time.RFC3339Nano), ErrOffset)
		}
		if err := k.addAll(p); err != nil {
			return err
		}
	}
}

func (k *keyset) addAll(p Page) error {
	for _, r := range p.Records {
		if err := k.Add(r); err != nil {
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
type ids struct {
	seed maphash.Seed
	set  map[uint64]struct{}
}

func newIDs() ids { return ids{maphash.MakeSeed(), map[uint64]struct{}{}} }

// add reports whether one of the records was not in the set.
func (s ids) add(records []sources.Record) bool {
	before := len(s.set)
	for _, r := range records {
		s.set[maphash.String(s.seed, r.ID)] = struct{}{}
	}
	return len(s.set) > before
}
