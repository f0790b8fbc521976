package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"connector/sources"
)

// State keys of a stream, after its prefix:
//
//	h                        head: how far it was read, and the numbers of its commits
//	i                        index: the buckets, as the latest fold left them
//	d/<n mod 64>             delta: what commit n changed, two digits
//	b/<time>/<4 hex digits>  page: one part of a bucket by its creation time (200601021504, with u behind
//	                         for undated records) and the upper 16 bits of its smallest id hash
//
// A value begins with the encoding's version and ends with the CRC-32C of the
// key and all of the value before it. Integers are big-endian or varints,
// times are Unix nanoseconds.
const (
	headName   = "h"
	indexName  = "i"
	deltaName  = "d/"
	bucketName = "b/"
	slots      = 64

	encodingVersion = 2
	sumSize         = 4
	headSize        = 1 + 6*8 + sumSize // without gaps
	gapSize         = 2 * 8
	maxGaps         = 1024
	pageHeaderSize  = 1 + 8
)

var (
	errEncoding = errors.New("written by another version of this program: run that version")
	errDamaged  = errors.New("its content is damaged")
	errMissing  = errors.New("it is missing")
	errOther    = errors.New("it does not belong to the rest of the state, such as a file of another backup")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(key string, b []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(key), castagnoli), castagnoli, b)
}

// seal completes the value of a key.
func seal(key string, b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, checksum(key, b))
}

// unseal returns what seal was given, without the version.
func unseal(key string, value []byte) ([]byte, error) {
	if len(value) < 1+sumSize {
		return nil, errDamaged
	}
	body := value[:len(value)-sumSize]
	switch {
	case body[0] != encodingVersion:
		return nil, errEncoding
	case checksum(key, body) != binary.BigEndian.Uint32(value[len(body):]):
		return nil, errDamaged
	}
	return body[1:], nil
}

// head says how far a stream was read. Every record created up to settled was
// looked for after its lateness had passed; up to frontier, at least once.
type head struct {
	start, settled, frontier time.Time

	number  uint64 // of the latest commit with a delta
	folded  uint64 // pages and index hold the deltas up to this commit; later ones are in their slots
	indexed uint64 // number of the commit that wrote the index; 0 when there is none

	gaps []sources.Span // covered, though rows of them may be missing; oldest first, at most maxGaps; never changed in place
}

func (h head) equal(o head) bool {
	return h.start.Equal(o.start) && h.settled.Equal(o.settled) && h.frontier.Equal(o.frontier) &&
		h.number == o.number && h.folded == o.folded && h.indexed == o.indexed && slices.EqualFunc(h.gaps, o.gaps, sameSpan)
}

func sameSpan(a, b sources.Span) bool { return a.From.Equal(b.From) && a.To.Equal(b.To) }

func encodeHead(key string, h head) []byte {
	b := append(make([]byte, 0, headSize+len(h.gaps)*gapSize), encodingVersion)
	for _, t := range []time.Time{h.start, h.settled, h.frontier} {
		b = binary.BigEndian.AppendUint64(b, uint64(t.UnixNano()))
	}
	for _, n := range []uint64{h.number, h.folded, h.indexed} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	for _, g := range h.gaps {
		b = binary.BigEndian.AppendUint64(b, uint64(g.From.UnixNano()))
		b = binary.BigEndian.AppendUint64(b, uint64(g.To.UnixNano()))
	}
	return seal(key, b)
}

func decodeHead(key string, value []byte) (head, error) {
	b, err := unseal(key, value)
	if err != nil {
		return head{}, err
	}
	if len(value) < headSize || (len(value)-headSize)%gapSize != 0 {
		return head{}, errDamaged
	}
	h := head{
		start: timeAt(b), settled: timeAt(b[8:]), frontier: timeAt(b[16:]),
		number: binary.BigEndian.Uint64(b[24:]), folded: binary.BigEndian.Uint64(b[32:]), indexed: binary.BigEndian.Uint64(b[40:]),
	}
	if h.frontier.Before(h.settled) || h.folded > h.number || h.indexed > h.number || h.folded > h.indexed || h.number-h.folded > slots {
		return head{}, errDamaged
	}
	for rest := b[6*8:]; len(rest) > 0; rest = rest[gapSize:] {
		h.gaps = append(h.gaps, sources.Span{From: timeAt(rest), To: timeAt(rest[8:])})
	}
	return h, nil
}

func timeAt(b []byte) time.Time {
	return time.Unix(0, int64(binary.BigEndian.Uint64(b))).UTC()
}

// page is the value of a part in the store: entries ascending by id.
type page []byte

func newPage(key string, folded uint64, entries []byte) page {
	b := append(make([]byte, 0, pageHeaderSize+len(entries)+sumSize), encodingVersion)
	b = binary.BigEndian.AppendUint64(b, folded)
	return seal(key, append(b, entries...))
}

func (p page) folded() uint64 { return binary.BigEndian.Uint64(p[1:]) }

func (p page) entries() []byte { return p[pageHeaderSize : len(p)-sumSize] }

// is reports whether p is the page that the index means.
func (p page) is(of *part) bool {
	return p.folded() == of.folded && len(p.entries()) == of.count*entrySize
}

func decodePage(key string, value []byte) (page, error) {
	if _, err := unseal(key, value); err != nil {
		return nil, err
	}
	p := page(value)
	if len(p) < pageHeaderSize+sumSize || len(p.entries())%entrySize != 0 {
		return nil, errDamaged
	}
	for rest := p.entries(); len(rest) > entrySize; rest = rest[entrySize:] {
		if bytes.Compare(rest[:8], rest[entrySize:entrySize+8]) >= 0 {
			return nil, errDamaged
		}
	}
	return p, nil
}

func slotName(number uint64) string { return fmt.Sprintf("%s%02d", deltaName, number%slots) }

func pageName(k bucketKey, start uint64) string {
	undated := ""
	if k.undated {
		undated = "u"
	}
	return fmt.Sprintf("%s%s%s/%04x", bucketName, k.block.start().Format("200601021504"), undated, start>>48)
}

// isName reports whether a key after its stream's prefix may belong to the state.
func isName(name string) bool {
	return name == headName || name == indexName || strings.HasPrefix(name, deltaName) || strings.HasPrefix(name, bucketName)
}
