package checkpoint

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"connector/sources"
)

// The first encoding kept the head under h and each record under r/<16 hex
// digits of its id hash>, and recorded no bucket: only the creation time of a
// record, or the end of the latest window that held it. [Load] reads it into
// buckets of undated records, where a record is found by any window of its
// time, and the next commit writes those and deletes the old keys.
const (
	v1Encoding   = 1
	v1RecordName = "r/"
	v1HeadSize   = 1 + 3*8
	v1RecordSize = 1 + 4*8 + 4 + 1
	v1Window     = 24 // hours, the longest windows there were
)

func isV1(values map[string][]byte) bool {
	h := values[headName]
	return len(h) == v1HeadSize && h[0] == v1Encoding
}

func (l *Ledger) loadV1(values map[string][]byte) error {
	prefix := l.prefix
	h := values[headName]
	settled, frontier := timeAt(h[9:]), timeAt(h[17:])
	l.head = head{start: timeAt(h[1:]), number: 1}
	l.head.migrate(settled, frontier, nil, l.tick)
	if frontier.Before(settled) {
		return damaged(prefix+headName, errDamaged)
	}
	l.outdated = []string{}
	for name, value := range values {
		if name == headName {
			continue
		}
		if err := l.addV1(name, value); err != nil {
			return damaged(prefix+name, err)
		}
		l.outdated = append(l.outdated, prefix+name)
	}
	return nil
}

func (l *Ledger) addV1(key string, b []byte) error {
	digits, ok := strings.CutPrefix(key, v1RecordName)
	if !ok || len(digits) != 16 {
		return fmt.Errorf("beside a head of the first encoding: %w", errOther)
	}
	id, err := strconv.ParseUint(digits, 16, 64)
	if err != nil || len(b) != v1RecordSize || b[0] != v1Encoding || b[v1RecordSize-1] > 1 {
		return errDamaged
	}
	at := hourOf(timeAt(b[1:]))
	k := undatedIn(at)
	bk := l.buckets[k]
	if bk == nil {
		bk = l.newBucket(k, reach{from: at - v1Window, until: at}, l.head.number)
		l.buckets[k] = bk
	}
	e := entry{
		rank:  foldRank(int64(binary.BigEndian.Uint64(b[9:])), k.block),
		print: binary.BigEndian.Uint64(b[17:]) >> 16, prev: uint32(binary.BigEndian.Uint64(b[25:]) >> 32),
		revision: uint16(min(binary.BigEndian.Uint32(b[33:]), maxRevision)),
	}
	if b[v1RecordSize-1] == 1 {
		e.state = terminal
	}
	e.dead = e.revision == 0
	bk.of(id).set(l.head.number, id, e, name{})
	bk.tally = bk.plus(tally{1, id})
	return nil
}

// headOfV2 reads the head of the second encoding: start, settled time,
// frontier, numbers, and the gaps.
func headOfV2(b []byte, tick time.Duration) (head, error) {
	const size, gapSize = 6 * 8, 2 * 8
	if len(b) < size || (len(b)-size)%gapSize != 0 {
		return head{}, errDamaged
	}
	h := head{
		start:  timeAt(b),
		number: binary.BigEndian.Uint64(b[24:]), folded: binary.BigEndian.Uint64(b[32:]), indexed: binary.BigEndian.Uint64(b[40:]),
	}
	settled, frontier := timeAt(b[8:]), timeAt(b[16:])
	if frontier.Before(settled) || !h.sound() {
		return head{}, errDamaged
	}
	var gaps []sources.Span
	for rest := b[size:]; len(rest) > 0; rest = rest[gapSize:] {
		gaps = append(gaps, sources.Span{From: timeAt(rest), To: timeAt(rest[8:])})
	}
	h.migrate(settled, frontier, gaps, tick)
	return h, nil
}

// migrate makes ranges of the times of earlier encodings.
func (h *head) migrate(settled, frontier time.Time, gaps []sources.Span, tick time.Duration) {
	paint := func(s sources.Span, as State) {
		h.ranges = h.ranges.paint(s, tick, func(State) State { return as })
	}
	paint(sources.Span{From: h.start, To: settled}, Watched)
	paint(sources.Span{From: settled.Add(tick), To: frontier}, Young)
	for _, g := range gaps {
		paint(g, Gap)
	}
}

