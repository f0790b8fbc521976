package checkpoint

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"connector/sources"
)

// Ledger remembers, for one stream, what was read and what was published of
// every record that may be read again. Only its buckets' index, recent changes
// and some [Pages] are in memory. Changes are staged in a [Batch] and take
// effect when its commit has succeeded. It is not safe for concurrent use.
type Ledger struct {
	prefix   string
	tick     time.Duration
	pages    *Pages
	limits   limits
	head     head
	buckets  map[bucketKey]*bucket
	sealed   map[day]Day
	leaves   bool     // whether records are named, to be reported as left
	outdated []string // keys of the first encoding, which the next commit deletes
	guessed  bool     // whether the index was loaded without counts of records
	unsaved  bool     // whether no commit has written the head yet
	marks    []mark   // of durable messages, in order; see [Ledger.Recovered]

	forgotten hour // what ended before it is forgotten; as of this process
}

// limits bound what the ledger keeps and writes.
type limits struct {
	page  int    // bytes of a page's entries and names; more are split
	delta int    // entries in deltas before the oldest are folded; names count by their size
	fold  int    // bytes of pages that one commit writes without need
	write int    // and with need, and a page more
	pages int    // that one commit writes, and those that the last one was split into; and that it drops, and those of one bucket
	young uint64 // commits before a delta is folded
	old   uint64 // commits by which it is; below slots
}

var defaultLimits = limits{page: 512 << 10, delta: 1 << 20 / entrySize, fold: 1 << 20, write: 4 << 20, pages: 96, young: 32, old: 48}

// Prefix returns the key prefix of a stream's state.
func Prefix(account string, s sources.Stream) string {
	p := account + "/" + s.Name
	if s.Filters != "" {
		p += "?" + s.Filters
	}
	return p + "/"
}

// New returns the ledger of a stream that is to be read from start on.
func New(account string, s sources.Stream, start time.Time, pages *Pages) *Ledger {
	l := empty(account, s, pages)
	l.head, l.unsaved = head{start: start}, true
	return l
}

func empty(account string, s sources.Stream, pages *Pages) *Ledger {
	l := blank(Prefix(account, s), s.Tick, pages)
	l.leaves = s.Leaves
	return l
}

func blank(prefix string, tick time.Duration, pages *Pages) *Ledger {
	return &Ledger{prefix: prefix, tick: tick, pages: pages, limits: defaultLimits, buckets: map[bucketKey]*bucket{}, sealed: map[day]Day{}, forgotten: math.MinInt32}
}

// Load returns the ledger that entries describe: all of a stream's state, of
// which entries whose key is [Paged] may be left out, and marks. A missing or unreadable
// piece is a fatal error, never a new stream.
func Load(account string, s sources.Stream, entries []Entry, pages *Pages) (*Ledger, error) {
	l := empty(account, s, pages)
	if err := l.load(entries); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *Ledger) load(entries []Entry) error {
	prefix := l.prefix
	values := map[string][]byte{}
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Key, prefix)
		if !ok {
			return fmt.Errorf("checkpoint entry %q does not belong to stream %q", e.Key, prefix)
		}
		values[name] = e.Value
	}
	if err := l.loadMarks(values); err != nil {
		return err
	}
	if isV1(values) {
		return l.loadV1(values)
	}
	for name := range values {
		if !isName(name) {
			return damaged(prefix+name, errEncoding)
		}
	}
	value, ok := values[headName]
	if !ok {
		return damaged(prefix+headName, errMissing)
	}
	var err error
	if l.head, err = decodeHead(prefix+headName, value, l.tick); err != nil {
		return damaged(prefix+headName, err)
	}
	if err := l.loadIndex(values); err != nil {
		return damaged(prefix+indexName, err)
	}
	for n := l.head.folded + 1; n <= l.head.number; n++ {
		if err := l.loadDelta(values, n); err != nil {
			return damaged(prefix+slotName(n), err)
		}
	}
	return nil
}

func (l *Ledger) loadIndex(values map[string][]byte) error {
	value, ok := values[indexName]
	if !ok && l.head.indexed == 0 {
		return nil
	}
	if !ok {
		return errMissing
	}
	x, err := decodeIndex(l.prefix, value)
	if err == nil && x.number != l.head.indexed {
		err = errOther
	}
	l.buckets, l.sealed, l.guessed = x.buckets, x.sealed, x.guessed
	return err
}

