package checkpoint

import (
	"context"
	"math"
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
	sealed  hour    // what ends before it may be dropped; math.MinInt32 when nothing is
	saves   []Entry // changed savepoints
	marks   uint64  // that were made
	plan    *plan   // what the latest Entries returned
}

// Begin stages changes; only one batch of a ledger is in use at a time.
func (l *Ledger) Begin() *Batch {
	return &Batch{ledger: l, head: l.head, records: map[uint64]slot{}, reached: map[bucketKey]reach{}, sealed: math.MinInt32}
}

// Version is what a row is to the ledger.
type Version struct {
	Revision int  // to publish; 0 of a stale read
	Fresh    bool // whether it was not published yet
	Returned bool // whether it is the version published before the record left
	Resolves bool // whether its event is the first one after a dead letter of the record
}

// Admit decides whether r, found in window w, is a version that was not
// published yet: an unknown record, or a new print of at least the rank known.
// A lower rank, or the print of the latest version or the one before it, is a
// stale read (invariants 1 and 2); but the latest version of a record that was
// reported as left is a new one, as it returned. An error says that the ledger
// could not be read, and changes nothing; [Batch.Read] before many calls saves time.
func (b *Batch) Admit(ctx context.Context, r sources.Record, w sources.Span) (Version, error) {
	id := hash(r.ID)
	s, ok := b.records[id]
	if !ok {
		if err := b.Read(ctx, []sources.Record{r}, w); err != nil {
			return Version{}, err
		}
		s = b.records[id]
	}
	print, rank, was := hash(r.Print)>>16, foldRank(r.Rank, s.at.block), s.entry
	ranked := r.Rank != sources.UnknownRank
	returned := was.state == left && !was.dead && print == was.print && (!ranked || rank >= was.rank)
	if s.known && !returned && (ranked && rank < was.rank || print == was.print || was.prev != 0 && uint32(print>>16) == was.prev) {
		b.reach(s, r, w)
		b.sight(id, s, r)
		return Version{}, nil
	}
	s.entry = entry{
		print: print, prev: uint32(was.print >> 16), rank: rank, revision: min(was.revision+1, maxRevision), wasOpen: was.wasOpen,
	}
	if s.known && !ranked { // the latest version of known rank stays the one to compare with
		s.entry.rank, s.entry.print, s.entry.prev = was.rank, was.print, uint32(print>>16)
	}
	if returned {
		s.entry.prev = was.prev
	}
	if s.known && !ranked {
		s.entry.dead, s.entry.owing = was.dead, was.owing
	}
	if r.Terminal {
		s.entry.state = terminal
	}
	s.back = returned
	s.identify(b.ledger, r)
	b.reach(s, r, w)
	b.change(id, s)
	return Version{Revision: int(s.entry.revision), Fresh: true, Returned: returned, Resolves: was.unresolved()}, nil
}

// Dead says that the version just admitted, revived or told to have left became a dead letter: it counts as
// seen, not as a revision.
func (b *Batch) Dead(r sources.Record) {
	id := hash(r.ID)
	s, ok := b.records[id]
	if !ok || s.entry.revision == 0 {
		return
	}
	s.entry.revision--
	if hash(r.Print)>>16 == s.entry.print {
		s.entry.dead = true
		if s.back { // for those who read events it did not come back
			s.entry.state = left
		}
	} else {
		s.entry.owing = true
	}
	b.change(id, s)
}

// Revive says that a version which [Batch.Known] calls dead becomes an event.
func (b *Batch) Revive(r sources.Record) Version {
	id := hash(r.ID)
	s := b.records[id]
	s.entry.revision = min(s.entry.revision+1, maxRevision)
	s.entry.dead, s.entry.owing = false, false
	if s.back = s.entry.state == left; s.back {
		s.entry.state = present
	}
	if r.Terminal {
		s.entry.state = terminal
	}
	s.identify(b.ledger, r)
	b.change(id, s)
	return Version{Revision: int(s.entry.revision), Returned: s.back, Resolves: true}
}

// Undo returns what takes back the changes made of a record from now on. Where
// it was found stays noted.
func (b *Batch) Undo(recordID string) func() {
	id := hash(recordID)
	was, ok := b.records[id]
	return func() {
		if s := b.records[id]; s.changed && !was.changed {
			b.changes--
		}
		if b.records[id] = was; !ok {
			delete(b.records, id)
		}
	}
}

