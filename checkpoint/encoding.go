package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"time"
)

// State keys of a stream, after its prefix:
//
//	h                        head: what is known of which time, and the numbers of its commits
//	i                        index: the buckets, as the latest fold left them
//	d/<n mod 64>             delta: what commit n changed, two digits
//	b/<time>/<4 hex digits>  page: one part of a bucket by its creation time (200601021504, with u behind
//	                         for undated records) and the upper 16 bits of its smallest id hash
//
//	s/<Unix seconds>         savepoint: the ranges of the head as they were
//
// A value begins with the encoding's version and ends with the CRC-32C of the
// key and all of the value before it. Values of versions 2 and 3 are read, too. Integers are big-endian or varints,
// times are Unix nanoseconds.
const (
	headName   = "h"
	indexName  = "i"
	deltaName  = "d/"
	bucketName = "b/"
	saveName   = "s/"
	slots      = 64

	encodingVersion = 4
	v3Encoding      = 3
	v2Encoding      = 2
	sumSize         = 4
	pageHeaderSize  = 1 + 8 + 4
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

// unseal returns what seal was given, with the version apart.
func unseal(key string, value []byte) (version byte, body []byte, err error) {
	if len(value) < 1+sumSize {
		return 0, nil, errDamaged
	}
	body = value[:len(value)-sumSize]
	switch {
	case body[0] != encodingVersion && body[0] != v3Encoding && body[0] != v2Encoding:
		return 0, nil, errEncoding
	case checksum(key, body) != binary.BigEndian.Uint32(value[len(body):]):
		return 0, nil, errDamaged
	}
	return body[0], body[1:], nil
}

func timeAt(b []byte) time.Time {
	return time.Unix(0, int64(binary.BigEndian.Uint64(b))).UTC()
}

// page is the value of a part in the store: the number of its entries, these,
// and their names.
type page []byte

func newPage(key string, folded uint64, c content) page {
	b := append(make([]byte, 0, pageHeaderSize+c.size()+sumSize), encodingVersion)
	b = binary.BigEndian.AppendUint64(b, folded)
	b = binary.BigEndian.AppendUint32(b, uint32(len(c.entries)/entrySize))
	return seal(key, append(append(b, c.entries...), c.names...))
}

func (p page) folded() uint64 { return binary.BigEndian.Uint64(p[1:]) }

func (p page) count() int { return int(binary.BigEndian.Uint32(p[9:])) }

func (p page) content() content {
	rest := p[pageHeaderSize : len(p)-sumSize]
	return content{rest[:p.count()*entrySize], rest[p.count()*entrySize:]}
}

func (p page) entries() []byte { return p.content().entries }

// is reports whether p is the page that the index means.
func (p page) is(of *part) bool { return p.folded() == of.folded && p.count() == of.count }

func decodePage(key string, value []byte) (page, error) {
	version, _, err := unseal(key, value)
	if err != nil {
		return nil, err
	}
	p := page(value)
	switch version {
	case v2Encoding:
		p, err = pageOfV2(key, value)
	case v3Encoding:
		p, err = pageOfV3(key, value)
	}
	if err != nil {
		return nil, err
	}
	if len(p) < pageHeaderSize+sumSize || p.count() > (len(p)-pageHeaderSize-sumSize)/entrySize || !p.content().sound() {
		return nil, errDamaged
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
	return name == headName || name == indexName || strings.HasPrefix(name, deltaName) || strings.HasPrefix(name, bucketName) || strings.HasPrefix(name, saveName)
}
