package checkpoint

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"connector/sources"
)

// Ledger remembers, for one stream, what was read and what was published of
// every record that may be read again. Changes are staged in a [Batch] and
// take effect when its commit has succeeded. It is not safe for concurrent use.
type Ledger struct {
	prefix  string
	head    head
	records map[uint64]record // by hash of the record id
}

// head says how far a stream was read. Every record created up to settled was
// looked for after its lateness had passed; up to frontier, at least once.
type head struct {
	start, settled, frontier time.Time
}

func (h head) equal(o head) bool {
	return h.start.Equal(o.start) && h.settled.Equal(o.settled) && h.frontier.Equal(o.frontier)
}

// record is what the ledger keeps of one row.
type record struct {
	at          time.Time // creation time, or the end of the latest window that held it when that lies elsewhere
	rank        int64
	print, prev uint64 // of the latest and of the version before it
	revision    uint32
	terminal    bool
}

// forgetMargin is far more than the tick by which requests overlap.
const forgetMargin = time.Hour

// Prefix returns the key prefix of a stream's state.
func Prefix(account string, s sources.Stream) string {
	p := account + "/" + s.Name
	if s.Filters != "" {
		p += "?" + s.Filters
	}
	return p + "/"
}

// New returns the ledger of a stream that is read from start on, without the
// instant before it: nothing is settled yet.
func New(prefix string, start time.Time, tick time.Duration) *Ledger {
	before := start.Add(-tick)
	return &Ledger{prefix: prefix, head: head{start: start, settled: before, frontier: before}, records: map[uint64]record{}}
}

// Load returns the ledger that entries, all of a stream's state, describe. A
// missing or unreadable piece is an error, never a new stream.
func Load(prefix string, entries []Entry) (*Ledger, error) {
	l := &Ledger{prefix: prefix, records: map[uint64]record{}}
	for _, e := range entries {
		if err := l.restore(e); err != nil {
			return nil, err
		}
	}
	if l.head == (head{}) {
		return nil, fmt.Errorf("checkpoint of stream %q lacks its entry %q", prefix, headName)
	}
	return l, nil
}

func (l *Ledger) restore(e Entry) error {
	name, ok := strings.CutPrefix(e.Key, l.prefix)
	if !ok {
		return fmt.Errorf("checkpoint entry %q does not belong to stream %q", e.Key, l.prefix)
	}
	if name == headName {
		h, err := decodeHead(e.Value)
		if err != nil {
			return fmt.Errorf("checkpoint entry %q: %w", e.Key, err)
		}
		l.head = h
		return nil
	}
	id, err := decodeRecordName(name)
	if err != nil {
		return fmt.Errorf("checkpoint entry %q: %w", e.Key, err)
	}
	r, err := decodeRecord(e.Value)
	if err != nil {
		return fmt.Errorf("checkpoint entry %q: %w", e.Key, err)
	}
	l.records[id] = r
	return nil
}

// Settled returns the time up to which nothing new is expected.
func (l *Ledger) Settled() time.Time { return l.head.settled }

// Frontier returns the time up to which the stream has been read at least once.
func (l *Ledger) Frontier() time.Time { return l.head.frontier }

// Open returns the hours in [from, to] that hold records which may still
// change, neighbouring hours merged, oldest first; nothing before the start.
func (l *Ledger) Open(from, to time.Time) []sources.Span {
	if from.Before(l.head.start) {
		from = l.head.start
	}
	hours := map[time.Time]bool{}
	for _, r := range l.records {
		if !r.terminal && !r.at.Before(from) && !r.at.After(to) {
			hours[r.at.UTC().Truncate(time.Hour)] = true
		}
	}
	var spans []sources.Span
	for _, h := range slices.SortedFunc(maps.Keys(hours), time.Time.Compare) {
		end := h.Add(time.Hour)
		if n := len(spans); n > 0 && spans[n-1].To.Equal(h) {
			spans[n-1].To = end
			continue
		}
		spans = append(spans, sources.Span{From: h, To: end})
	}
	return clip(spans, from, to)
}

func clip(spans []sources.Span, from, to time.Time) []sources.Span {
	for i := range spans {
		if spans[i].From.Before(from) {
			spans[i].From = from
		}
		if spans[i].To.After(to) {
			spans[i].To = to
		}
	}
	return spans
}