func (b *Batch) change(id uint64, s slot) {
	if !s.changed {
		b.changes++
	}
	s.added = s.added || !s.known
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
	at, open := foundAt(r, w), s.entry.open()
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
// time seen, is in this batch or in an earlier one (invariant 4).
func (b *Batch) Cover(s sources.Span, seen time.Time, lateness time.Duration) {
	settled := seen.Add(-lateness).Truncate(b.ledger.tick)
	b.paint(sources.Span{From: s.From, To: earlier(s.To, settled)}, read(Watched))
	b.paint(sources.Span{From: later(s.From, settled.Add(b.ledger.tick)), To: s.To}, read(Young))
}

// read returns what a range becomes when it was read; it never goes back.
func read(as State) func(State) State {
	return func(was State) State {
		if was.closed() || was == Watched {
			return was
		}
		return as
	}
}

func (b *Batch) paint(s sources.Span, of func(State) State) {
	b.head.ranges = b.head.ranges.paint(s, b.ledger.tick, of)
}

// Seal gives up what was read of the hours before t: its records are
// forgotten, but for those this batch reads. It reads no page.
func (b *Batch) Seal(t time.Time) {
	t = t.Truncate(time.Hour)
	if len(b.head.ranges) == 0 || !b.head.ranges[0].From.Before(t) {
		return
	}
	b.sealed = hourOf(t)
	b.paint(sources.Span{From: b.head.ranges[0].From, To: t.Add(-b.ledger.tick)}, func(was State) State {
		switch was {
		case Watched:
			return Sealed
		case Gap:
			return Lost
		default:
			return was
		}
	})
}

// Restart stages another start of a stream of which nothing from its start on
// was read.
func (b *Batch) Restart(start time.Time) { b.head.start = start }

// Want stages that a span is to be read when nothing else is, as far as it
// lies before the start and was not asked for, and returns those parts.
func (b *Batch) Want(s sources.Span) []sources.Span {
	s.To = earlier(s.To, b.head.start.Add(-b.ledger.tick))
	var wanted []sources.Span
	for _, r := range b.head.ranges.within(s, b.ledger.tick) {
		if r.State == Unread && !r.Empty() {
			wanted = append(wanted, r.Span)
			b.paint(r.Span, func(State) State { return Backfill })
		}
	}
	return wanted
}

// Reopen stages that a span in which no record was ever found is to be read again.
func (b *Batch) Reopen(s sources.Span) {
	s.From = later(s.From, b.head.start)
	b.paint(s, func(State) State { return Unread })
}

// Found notes that a record of this creation time was found.
func (b *Batch) Found(created time.Time) {
	b.head.latest = later(b.head.latest, created)
}

// Own notes whose records a stream holds, and reports whether those before
// were the same owner's.
func (b *Batch) Own(owner string) bool {
	was := b.head.owner
	if was == 0 {
		b.head.owner = hash(owner)
	}
	return was == 0 || was == hash(owner)
}

// Configure notes the configuration that a stream is read with, and reports
// whether it was another before.
func (b *Batch) Configure(digest string) (changed bool) {
	was := b.head.config
	b.head.config = hash(digest)
	return was != 0 && was != b.head.config
}

// dropped returns the buckets to forget, oldest first; of many, those that one
// commit can.
func (b *Batch) dropped() []bucketKey {
	keys := b.ledger.keys(func(k bucketKey, bk *bucket) bool {
		return bk.until < b.sealed && b.closed(bk.from-1, bk.until+1) && !b.read(k)
	})
	pages := 0
	for i, k := range keys {
		if pages += len(b.ledger.buckets[k].parts); pages >= b.ledger.limits.pages {
			return keys[:i+1]
		}
	}
	return keys
}

// closed reports whether nothing of some hours is read any more. The caller
// adds an hour on each side, because windows reach further than asked.
func (b *Batch) closed(from, until hour) bool {
	span := sources.Span{From: from.start(), To: (until + 1).start().Add(-b.ledger.tick)}
	return !slices.ContainsFunc(b.head.ranges.within(span, b.ledger.tick), func(r Range) bool {
		return !b.head.closed(r)
	})
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

// staged returns the changes of buckets; their tallies are what is added.
func (b *Batch) staged() map[bucketKey]put {
	staged := map[bucketKey]put{}
	for k := range b.reached {
		staged[k] = put{entries: map[uint64]entry{}}
	}
	for id, s := range b.records {
		if !s.changed {
			continue
		}
		p, ok := staged[s.at]
		if !ok {
			p.entries = map[uint64]entry{}
		}
		p.entries[id] = s.entry
		if s.entry.named {
			if p.names == nil {
				p.names = map[uint64]name{}
			}
			p.names[id] = s.name
		}
		if s.added {
			p.tally = p.tally.plus(tally{1, id})
		}
		staged[s.at] = p
	}
	return staged
}

// Empty reports whether the batch changes nothing.
func (b *Batch) Empty() bool {
	return !b.ledger.unsaved && b.head.equal(b.ledger.head) && b.changes == 0 && len(b.reached) == 0 && len(b.dropped()) == 0 && !b.ledger.Behind()
}
