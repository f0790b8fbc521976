package checkpoint

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"connector/sources"
)

// overlap is more than the tick by which requests reach beyond a window.
const overlap = 2 * time.Second

// slot is what a batch knows of one record.
type slot struct {
	at      bucketKey // where the ledger keeps, or will keep, the record
	entry   entry
	name    name // of a changed and named entry
	known   bool
	changed bool
	added   bool // whether the ledger does not hold the record yet
	back    bool // whether the version just admitted or revived is the one before the record left
}

// dated reports whether the creation time of a record can name a bucket.
func dated(r sources.Record) bool {
	return !r.Created.IsZero() && r.Created.Year() >= 1 && r.Created.Year() <= 9999
}

// foundAt returns the hour in which reading again finds a record of window w:
// that of its creation, or the window's last when the creation lies elsewhere
// because the provider filters on another time.
func foundAt(r sources.Record, w sources.Span) hour {
	if dated(r) && !r.Created.Before(w.From.Add(-overlap)) && !r.Created.After(w.To.Add(overlap)) {
		return hourOf(r.Created)
	}
	return hourOf(w.To)
}

// home returns the bucket of a record that the ledger does not know.
func home(r sources.Record, w sources.Span) bucketKey {
	if dated(r) {
		return bucketKey{block: blockOf(r.Created)}
	}
	return undatedIn(hourOf(w.To))
}

// undatedIn names a bucket of undated records.
func undatedIn(h hour) bucketKey { return bucketKey{block: blockOf(h.start()), undated: true} }

type query struct {
	id   uint64
	home bucketKey
}

// Read looks up the records of a chunk, found in window w, in an order that
// reads each page once. Admit needs nothing more from the store for them.
func (b *Batch) Read(ctx context.Context, records []sources.Record, w sources.Span) error {
	queries := make([]query, 0, len(records))
	for _, r := range records {
		id := hash(r.ID)
		if _, ok := b.records[id]; !ok {
			q := query{id, home(r, w)}
			b.records[id] = slot{at: q.home}
			queries = append(queries, q)
		}
	}
	err := b.search(ctx, queries, w)
	if err != nil {
		maps.DeleteFunc(b.records, func(_ uint64, s slot) bool { return !s.known })
	}
	return err
}

// ambiguous is how far, in seconds, the times that one local time may stand
// for are apart: clocks are turned back by an hour, in a few zones by half or two.
var ambiguous = [...]block{3600 / blockSeconds, 1800 / blockSeconds, 7200 / blockSeconds}

// search looks for each record in the bucket of its creation, in those that
// it belongs to when its local time was ambiguous, and among the undated records of the window, because it may
// have had no readable time before; one that has none now, among all of the window.
func (b *Batch) search(ctx context.Context, missing []query, w sources.Span) error {
	slices.SortFunc(missing, func(x, y query) int {
		return cmp.Or(x.home.compare(y.home), cmp.Compare(x.id, y.id))
	})
	var err error
	beside := func(apart block) {
		if err == nil {
			missing, err = b.probe(ctx, missing, func(q query) bucketKey {
				return bucketKey{block: q.home.block + apart, undated: q.home.undated}
			})
		}
	}
	beside(0)
	for _, apart := range ambiguous {
		beside(-apart)
		beside(apart)
	}
	if err != nil {
		return err
	}
	slices.SortFunc(missing, func(x, y query) int { return cmp.Compare(x.id, y.id) })
	if missing, err = b.among(ctx, missing, b.ledger.undated(w)); err != nil {
		return err
	}
	missing = slices.DeleteFunc(missing, func(q query) bool { return !q.home.undated })
	if len(missing) > 0 {
		_, err = b.among(ctx, missing, b.ledger.dated(w))
	}
	return err
}

// among looks each record up in some buckets and returns those that are in none.
func (b *Batch) among(ctx context.Context, missing []query, keys []bucketKey) (_ []query, err error) {
	for _, k := range keys {
		if missing, err = b.probe(ctx, missing, func(query) bucketKey { return k }); err != nil {
			return nil, err
		}
	}
	return missing, nil
}

// probe looks each record up in one bucket and returns those that are not there.
func (b *Batch) probe(ctx context.Context, queries []query, where func(query) bucketKey) ([]query, error) {
	missing := queries[:0]
	var last *part
	var pg page
	for _, q := range queries {
		k := where(q)
		bk := b.ledger.buckets[k]
		if bk == nil {
			missing = append(missing, q)
			continue
		}
		p := bk.of(q.id)
		e, ok := p.delta[q.id]
		if !ok && p.count > 0 {
			if p != last {
				var err error
				if pg, err = b.ledger.pages.read(ctx, p); err != nil {
					return nil, err
				}
				last = p
			}
			if e, ok = find(pg.entries(), q.id); ok {
				e.wasOpen = e.open()
			}
		}
		if !ok {
			missing = append(missing, q)
			continue
		}
		b.records[q.id] = slot{at: k, entry: e, known: true}
	}
	return missing, nil
}
