package checkpoint

import (
	"context"
	"slices"
	"time"

	"connector/sources"
)

// Batch is a set of changes to a ledger that becomes durable in one commit.
type Batch struct {
	ledger  *Ledger
	head    head
	records map[uint64]slot // by id hash, what was read and what Admit changed
	changes int             // records changed
	reached map[bucketKey]reach
	forget  time.Time // buckets that end before it are dropped; zero for none
	plan    *plan     // what the latest Entries returned
}

// Begin stages changes; only one batch of a ledger is in use at a time.
func (l *Ledger) Begin() *Batch {
	return &Batch{ledger: l, head: l.head, records: map[uint64]slot{}, reached: map[bucketKey]reach{}}
}

// Admit decides whether r, found in window w, is a version that was not
// published yet: an unknown record, or a new print of at least the rank known.
// A lower rank, or the print of the latest version or the one before it, is a
// stale read. It returns the revision to publish and true, or false
// (invariants 1 and 2). An error says that the ledger could not be read, and
// changes nothing; [Batch.Read] before many calls saves time.
func (b *Batch) Admit(ctx context.Context, r sources.Record, w sources.Span) (revision int, fresh bool, err error) {
	id := hash(r.ID)
	s, ok := b.records[id]
	if !ok {
		if err := b.Read(ctx, []sources.Record{r}, w); err != nil {
			return 0, false, err
		}
		s = b.records[id]
	}
	print, rank, was := hash(r.Print)>>16, foldRank(r.Rank, s.at.block), s.entry
	ranked := r.Rank != sources.UnknownRank
	if s.known && (ranked && rank < was.rank || print == was.print || was.prev != 0 && uint32(print>>16) == was.prev) {
		b.reach(s, r, w)
		return 0, false, nil
	}
	s.entry = entry{
		print: print, prev: uint32(was.print >> 16), rank: rank, terminal: r.Terminal,
		revision: min(was.revision+1, maxRevision), wasOpen: was.wasOpen,
	}
	if s.known && !ranked { // the latest version of known rank stays the one to compare with
		s.entry.rank, s.entry.print, s.entry.prev = was.rank, was.print, uint32(print>>16)
	}
	b.reach(s, r, w)
	b.change(id, s)
	return int(s.entry.revision), true, nil
}

// Dead says that the version just admitted became a dead letter: it counts as
// seen, not as a revision.
func (b *Batch) Dead(r sources.Record) {
	id := hash(r.ID)
	if s, ok := b.records[id]; ok && s.entry.revision > 0 {
		s.entry.revision--
		b.change(id, s)
	}
}

func (b *Batch) change(id uint64, s slot) {
	if !s.changed {
		b.changes++
	}
	s.known, s.changed = true, true
	b.records[id] = s
}

// reach notes where a record was found.
func (b *Batch) reach(s slot, r sources.Record, w sources.Span) {
	was, ok := b.reached[s.at]
	if !ok {
		if bk := b.ledger.buckets[s.at]; bk != nil {
			was, ok = bk.reach, true
		}
	}
	at, open := foundAt(r, w), !s.entry.terminal
	next := was
	switch {
	case !ok:
		next = reach{from: at, until: at}
		if s.at.undated {
			next.from = hourOf(w.From)
		}
		next = next.found(s.at, at, open, b.ledger.forgotten)
	case dated(r):
		next = was.found(s.at, at, open, b.ledger.forgotten)
	case !s.known:
		next.from, next.until = min(was.from, hourOf(w.From)), max(was.until, at)
	}
	if !ok || !next.equal(was) {
		b.reached[s.at] = next
	}
}

// Cover says that every record created in s, as the provider showed it at
// time seen, is in this batch or in an earlier one. Only a span that joins
// what is covered moves the ledger (invariant 4).
func (b *Batch) Cover(s sources.Span, seen time.Time, lateness time.Duration) {
	if s.Empty() {
		return
	}
	b.closeGaps(s)
	tick := b.ledger.tick
	if !s.From.After(b.head.frontier.Add(tick)) && s.To.After(b.head.frontier) {
		b.head.frontier = s.To
	}
	settled := seen.Add(-lateness).Truncate(tick)
	if s.To.Before(settled) {
		settled = s.To
	}
	if !s.From.After(b.head.settled.Add(tick)) && settled.After(b.head.settled) {
		b.head.settled = settled
	}
}

// Forget drops the buckets, but for those this batch reads, and the gaps that
// lie before t and before the settled time by more than a margin for windows
// that reach a little further than asked. The caller promises to read nothing
// before t again. It reads no page.
func (b *Batch) Forget(t time.Time) {
	if t.After(b.head.settled) {
		t = b.head.settled
	}
	b.forget = t.Add(-forgetMargin)
	b.closeGaps(sources.Span{From: time.Unix(0, 0), To: b.forget})
}

// dropped returns the buckets to forget.
func (b *Batch) dropped() []bucketKey {
	if b.forget.IsZero() {
		return nil
	}
	var keys []bucketKey
	for k, bk := range b.ledger.buckets {
		if !(bk.until + 1).start().After(b.forget) && !b.read(k) {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, bucketKey.compare)
	return keys
}

// read reports whether the batch read or changed a record of a bucket.
func (b *Batch) read(k bucketKey) bool {
	for _, s := range b.records {
		if s.at == k {
			return true
		}
	}
	return false
}

// staged returns the buckets that the batch changes.
func (b *Batch) staged() map[bucketKey]map[uint64]entry {
	staged := map[bucketKey]map[uint64]entry{}
	for k := range b.reached {
		staged[k] = map[uint64]entry{}
	}
	for id, s := range b.records {
		if !s.changed {
			continue
		}
		if staged[s.at] == nil {
			staged[s.at] = map[uint64]entry{}
		}
		staged[s.at][id] = s.entry
	}
	return staged
}

// Empty reports whether the batch changes nothing.
func (b *Batch) Empty() bool {
	return b.head.equal(b.ledger.head) && b.changes == 0 && len(b.reached) == 0 && len(b.dropped()) == 0
}
