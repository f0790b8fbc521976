package checkpoint

import (
	"encoding/binary"
	"slices"
	"time"

	"connector/sources"
)

// maxRanges bounds the head: a range takes about 12 bytes.
const maxRanges = 4096

// head says what is known of which time, and how far commits have come.
type head struct {
	start  time.Time // everything from here on is to be read
	ranges coverage

	number  uint64 // of the latest commit with a delta
	folded  uint64 // pages and index hold the deltas up to this commit; later ones are in their slots
	indexed uint64 // number of the commit that wrote the index; 0 when there is none

	latest time.Time   // creation of the newest record found; zero when there was none
	owner  uint64      // hash of whose records they are; 0 while unknown
	config uint64      // hash of the configuration of the latest reading; 0 when it was not said
	saved  []time.Time // savepoints, oldest first; never changed in place
}

func (h head) equal(o head) bool {
	return h.start.Equal(o.start) && slices.EqualFunc(h.ranges, o.ranges, sameRange) &&
		h.number == o.number && h.folded == o.folded && h.indexed == o.indexed &&
		h.latest.Equal(o.latest) && h.owner == o.owner && h.config == o.config && slices.EqualFunc(h.saved, o.saved, time.Time.Equal)
}

func sameRange(a, b Range) bool {
	return a.State == b.State && a.From.Equal(b.From) && a.To.Equal(b.To)
}

// covered returns the end of what joins the start and is in states.
func (h head) covered(tick time.Duration, in func(State) bool) time.Time {
	end := h.start.Add(-tick)
	for _, r := range h.ranges {
		if r.To.Before(h.start) {
			continue
		}
		if !in(r.State) || r.From.After(end.Add(tick)) {
			break
		}
		end = r.To
	}
	return end
}

// closed reports whether nothing reads a range any more, or as yet.
func (h head) closed(r Range) bool {
	return r.State.closed() || r.State == Unread && r.To.Before(h.start)
}

func encodeHead(key string, h head) []byte {
	b := append(make([]byte, 0, 64+len(h.ranges)*12), encodingVersion)
	b = appendTime(appendTime(b, h.start), h.latest)
	b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, h.owner), h.config)
	for _, n := range []uint64{h.number, h.folded, h.indexed} {
		b = binary.AppendUvarint(b, n)
	}
	b = appendRanges(b, h.start, h.ranges)
	b = binary.AppendUvarint(b, uint64(len(h.saved)))
	for _, t := range h.saved {
		b = binary.AppendUvarint(b, uint64(max(t.Unix(), 0)))
	}
	return seal(key, b)
}

func decodeHead(key string, value []byte, tick time.Duration) (head, error) {
	version, body, err := unseal(key, value)
	switch {
	case err != nil:
		return head{}, err
	case version == v2Encoding:
		return headOfV2(body, tick)
	}
	r := reader{b: body}
	h := head{start: r.time(), latest: r.time(), owner: r.uint64(), config: r.uint64()}
	h.number, h.folded, h.indexed = r.uvarint(), r.uvarint(), r.uvarint()
	h.ranges = r.ranges(h.start)
	for range r.count(1) {
		h.saved = append(h.saved, time.Unix(int64(min(r.uvarint(), maxUnix)), 0).UTC())
	}
	if err := r.end(); err != nil {
		return head{}, err
	}
	if !h.sound() || !slices.IsSortedFunc(h.saved, time.Time.Compare) {
		return head{}, errDamaged
	}
	return h, nil
}

// appendTime writes a time for reader.time.
func appendTime(b []byte, t time.Time) []byte { return binary.BigEndian.AppendUint64(b, nanos(t)) }

// maxUnix is the year 2262, where nanoseconds end.
const maxUnix = 1<<63/1_000_000_000 - 1

// sound reports whether the numbers of a head may belong together.
func (h head) sound() bool {
	return h.folded <= h.number && h.indexed <= h.number && h.folded <= h.indexed && h.number-h.folded <= slots
}

// appendRanges writes ranges as differences: the first to start, the others
// to the end of the one before.
func appendRanges(b []byte, start time.Time, ranges coverage) []byte {
	b = binary.AppendUvarint(b, uint64(len(ranges)))
	at := start
	for _, r := range ranges {
		b = binary.AppendVarint(b, int64(nanos(r.From)-nanos(at)))
		b = binary.AppendUvarint(b, nanos(r.To)-nanos(r.From))
		b = append(b, byte(r.State))
		at = r.To
	}
	return b
}

func (r *reader) ranges(start time.Time) coverage {
	var list coverage
	at := nanos(start)
	for i := range r.count(3) {
		from := at + uint64(r.varint())
		to := from + r.uvarint()
		state := State(r.bytes(1)[0])
		if state == Unread || state > Sealed || int64(to) < int64(from) || i > 0 && int64(from) <= int64(at) {
			r.fail()
		}
		list = append(list, Range{sources.Span{From: moment(from), To: moment(to)}, state})
		at = to
	}
	return list
}

func (r *reader) uint64() uint64 { return binary.BigEndian.Uint64(r.bytes(8)) }

func (r *reader) time() time.Time { return moment(r.uint64()) }

// nanos and moment keep a time as Unix nanoseconds; 0 is the zero time.
func nanos(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixNano())
}

func moment(n uint64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(n)).UTC()
}
