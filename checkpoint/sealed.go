package checkpoint

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"
)

// Day sums the records created on one UTC day that were given up: they are no
// longer read, and nothing but this sum is kept of them.
type Day struct {
	Start   time.Time
	Records int
	Open    int    // that might have changed still
	Digest  uint64 // sum of the id hashes modulo 2^64; not of records that an older version of this program wrote
}

// day counts days since the Unix epoch.
type day int32

func dayOf(k bucketKey) day { return day(count(k.block.start(), 24*3600)) }

func (d day) start() time.Time { return time.Unix(int64(d)*24*3600, 0).UTC() }

// with returns the sum with the records of a bucket of the day.
func (s Day) with(k bucketKey, b *bucket) Day {
	return Day{Start: dayOf(k).start(), Records: s.Records + b.records, Open: s.Open + b.open(), Digest: s.Digest + b.digest}
}

// Sealed returns the sums of what was given up, oldest first.
func (l *Ledger) Sealed() []Day {
	return slices.SortedFunc(maps.Values(l.sealed), func(x, y Day) int { return x.Start.Compare(y.Start) })
}

// GivenUp returns how many records were given up, and how many of them might
// have changed still.
func (l *Ledger) GivenUp() (records, open int) {
	for _, d := range l.sealed {
		records, open = records+d.Records, open+d.Open
	}
	return records, open
}

// Records counts the records created in [from, to], to the five minutes, that
// the ledger holds, and those of them that may still change. Records without
// a readable creation time count for the hour they were found in. It reads no page.
func (l *Ledger) Records(from, to time.Time) (records, open int) {
	first, last := blockOf(from), blockOf(to)
	for k, b := range l.buckets {
		if k.block >= first && k.block <= last {
			records, open = records+b.records, open+b.open()
		}
	}
	return records, open
}

func appendTally(b []byte, t tally) []byte {
	return binary.BigEndian.AppendUint64(binary.AppendUvarint(b, uint64(t.records)), t.digest)
}

func (r *reader) tally() tally { return tally{r.number(), binary.BigEndian.Uint64(r.bytes(8))} }

// number reads how many records there are somewhere.
func (r *reader) number() int {
	n := r.uvarint()
	if n > 1<<40 {
		r.fail()
		return 0
	}
	return int(n)
}

func appendSealed(b []byte, sealed map[day]Day) []byte {
	b = binary.AppendUvarint(b, uint64(len(sealed)))
	for _, d := range slices.Sorted(maps.Keys(sealed)) {
		s := sealed[d]
		b = binary.AppendUvarint(appendTally(binary.AppendVarint(b, int64(d)), tally{s.Records, s.Digest}), uint64(s.Open))
	}
	return b
}

func (r *reader) sealed() map[day]Day {
	sealed := map[day]Day{}
	for range r.count(11) {
		d := day(r.int32(0))
		t := r.tally()
		sealed[d] = Day{Start: d.start(), Records: t.records, Digest: t.digest, Open: r.number()}
	}
	return sealed
}
