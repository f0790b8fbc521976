package checkpoint

import (
	"context"
	"maps"
	"slices"
	"time"

	"connector/sources"
)

// Sightings are the ids of the rows that one scan showed.
type Sightings struct {
	ids    []uint64 // hashes
	sorted bool
	over   bool
}

// maxSightings bounds a scan of which it is told who left.
const maxSightings = 1 << 18

// Add notes a row. It returns false once there are too many for [Batch.Absent].
func (s *Sightings) Add(id string) bool {
	if len(s.ids) == maxSightings {
		s.sort()
		s.ids = slices.Compact(s.ids)
		s.over = s.over || len(s.ids) > maxSightings/2 // mostly different ones: sorting again soon would not help
	}
	if s.over {
		s.ids = nil
		return false
	}
	s.ids, s.sorted = append(s.ids, hash(id)), false
	return true
}

func (s *Sightings) sort() {
	if !s.sorted {
		slices.Sort(s.ids)
		s.sorted = true
	}
}

func (s *Sightings) has(id uint64) bool {
	s.sort()
	_, found := slices.BinarySearch(s.ids, id)
	return found
}

// Reading is what [Batch.Absent] looks at.
type Reading struct {
	Span  sources.Span  // proven: Seen holds every row that was created in it
	Seen  *Sightings    // besides the records that the batch has read
	At    time.Time     // the provider's time
	Apart time.Duration // from the first reading that lacks a record to the one that tells it left
	Most  int           // records to change at once, at least 1
}

// Absent is a record that left.
type Absent struct {
	ID       string
	Created  time.Time
	Revision int
	Resolves bool // as of [Version]
}

// Absent notes which records of the watched part of a span a reading lacks. A
// record that may change left when two readings lacked it, Apart or more lie
// between them, and none in between showed it: its next version says so. Only
// records that the ledger can name are told of, and none as long as some were
// found in windows of another time than their creation, because then the
// provider does not select by that. It returns false when there is more to
// note in another batch. It reads the pages of the span one after the other.
// An error says that the ledger could not be read.
func (b *Batch) Absent(ctx context.Context, r Reading) (gone []Absent, all bool, err error) {
	keys, sure := b.ledger.created(r.Span)
	if !sure || r.Seen.over {
		return nil, true, nil
	}
	changes := b.changes
	for _, k := range keys {
		parts := b.ledger.buckets[k].parts
		for i := range parts {
			list, err := b.sweep(ctx, k, &parts[i], r, changes+r.Most)
			gone = append(gone, list...)
			if err != nil {
				return nil, false, err
			}
			if b.changes == changes+r.Most {
				return gone, false, nil
			}
		}
	}
	return gone, true, nil
}

// created returns the dated buckets with open records created in a span, and
// false when creation times do not tell where records are found.
func (l *Ledger) created(s sources.Span) (keys []bucketKey, sure bool) {
	first, last := blockOf(s.From), blockOf(s.To)
	for k, bk := range l.buckets {
		if !k.undated && len(bk.elsewhere) > 0 {
			return nil, false
		}
		if !s.Empty() && !k.undated && k.block >= first && k.block <= last && bk.open() > 0 {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, bucketKey.compare)
	return keys, l.leaves
}

// sweep notes the absent records of one part, until the batch has so many changes.
func (b *Batch) sweep(ctx context.Context, k bucketKey, p *part, r Reading, most int) (gone []Absent, err error) {
	var stored content
	if p.open > 0 {
		pg, err := b.ledger.pages.read(ctx, p)
		if err != nil {
			return nil, err
		}
		stored = pg.content()
	}
	look := func(id uint64, h held) bool {
		if a, left := b.absent(id, k, h, r); left {
			gone = append(gone, a)
		}
		return b.changes < most
	}
	for _, id := range slices.Sorted(maps.Keys(p.names)) {
		if !look(id, held{p.delta[id], p.names[id]}) {
			return gone, nil
		}
	}
	for id, h := range stored.all() {
		h.wasOpen = h.open()
		if _, changed := p.delta[id]; !changed && !look(id, h) {
			break
		}
	}
	return gone, nil
}

// absent notes that a reading lacks a record, if it should have shown it, and
// reports whether the record thereby left.
func (b *Batch) absent(id uint64, k bucketKey, h held, r Reading) (Absent, bool) {
	created := k.block.start().Add(h.name.created)
	at := created.Truncate(b.ledger.tick)
	if _, read := b.records[id]; read || !h.named || !r.Span.Contains(at) || b.head.ranges.at(at) != Watched || r.Seen.has(id) {
		return Absent{}, false
	}
	s := slot{at: k, entry: h.entry, name: h.name, known: true}
	since := time.Unix(h.name.missing, 0)
	switch {
	case h.state == present && h.revision > 0:
		s.entry.state, s.name.missing = missing, r.At.Unix()
		b.change(id, s)
	case h.state == missing && r.At.After(since) && r.At.Sub(since) >= r.Apart:
		s.entry.state, s.name.missing = left, 0
		s.entry.revision = min(h.revision+1, maxRevision)
		s.entry.dead, s.entry.owing = false, false
		b.change(id, s)
		return Absent{ID: h.name.id, Created: created, Revision: int(s.entry.revision), Resolves: h.unresolved()}, true
	}
	return Absent{}, false
}

// sight notes that a record is there, although it has no new version, and
// what it is called.
func (b *Batch) sight(id uint64, s slot, r sources.Record) {
	was := s.entry
	if was.state == missing {
		s.entry.state = present
	}
	if was.state != left {
		s.identify(b.ledger, r)
	}
	if s.entry.state != was.state || s.entry.named && !was.named {
		b.change(id, s)
	}
}

// identify gives the record of a slot the name that it has in r.
func (s *slot) identify(l *Ledger, r sources.Record) {
	s.name, s.entry.named = l.nameOf(r, s.at)
	s.entry.named = s.entry.named && s.entry.state != terminal
	if !s.entry.named {
		s.name = name{}
	}
}