// The second encoding had 14 bits for the revision, no state but terminal, no
// names, pages without the number of their entries, and no tallies.
const (
	v2PageHeaderSize = 1 + 8
	v2Terminal       = 1 << 15
	v2WasOpen        = 1 << 14
)

// entryOfV2 reads the entry of the second encoding at the beginning of b.
func entryOfV2(b []byte) (id uint64, e entry) {
	id, e = entryAt(b)
	last := binary.BigEndian.Uint16(b[22:])
	e.state, e.named, e.wasOpen = present, false, last&v2WasOpen != 0
	if last&v2Terminal != 0 {
		e.state = terminal
	}
	e.revision = min(last&(v2WasOpen-1), maxRevision)
	e.dead, e.owing = e.revision == 0, false
	return id, e
}

// pageOfV2 returns a page of the second encoding as one of today's.
func pageOfV2(key string, value []byte) (page, error) {
	if len(value) < v2PageHeaderSize+sumSize || (len(value)-v2PageHeaderSize-sumSize)%entrySize != 0 {
		return nil, errDamaged
	}
	old := value[v2PageHeaderSize : len(value)-sumSize]
	c := content{entries: make([]byte, 0, len(old))}
	for ; len(old) > 0; old = old[entrySize:] {
		id, e := entryOfV2(old)
		c.entries = appendEntry(c.entries, id, e)
	}
	return newPage(key, binary.BigEndian.Uint64(value[1:]), c), nil
}

// entriesOfV2 reads the entries of a put of the second encoding.
func (r *reader) entriesOfV2() map[uint64]entry {
	n := r.count(entrySize)
	entries := make(map[uint64]entry, n)
	for range n {
		id, e := entryOfV2(r.bytes(entrySize))
		entries[id] = e
	}
	return entries
}

// The third encoding had 12 bits for the revision. It did not say which versions
// are dead: only of a record without an event is that known.
const v3MaxRevision = 1<<12 - 1

// entriesOf returns the entries of a value as today's.
func (r *reader) entriesOf(given []byte) []byte {
	if r.version == v3Encoding {
		return entriesOfV3(given)
	}
	return given
}

// entriesOfV3 returns entries of the third encoding as today's.
func entriesOfV3(given []byte) []byte {
	entries := make([]byte, 0, len(given))
	for ; len(given) >= entrySize; given = given[entrySize:] {
		id, e := entryAt(given)
		e.revision = min(binary.BigEndian.Uint16(given[22:])&v3MaxRevision, maxRevision)
		e.dead, e.owing = e.revision == 0, false
		entries = appendEntry(entries, id, e)
	}
	return entries
}

// pageOfV3 returns a page of the third encoding as one of today's.
func pageOfV3(key string, value []byte) (page, error) {
	p := page(value)
	if len(p) < pageHeaderSize+sumSize || p.count() > (len(p)-pageHeaderSize-sumSize)/entrySize {
		return nil, errDamaged
	}
	c := p.content()
	c.entries = entriesOfV3(c.entries)
	return newPage(key, p.folded(), c), nil
}

// Upgrade rewrites the streams of a store that are in an older encoding, each
// in one commit.
func Upgrade(ctx context.Context, store Store) error {
	state, err := Read(ctx, store.Load)
	if err != nil {
		return fmt.Errorf("reading checkpoint: %w", err)
	}
	pages := NewPages(store.Get, DefaultPageBytes)
	for prefix, entries := range state {
		l, err := Inspect(prefix, entries, pages)
		if err != nil {
			return err
		}
		if l.outdated == nil {
			continue
		}
		b := l.Begin()
		changed, err := b.Entries(ctx)
		if err != nil {
			return err
		}
		if err := store.Save(ctx, changed); err != nil {
			return fmt.Errorf("upgrading the checkpoint of %s: %w", prefix, err)
		}
	}
	return nil
}
