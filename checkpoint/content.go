package checkpoint

import (
	"bytes"
	"iter"
	"maps"
	"slices"
)

// content is what a page and the change of a bucket hold.
type content struct {
	entries []byte // ascending by id
	names   []byte // of the named entries, in their order
}

func (c content) size() int { return len(c.entries) + len(c.names) }

// held is an entry with the name that belongs to it.
type held struct {
	entry
	name name // of a named entry
}

// all yields the entries by id.
func (c content) all() iter.Seq2[uint64, held] {
	return func(yield func(uint64, held) bool) {
		names := reader{b: c.names}
		for rest := c.entries; len(rest) > 0; rest = rest[entrySize:] {
			id, e := entryAt(rest)
			h := held{entry: e}
			if e.named {
				var text []byte
				text, h.name = names.name(e.state)
				h.name.id = string(text)
			}
			if !yield(id, h) {
				return
			}
		}
	}
}

// sound reports whether the entries ascend and the names are theirs.
func (c content) sound() bool {
	if len(c.entries)%entrySize != 0 {
		return false
	}
	for rest := c.entries; len(rest) > entrySize; rest = rest[entrySize:] {
		if bytes.Compare(rest[:8], rest[entrySize:entrySize+8]) >= 0 {
			return false
		}
	}
	names := reader{b: c.names}
	names.skip(c.entries)
	return names.end() == nil
}

// skip reads past the names of entries.
func (r *reader) skip(entries []byte) {
	for ; len(entries) > 0; entries = entries[entrySize:] {
		if _, e := entryAt(entries); e.named {
			r.name(e.state)
		}
	}
}

// split splits c at an offset of its entries.
func (c content) split(at int) (before, after content) {
	before.entries, after.entries = c.entries[:at], c.entries[at:]
	if len(c.names) == 0 {
		return before, after
	}
	names := reader{b: c.names}
	names.skip(before.entries)
	before.names, after.names = c.names[:len(c.names)-len(names.b)], names.b
	return before, after
}

// merge returns c with the entries of a delta in their place.
func (c content) merge(delta map[uint64]entry, names map[uint64]name) content {
	merged := content{entries: make([]byte, 0, len(c.entries)+len(delta)*entrySize)}
	for _, id := range slices.Sorted(maps.Keys(delta)) {
		var before content
		before, c = c.split(place(c.entries, id))
		merged = merged.add(before)
		if len(c.entries) > 0 {
			if same, _ := entryAt(c.entries); same == id {
				_, c = c.split(entrySize)
			}
		}
		e := delta[id]
		merged.entries = appendEntry(merged.entries, id, e)
		if e.named {
			merged.names = appendName(merged.names, e.state, names[id])
		}
	}
	return merged.add(c)
}

func (c content) add(o content) content {
	return content{append(c.entries, o.entries...), append(c.names, o.names...)}
}

// open counts the entries that may still change.
func (c content) open() int {
	n := 0
	for rest := c.entries; len(rest) > 0; rest = rest[entrySize:] {
		if _, e := entryAt(rest); e.open() {
			n++
		}
	}
	return n
}