func (l *Ledger) loadDelta(values map[string][]byte, number uint64) error {
	value, ok := values[slotName(number)]
	if !ok {
		return errMissing
	}
	d, err := decodeDelta(l.prefix+slotName(number), value)
	if err != nil {
		return err
	}
	if d.number != number {
		return errOther
	}
	l.replay(d)
	return nil
}

func (l *Ledger) newBucket(k bucketKey, r reach, number uint64) *bucket {
	return &bucket{reach: r, born: number, parts: []part{{key: l.prefix + pageName(k, 0)}}}
}

// Settled returns the time up to which, from the start on, no more rows are
// expected.
func (l *Ledger) Settled() time.Time {
	return l.head.covered(l.tick, func(s State) bool { return s == Watched || s.closed() })
}

// Frontier returns the time up to which, from the start on, the stream has been
// read at least once.
func (l *Ledger) Frontier() time.Time {
	return l.head.covered(l.tick, func(s State) bool { return !s.pending() })
}

// Start returns the time from which on everything is to be read.
func (l *Ledger) Start() time.Time { return l.head.start }

// End returns the latest time, from the start on, that has been read.
func (l *Ledger) End() time.Time {
	end := l.head.start.Add(-l.tick)
	if n := len(l.head.ranges); n > 0 {
		end = later(end, l.head.ranges[n-1].To)
	}
	return end
}

// Latest returns the creation time of the newest record found, zero when there was none.
func (l *Ledger) Latest() time.Time { return l.head.latest }

// Ranges returns what is known of all time up to the end of what was read,
// oldest first.
func (l *Ledger) Ranges() []Range {
	from := l.head.start
	if len(l.head.ranges) > 0 {
		from = earlier(from, l.head.ranges[0].From)
	}
	return l.head.ranges.within(sources.Span{From: from, To: l.End()}, l.tick)
}

// In returns the spans in one state up to the end of what was read, oldest
// first; of those [Unread], what lies after the start.
func (l *Ledger) In(state State) []sources.Span {
	var list []sources.Span
	for _, r := range l.Ranges() {
		if r.State == state && (state != Unread || !r.From.Before(l.head.start)) {
			list = append(list, r.Span)
		}
	}
	return list
}

// Closed reports whether nothing reads an instant: it is given up, or lies before
// the start and was not asked for. What is published of it is forgotten.
func (l *Ledger) Closed(at time.Time) bool {
	at = at.Truncate(l.tick)
	return l.head.closed(Range{sources.Span{From: at, To: at}, l.head.ranges.at(at)})
}

// Open returns the hours in [from, to] in which records that may still change
// are found, neighbouring hours merged, oldest first. It reads no page.
func (l *Ledger) Open(from, to time.Time) []sources.Span {
	var hours []hour
	for k, b := range l.buckets {
		if b.open() > 0 {
			hours = append(hours, b.hours(k, hourOf(from), hourOf(to))...)
		}
	}
	return spans(hours, from, to)
}

// undated returns the buckets of undated records that a window may hold.
func (l *Ledger) undated(w sources.Span) []bucketKey {
	from, to := hourOf(w.From.Add(-2*overlap)), hourOf(w.To.Add(2*overlap))
	return l.keys(func(k bucketKey, b *bucket) bool { return k.undated && b.from <= to && b.until >= from })
}

// dated returns the buckets of dated records that were created in a window.
func (l *Ledger) dated(w sources.Span) []bucketKey {
	from, to := blockOf(w.From.Add(-overlap)), blockOf(w.To.Add(overlap))
	return l.keys(func(k bucketKey, _ *bucket) bool { return !k.undated && k.block >= from && k.block <= to })
}

// keys returns the keys of the chosen buckets in order.
func (l *Ledger) keys(chosen func(bucketKey, *bucket) bool) []bucketKey {
	var keys []bucketKey
	for k, b := range l.buckets {
		if chosen(k, b) {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, bucketKey.compare)
	return keys
}
