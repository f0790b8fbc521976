package scan

import (
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"connector/sources"
)

// maxDigest is the number of rows after which an answer is read no further.
const maxDigest = 1 << 18

// idSeed seeds the hashes of ids.
var idSeed = maphash.MakeSeed()

// digest is what is kept of an answer to compare it and to cut its span.
type digest struct {
	size
	span    sources.Span
	tick    time.Duration
	over    bool         // whether it was not read to its end
	ids     []uint64     // hashes, sorted; nil when over
	cuts    [2]time.Time // the last tick of the first of two parts of the span, by each time that may be the API's
	outside [2]bool      // which times cannot be what the API selects by
	ticks   *ticks       // until finish
}

// ticks are those of the rows of one answer, by each time that may be the
// API's, from the beginning of the span.
type ticks [2][]int64

// newDigest returns the digest of an answer to be read. Until finish, it uses
// the memory of scratch.
func newDigest(span sources.Span, tick time.Duration, outside [2]bool, scratch *ticks) *digest {
	for i := range scratch {
		scratch[i] = scratch[i][:0]
	}
	return &digest{span: span, tick: tick, outside: outside, ticks: scratch}
}

func (d *digest) add(r Row) error {
	if d.rows == maxDigest {
		return fmt.Errorf("%w: more than %d rows", ErrLong, maxDigest)
	}
	d.rows++
	d.bytes += r.Size
	d.ids = append(d.ids, maphash.String(idSeed, r.ID))
	last := int64(d.span.To.Sub(d.span.From) / d.tick)
	for i, at := range r.times() {
		switch {
		case d.outside[i] || at.IsZero():
		case !near(at, d.span, d.tick):
			d.outside[i], d.ticks[i] = true, d.ticks[i][:0]
		default:
			tick := int64(at.Sub(d.span.From) / d.tick)
			d.ticks[i] = append(d.ticks[i], min(max(tick, 0), last))
		}
	}
	return nil
}

// finish is called after the last row.
func (d *digest) finish() {
	for i, ticks := range d.ticks {
		d.cuts[i] = d.cut(ticks)
	}
	d.ticks = nil
	if d.over {
		d.ids = nil
	}
	slices.Sort(d.ids)
}

// holds reports whether every row of the parts is in d.
func (d *digest) holds(parts ...*digest) bool {
	if d.over {
		return false
	}
	for _, part := range parts {
		rest := d.ids
		for _, id := range part.ids {
			i, found := slices.BinarySearch(rest, id)
			if !found {
				return false
			}
			rest = rest[i:]
		}
	}
	return true
}

// cut returns after which tick to cut the span, if it has two or more: at the
// median of ticks, or in the middle.
func (d *digest) cut(ticks []int64) time.Time {
	last := int64(d.span.To.Sub(d.span.From) / d.tick)
	at := last / 2
	if len(ticks) > 0 {
		slices.Sort(ticks)
		at = median(ticks)
	}
	return d.span.From.Add(time.Duration(min(max(at, 0), last-1)) * d.tick)
}
