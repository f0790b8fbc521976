package checkpoint

import (
	"encoding/binary"
	"maps"
	"slices"
)

// An index lists the buckets and the parts of each, without deltas: what
// tells which pages there are and how many of their records are open. It
// takes about ten bytes a bucket and eight a part.

func encodeIndex(key string, number uint64, buckets map[bucketKey]*bucket) []byte {
	b := append([]byte{}, encodingVersion)
	b = binary.AppendUvarint(b, number)
	b = binary.AppendUvarint(b, uint64(len(buckets)))
	for _, k := range sortedKeys(buckets) {
		bk := buckets[k]
		b = appendReach(appendBucketKey(b, k), k, bk.reach)
		b = binary.AppendUvarint(b, bk.born)
		b = binary.AppendUvarint(b, uint64(len(bk.parts)))
		for i := range bk.parts {
			p := &bk.parts[i]
			b = binary.BigEndian.AppendUint16(b, uint16(p.start>>48))
			b = binary.AppendUvarint(b, p.folded)
			b = binary.AppendUvarint(b, uint64(p.count))
			b = binary.AppendUvarint(b, uint64(p.open))
		}
	}
	return seal(key, b)
}

// decodeIndex reads the index of the stream with the given key prefix.
func decodeIndex(prefix string, value []byte) (number uint64, buckets map[bucketKey]*bucket, err error) {
	_, body, err := unseal(prefix+indexName, value)
	if err != nil {
		return 0, nil, err
	}
	r := reader{b: body}
	number = r.uvarint()
	n := r.count(6)
	buckets = make(map[bucketKey]*bucket, n)
	for range n {
		k := r.bucketKey()
		bk := &bucket{reach: r.reach(k), born: r.uvarint()}
		for range r.count(5) {
			bk.parts = append(bk.parts, r.part(prefix, k))
		}
		if !soundParts(bk.parts, number) || bk.born > number || buckets[k] != nil {
			r.fail()
		}
		buckets[k] = bk
	}
	return number, buckets, r.end()
}

func (r *reader) part(prefix string, k bucketKey) part {
	start := uint64(binary.BigEndian.Uint16(r.bytes(2))) << 48
	p := part{start: start, key: prefix + pageName(k, start), folded: r.uvarint()}
	count, open := r.uvarint(), r.uvarint()
	if open > count || count > 1<<32 || p.folded == 0 && count > 0 {
		r.fail()
	}
	p.count, p.open = int(count), int(open)
	return p
}

// soundParts reports whether parts ascend from zero and none is newer than
// the index.
func soundParts(parts []part, number uint64) bool {
	if len(parts) == 0 || parts[0].start != 0 {
		return false
	}
	for i := range parts {
		if parts[i].folded > number || i > 0 && parts[i].start <= parts[i-1].start {
			return false
		}
	}
	return true
}

func sortedKeys[V any](buckets map[bucketKey]V) []bucketKey {
	return slices.SortedFunc(maps.Keys(buckets), bucketKey.compare)
}