// Batch is a set of changes to a ledger that becomes durable in one commit.
type Batch struct {
	ledger  *Ledger
	head    head
	changed map[uint64]record
	forgot  []uint64
}

// Begin stages changes; only one batch of a ledger is in use at a time.
func (l *Ledger) Begin() *Batch {
	return &Batch{ledger: l, head: l.head, changed: map[uint64]record{}}
}

// Admit decides whether r, read in window w, is a version that was not
// published yet: an unknown record, or a new print of at least the rank known.
// A lower rank, or the print of the latest version or the one before it, is a
// stale read. It returns the revision to publish and true, or false
// (invariants 1 and 2).
func (b *Batch) Admit(r sources.Record, w sources.Span) (revision int, fresh bool) {
	id, print := hash(r.ID), hash(r.Print)
	at := r.Created
	if !w.Contains(at) {
		at = w.To
	}
	known, ok := b.lookup(id)
	seen := print == known.print || print == known.prev
	if ok && (seen || r.Rank != sources.UnknownRank && r.Rank < known.rank) {
		if at.After(known.at) {
			known.at = at
			b.changed[id] = known
		}
		return 0, false
	}
	next := record{at: at, rank: r.Rank, print: print, prev: known.print, revision: known.revision + 1, terminal: r.Terminal}
	if ok && r.Rank == sources.UnknownRank { // the latest version of known rank stays the one to compare with
		next.rank, next.print, next.prev = known.rank, known.print, print
	}
	if known.at.After(at) {
		next.at = known.at
	}
	b.changed[id] = next
	return int(next.revision), true
}

// Dead says that the version just admitted became a dead letter: it counts as
// seen, not as a revision.
func (b *Batch) Dead(r sources.Record) {
	id := hash(r.ID)
	rec := b.changed[id]
	rec.revision--
	b.changed[id] = rec
}

func (b *Batch) lookup(id uint64) (record, bool) {
	if r, ok := b.changed[id]; ok {
		return r, true
	}
	r, ok := b.ledger.records[id]
	return r, ok
}

// Cover says that every record created in s, as the provider showed it at
// time seen, is in this batch or in an earlier one. Only a span that joins
// what is covered moves the ledger (invariant 4).
func (b *Batch) Cover(s sources.Span, seen time.Time, lateness, tick time.Duration) {
	if s.Empty() {
		return
	}
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

// Forget drops the records that lie before t and before the settled time by
// more than a margin for windows that reach a little further than asked. The
// caller promises to read nothing before t again.
func (b *Batch) Forget(t time.Time) {
	if t.After(b.head.settled) {
		t = b.head.settled
	}
	t = t.Add(-forgetMargin)
	for id, r := range b.ledger.records {
		if r.at.Before(t) {
			b.forgot = append(b.forgot, id)
		}
	}
}

// Empty reports whether the batch changes nothing.
func (b *Batch) Empty() bool {
	return b.head.equal(b.ledger.head) && len(b.changed) == 0 && len(b.forgot) == 0
}

// Entries returns the changed state, for a commit.
func (b *Batch) Entries() []Entry {
	entries := make([]Entry, 0, 1+len(b.changed)+len(b.forgot))
	entries = append(entries, Entry{Key: b.ledger.prefix + headName, Value: encodeHead(b.head)})
	for _, id := range slices.Sorted(maps.Keys(b.changed)) {
		entries = append(entries, Entry{Key: b.ledger.prefix + recordName(id), Value: encodeRecord(b.changed[id])})
	}
	for _, id := range b.forgot {
		entries = append(entries, Entry{Key: b.ledger.prefix + recordName(id)})
	}
	return entries
}

// Apply makes the batch the ledger's state; call it once its commit is durable.
func (b *Batch) Apply() {
	b.ledger.head = b.head
	maps.Copy(b.ledger.records, b.changed)
	for _, id := range b.forgot {
		delete(b.ledger.records, id)
	}
}

// hash is the 8 bytes that stand for a text in the ledger. Empty text gives
// 0, which no other text does in practice.
func hash(s string) uint64 {
	if s == "" {
		return 0
	}
	sum := sha256.Sum256([]byte(s))
	return binary.BigEndian.Uint64(sum[:])
}
