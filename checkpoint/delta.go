package checkpoint

import (
	"encoding/binary"
	"math"
	"slices"
)

// delta is what one commit changed: first the buckets it dropped, then the
// records it put.
type delta struct {
	number  uint64
	guessed bool // whether its puts lack the tally, as those of encoding 2
	dropped []bucketKey
	puts    []put // ascending by bucket
}

// put is the change of one bucket.
type put struct {
	bucket  bucketKey
	reach   reach // reach and tally are as after the commit
	tally   tally
	entries map[uint64]entry
	names   map[uint64]name // of the named entries; nil when there are none
}

func encodeDelta(key string, d delta) []byte {
	b := append([]byte{}, encodingVersion)
	b = binary.AppendUvarint(b, d.number)
	b = binary.AppendUvarint(b, uint64(len(d.dropped)))
	for _, k := range d.dropped {
		b = appendBucketKey(b, k)
	}
	b = binary.AppendUvarint(b, uint64(len(d.puts)))
	for _, p := range d.puts {
		b = appendTally(appendReach(appendBucketKey(b, p.bucket), p.bucket, p.reach), p.tally)
		b = binary.AppendUvarint(b, uint64(len(p.entries)))
		c := content{}.merge(p.entries, p.names)
		b = append(append(b, c.entries...), c.names...)
	}
	return seal(key, b)
}

func decodeDelta(key string, value []byte) (delta, error) {
	version, body, err := unseal(key, value)
	if err != nil {
		return delta{}, err
	}
	r := reader{b: body, version: version}
	d := delta{number: r.uvarint(), guessed: version == v2Encoding}
	for range r.count(2) {
		d.dropped = append(d.dropped, r.bucketKey())
	}
	for range r.count(4) {
		p := put{bucket: r.bucketKey()}
		p.reach = r.reach(p.bucket)
		if d.guessed {
			p.entries = r.entriesOfV2()
		} else {
			p.tally = r.tally()
			p.entries, p.names = r.entries()
		}
		d.puts = append(d.puts, p)
	}
	return d, r.end()
}

// entries reads the entries of a put and their names.
func (r *reader) entries() (map[uint64]entry, map[uint64]name) {
	n := r.count(entrySize)
	c := content{entries: r.entriesOf(r.bytes(n * entrySize))}
	rest := *r
	r.skip(c.entries)
	c.names = rest.b[:len(rest.b)-len(r.b)]
	if r.bad || !c.sound() {
		r.fail()
		return nil, nil
	}
	entries, names := make(map[uint64]entry, n), map[uint64]name(nil)
	for id, h := range c.all() {
		entries[id] = h.entry
		if h.named {
			if names == nil {
				names = map[uint64]name{}
			}
			names[id] = h.name
		}
	}
	return entries, names
}

func appendBucketKey(b []byte, k bucketKey) []byte {
	b = binary.AppendVarint(b, int64(k.block))
	if k.undated {
		return append(b, 1)
	}
	return append(b, 0)
}

// appendReach writes hours as differences to the bucket's.
func appendReach(b []byte, k bucketKey, r reach) []byte {
	b = binary.AppendVarint(b, int64(r.from)-int64(k.hour()))
	b = binary.AppendVarint(b, int64(r.until)-int64(k.hour()))
	b = binary.AppendUvarint(b, uint64(len(r.elsewhere)))
	for _, h := range r.elsewhere {
		b = binary.AppendVarint(b, int64(h)-int64(k.hour()))
	}
	return b
}

// reader reads what the append functions wrote. After a first fault all
// values are zero.
type reader struct {
	b       []byte
	bad     bool
	version byte // encoding of entries; 0: today's
}

func (r *reader) fail() { r.b, r.bad = nil, true }

// end returns an error unless everything was read without a fault.
func (r *reader) end() error {
	if r.bad || len(r.b) > 0 {
		return errDamaged
	}
	return nil
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads how many things of at least size bytes follow.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/size) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) bytes(n int) []byte {
	if len(r.b) < n {
		r.fail()
		return make([]byte, n)
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

// int32 reads a number as its difference to another.
func (r *reader) int32(base int32) int32 {
	v := r.varint()
	if v > math.MaxUint32 || v < -math.MaxUint32 || int64(base)+v > math.MaxInt32 || int64(base)+v < math.MinInt32 {
		r.fail()
		return 0
	}
	return base + int32(v)
}

func (r *reader) bucketKey() bucketKey {
	k := bucketKey{block: block(r.int32(0))}
	flag := r.bytes(1)[0]
	if flag > 1 {
		r.fail()
	}
	k.undated = flag == 1
	return k
}

func (r *reader) reach(k bucketKey) reach {
	base := int32(k.hour())
	c := reach{from: hour(r.int32(base)), until: hour(r.int32(base))}
	for range r.count(1) {
		c.elsewhere = append(c.elsewhere, hour(r.int32(base)))
	}
	if !slices.IsSorted(c.elsewhere) {
		r.fail()
	}
	return c
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}
