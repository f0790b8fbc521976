package checkpoint

import (
	"encoding/binary"
	"maps"
	"slices"
)

// An index lists the buckets and the parts of each, without deltas: what
// tells which pages there are and how many of their records are open; and the
// sums of dropped buckets. It takes about twenty bytes a bucket and a day, and
// eight a part.
type index struct {
	number  uint64 // of the commit that wrote it
	buckets map[bucketKey]*bucket
	sealed  map[day]Day
	guessed bool // whether the buckets' tallies are what their parts tell, as encoding 2 has none
}

func encodeIndex(key string, x index) []byte {
	b := append([]byte{}, encodingVersion)
	b = binary.AppendUvarint(b, x.number)
	b = binary.AppendUvarint(b, uint64(len(x.buckets)))
	for _, k := range sortedKeys(x.buckets) {
		bk := x.buckets[k]
		b = appendTally(appendReach(appendBucketKey(b, k), k, bk.reach), bk.tally)
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
	return seal(key, appendSealed(b, x.sealed))
}

// decodeIndex reads the index of the stream with the given key prefix.
func decodeIndex(prefix string, value []byte) (index, error) {
	version, body, err := unseal(prefix+indexName, value)
	if err != nil {
		return index{}, err
	}
	r := reader{b: body}
	x := index{number: r.uvarint(), guessed: version == v2Encoding, sealed: map[day]Day{}}
	n := r.count(6)
	x.buckets = make(map[bucketKey]*bucket, n)
	for range n {
		k := r.bucketKey()
		bk := r.bucket(prefix, k, x.guessed)
		if !soundParts(bk.parts, x.number) || bk.born > x.number || x.buckets[k] != nil {
			r.fail()
		}
		x.buckets[k] = bk
	}
	if !x.guessed {
		x.sealed = r.sealed()
	}
	return x, r.end()
}

func (r *reader) bucket(prefix string, k bucketKey, guess bool) *bucket {
	bk := &bucket{reach: r.reach(k)}
	if !guess {
		bk.tally = r.tally()
	}
	bk.born = r.uvarint()
	for range r.count(5) {
		bk.parts = append(bk.parts, r.part(prefix, k))
		if guess {
			bk.records += bk.parts[len(bk.parts)-1].count
		}
	}
	return bk
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
