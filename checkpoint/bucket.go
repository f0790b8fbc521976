package checkpoint

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"time"

	"connector/sources"
)

// hour counts hours since the Unix epoch.
type hour int32

func hourOf(t time.Time) hour { return hour(count(t, 3600)) }

func (h hour) start() time.Time { return time.Unix(int64(h)*3600, 0).UTC() }

// block counts stretches of blockSeconds since the Unix epoch.
type block int32

// blockSeconds is short enough that the pages of the busiest streams' blocks
// fit in memory, and an hour is a multiple of it.
const blockSeconds = 300

func blockOf(t time.Time) block { return block(count(t, blockSeconds)) }

func (b block) start() time.Time { return time.Unix(int64(b)*blockSeconds, 0).UTC() }

// count returns how many stretches of some seconds lie between the Unix epoch and t.
func count(t time.Time, seconds int64) int64 {
	n := t.Unix() / seconds
	if t.Unix()%seconds < 0 {
		n--
	}
	return max(math.MinInt32, min(n, math.MaxInt32))
}

// bucketKey names a bucket: the records created in one block. The records
// whose creation time cannot be read have buckets of their own, by the hour in
// which the first window that held one ended.
type bucketKey struct {
	block   block
	undated bool
}

func (k bucketKey) hour() hour { return hourOf(k.block.start()) }

func (k bucketKey) compare(o bucketKey) int {
	if n := cmp.Compare(k.block, o.block); n != 0 || k.undated == o.undated {
		return n
	}
	if o.undated {
		return -1
	}
	return 1
}

// reach says which windows may hold records of a bucket.
type reach struct {
	from, until hour   // hours of those windows; nothing reads the bucket again once until is given up
	elsewhere   []hour // where open records were found that were created in another hour; ascending, never changed in place
}

func (r reach) equal(o reach) bool {
	return r.from == o.from && r.until == o.until && slices.Equal(r.elsewhere, o.elsewhere)
}

// found returns the reach after a record of bucket k was found at an hour.
// Hours before forgotten are left out.
func (r reach) found(k bucketKey, at hour, open bool, forgotten hour) reach {
	r.until = max(r.until, at)
	if _, known := slices.BinarySearch(r.elsewhere, at); open && at != k.hour() && !known {
		r.elsewhere = append(slices.Clone(r.elsewhere), at)
		r.elsewhere = slices.DeleteFunc(r.elsewhere, func(h hour) bool { return h < forgotten })
		slices.Sort(r.elsewhere)
	}
	return r
}

// bucket is the part of the ledger that holds the records of one bucketKey,
// split into parts by id hash.
type bucket struct {
	reach
	tally
	born  uint64 // number of the commit that made it
	parts []part // ascending by start; the first starts at 0
}

// tally counts records and sums the hashes of their ids, in any order.
type tally struct {
	records int
	digest  uint64 // sum modulo 2^64
}

func (t tally) plus(o tally) tally { return tally{t.records + o.records, t.digest + o.digest} }

// part holds the records from its start up to the start of the next part: a
// page in the store, read when needed, and what changed since.
type part struct {
	start  uint64 // of the id hashes; only the upper 16 bits are used
	key    string // of the page in the store
	count  int    // records of the page
	open   int    // records of the page that may change
	folded uint64 // the page holds the deltas up to this commit; 0 when there is no page

	delta  map[uint64]entry // changes since; nil when there are none
	oldest uint64           // number of the first commit in delta

	names     map[uint64]name // of the named entries of delta; nil when there are none
	nameBytes int             // of names
}

// weight is what the delta of a part takes, in entries.
func (p *part) weight() int { return len(p.delta) + p.nameBytes/entrySize }

// set puts an entry into the delta of a part.
func (p *part) set(number, id uint64, e entry, n name) {
	if p.delta == nil {
		p.delta, p.oldest = map[uint64]entry{}, number
	}
	p.delta[id] = e
	if was, ok := p.names[id]; ok {
		p.nameBytes -= was.size()
		delete(p.names, id)
	}
	if e.named {
		if p.names == nil {
			p.names = map[uint64]name{}
		}
		p.names[id] = n
		p.nameBytes += n.size()
	}
}

// of returns the part that holds an id.
func (b *bucket) of(id uint64) *part {
	return &b.parts[sort.Search(len(b.parts), func(i int) bool { return b.parts[i].start > id })-1]
}

// clone returns a bucket whose parts can be replaced without changing b.
func (b *bucket) clone() *bucket {
	c := *b
	c.parts = slices.Clone(b.parts)
	return &c
}

// open counts the records that may still change.
func (b *bucket) open() int {
	n := 0
	for i := range b.parts {
		n += b.parts[i].open
		for _, e := range b.parts[i].delta {
			n += e.shift()
		}
	}
	return n
}

// hours returns where, in [from, to], the open records of the bucket are read again.
func (b *bucket) hours(k bucketKey, from, to hour) []hour {
	list := slices.Clone(b.elsewhere)
	if !k.undated {
		return append(list, k.hour())
	}
	for h := max(from, b.from); h <= min(to, b.until); h++ {
		list = append(list, h)
	}
	return list
}

// place returns the offset of the first entry whose id is not below id.
func place(entries []byte, id uint64) int {
	return entrySize * sort.Search(len(entries)/entrySize, func(i int) bool {
		other, _ := entryAt(entries[i*entrySize:])
		return other >= id
	})
}

// find returns the entry of an id among sorted entries.
func find(entries []byte, id uint64) (entry, bool) {
	n := place(entries, id)
	if n == len(entries) {
		return entry{}, false
	}
	same, e := entryAt(entries[n:])
	return e, same == id
}

// spans merges hours, which it sorts, to spans clipped to [from, to].
func spans(hours []hour, from, to time.Time) []sources.Span {
	slices.Sort(hours)
	var list []sources.Span
	for _, h := range slices.Compact(hours) {
		s := sources.Span{From: h.start(), To: (h + 1).start()}
		if s.From.After(to) || !s.To.After(from) {
			continue
		}
		if n := len(list); n > 0 && list[n-1].To.Equal(s.From) {
			list[n-1].To = s.To
			continue
		}
		list = append(list, s)
	}
	for i := range list {
		if list[i].From.Before(from) {
			list[i].From = from
		}
		if list[i].To.After(to) {
			list[i].To = to
		}
	}
	return list
}
