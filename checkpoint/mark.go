package checkpoint

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// markName begins the keys under which marks are handed to [Load].
const markName = "m/"

// A mark is what one version of a record makes of the ledger. It travels with
// the version's message to a sink that stores state after messages: when the
// process dies between the two, the marks of the messages that were stored say
// what the state lacks.
type mark struct {
	number uint64 // of the commit, and among its marks
	index  uint64
	bucket bucketKey
	reach  reach
	id     uint64
	held
}

// Mark returns the mark of the version of a record that was just admitted, or
// told to be dead or to have left. It is at most 2 KiB.
func (b *Batch) Mark(recordID string) []byte {
	id := hash(recordID)
	s := b.records[id]
	r, ok := b.reached[s.at]
	if bk := b.ledger.buckets[s.at]; !ok && bk != nil {
		r = bk.reach
	}
	b.marks++
	prefix := b.ledger.prefix
	m := append(binary.AppendUvarint([]byte{encodingVersion}, uint64(len(prefix))), prefix...)
	m = binary.AppendUvarint(binary.AppendUvarint(m, b.ledger.head.number+1), b.marks)
	m = appendReach(appendBucketKey(m, s.at), s.at, r)
	m = appendEntry(m, id, s.entry)
	if s.entry.named {
		m = appendName(m, s.entry.state, s.name)
	}
	return seal(markName, m)
}

// MarkEntry is what a session yields for the mark of a durable message that
// the state may not cover: the n-th. A mark that cannot be read is a fatal error.
func MarkEntry(n int, value []byte) (Entry, error) {
	r, err := openMark(value)
	prefix := r.text()
	if err == nil && r.bad {
		err = errDamaged
	}
	if err != nil {
		return Entry{}, damaged(markName, err)
	}
	return Entry{Key: fmt.Sprintf("%s%s%d", prefix, markName, n), Value: value}, nil
}

// HasMarks reports whether there are marks among entries.
func HasMarks(entries []Entry) bool {
	return slices.ContainsFunc(entries, func(e Entry) bool {
		name, ok := strings.CutPrefix(e.Key, streamPrefix(e.Key))
		return ok && strings.HasPrefix(name, markName)
	})
}

func openMark(value []byte) (reader, error) {
	version, body, err := unseal(markName, value)
	return reader{b: body, version: version}, err
}

// text reads what is written as its length and its bytes.
func (r *reader) text() string { return string(r.bytes(r.count(1))) }

// loadMarks takes from values the marks that the state does not cover.
func (l *Ledger) loadMarks(values map[string][]byte) error {
	for name, value := range values {
		if !strings.HasPrefix(name, markName) {
			continue
		}
		delete(values, name)
		m, err := decodeMark(value)
		if err != nil {
			return damaged(l.prefix+name, err)
		}
		l.marks = append(l.marks, m)
	}
	slices.SortFunc(l.marks, func(a, b mark) int { return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.index, b.index)) })
	return nil
}

func decodeMark(value []byte) (mark, error) {
	r, err := openMark(value)
	if err != nil {
		return mark{}, err
	}
	r.text()
	m := mark{number: r.uvarint(), index: r.uvarint(), bucket: r.bucketKey()}
	m.reach = r.reach(m.bucket)
	m.id, m.entry = entryAt(r.entriesOf(r.bytes(entrySize)))
	if m.named {
		var id []byte
		id, m.name = r.name(m.state)
		m.name.id = string(id)
	}
	return m, r.end()
}

// Recovered stages what the marks of durable messages say beyond the state, or
// returns nil when they say nothing. It is to be committed before anything else.
func (l *Ledger) Recovered(ctx context.Context) (*Batch, error) {
	b := l.Begin()
	for i := range l.marks {
		if m := &l.marks[i]; m.number > l.head.number {
			if err := b.recover(ctx, m); err != nil {
				return nil, err
			}
		}
	}
	l.marks = nil
	if b.changes == 0 {
		return nil, nil
	}
	return b, nil
}

// recover stages the change of one mark.
func (b *Batch) recover(ctx context.Context, m *mark) error {
	if _, ok := b.records[m.id]; !ok {
		if _, err := b.probe(ctx, []query{{id: m.id}}, func(query) bucketKey { return m.bucket }); err != nil {
			return err
		}
	}
	s := b.records[m.id]
	wasOpen := s.entry.wasOpen
	s.at, s.entry, s.name = m.bucket, m.entry, m.name
	s.entry.wasOpen = wasOpen
	b.change(m.id, s)
	was, ok := b.reached[m.bucket]
	if bk := b.ledger.buckets[m.bucket]; !ok && bk != nil {
		was, ok = bk.reach, true
	}
	if !ok {
		was = m.reach
	}
	b.reached[m.bucket] = was.join(m.reach)
	return nil
}

// join returns what either says.
func (r reach) join(o reach) reach {
	both := slices.Concat(r.elsewhere, o.elsewhere)
	slices.Sort(both)
	return reach{from: min(r.from, o.from), until: max(r.until, o.until), elsewhere: slices.Compact(both)}
}
