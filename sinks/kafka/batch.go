package kafka

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"
	"slices"

	"github.com/segmentio/kafka-go/compress"
)

// Where the fields of a record batch (magic 2, KIP-98) lie, counted from its
// first byte; all are big-endian.
const (
	atLength      = 8
	atLeaderEpoch = 12
	atMagic       = 16
	atChecksum    = 17 // CRC-32C of everything from atAttributes
	atAttributes  = 21 // codec, and flags such as [inTransaction]
	atLastDelta   = 23
	atFirstTime   = 27
	atMaxTime     = 35
	atProducerID  = 43
	atEpoch       = 51
	atSequence    = 53
	atCount       = 57
	headerBytes   = 61

	magic         = 2
	noLeaderEpoch = 0xffffffff
)

// prefixBytes is the length of the size that precedes a batch on the wire.
const prefixBytes = 4

// inTransaction is the attribute of batches that belong to a transaction.
const inTransaction = 0x10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// producerID identifies an idempotent producer to the brokers.
type producerID struct {
	id    int64
	epoch int16
}

// record is what a batch holds. A nil key or value is encoded as null.
type record struct {
	time       int64 // Unix milliseconds
	key, value []byte
	headers    headers
}

// headers are the headers of a record, encoded one after the other.
type headers struct {
	count   int
	encoded []byte
}

// with returns h and one more header; h is not to be used any more.
func (h headers) with(name, value string) headers {
	return headers{h.count + 1, appendString(appendString(h.encoded, name), value)}
}

// batchEncoder builds one record batch at a time in buffers that it keeps.
// The zero value builds uncompressed batches.
type batchEncoder struct {
	codec    compress.Codec // nil: no compression
	out      []byte         // size and batch; its records only once finished if there is a codec
	plain    []byte         // the records before compression, if there is a codec
	count    int
	first    int64 // time of the first record
	max      int64 // latest time of a record
	maxBytes int   // bound of size; a batch holds at least one record all the same
}

// reset begins a new batch. Bytes that finish returned are overwritten.
func (e *batchEncoder) reset() {
	e.out = slices.Grow(e.out[:0], prefixBytes+headerBytes)[:prefixBytes+headerBytes]
	e.plain = e.plain[:0]
	e.count = 0
}

// add appends r, or returns false when the batch would outgrow maxBytes.
func (e *batchEncoder) add(r *record) bool {
	dst := &e.out
	if e.codec != nil {
		dst = &e.plain
	}
	if e.count == 0 {
		e.first, e.max = r.time, r.time
	}
	body := r.size(r.time-e.first, e.count)
	if e.count > 0 && len(*dst)+varintSize(int64(body))+body > e.maxBytes {
		return false
	}
	*dst = r.append(*dst, body, r.time-e.first, e.count)
	e.max = max(e.max, r.time)
	e.count++
	return true
}

// finish returns the batch, preceded by its size and complete except for what
// stamp writes. The bytes stay valid until reset.
func (e *batchEncoder) finish(attributes int16) ([]byte, error) {
	if e.codec != nil {
		attributes |= int16(e.codec.Code())
		if err := e.compress(); err != nil {
			return nil, fmt.Errorf("compressing %d records with %s: %w", e.count, e.codec.Name(), err)
		}
	}
	b, be := e.out[prefixBytes:], binary.BigEndian
	be.PutUint32(e.out, uint32(len(b)))
	be.PutUint64(b, 0) // base offset: the broker's to set
	be.PutUint32(b[atLength:], uint32(len(b)-atLeaderEpoch))
	be.PutUint32(b[atLeaderEpoch:], noLeaderEpoch)
	b[atMagic] = magic
	be.PutUint16(b[atAttributes:], uint16(attributes))
	be.PutUint32(b[atLastDelta:], uint32(e.count-1))
	be.PutUint64(b[atFirstTime:], uint64(e.first))
	be.PutUint64(b[atMaxTime:], uint64(e.max))
	be.PutUint32(b[atCount:], uint32(e.count))
	return e.out, nil
}

// compress appends the compressed records to the header.
func (e *batchEncoder) compress() error {
	w := e.codec.NewWriter((*appender)(&e.out))
	if _, err := w.Write(e.plain); err != nil {
		_ = w.Close()
		return err
	}
	return w.Close()
}

// stamp writes the producer, the sequence of the first record and the
// checksum into what finish returned.
func stamp(set []byte, p producerID, sequence int32) {
	b, be := set[prefixBytes:], binary.BigEndian
	be.PutUint64(b[atProducerID:], uint64(p.id))
	be.PutUint16(b[atEpoch:], uint16(p.epoch))
	be.PutUint32(b[atSequence:], uint32(sequence))
	be.PutUint32(b[atChecksum:], crc32.Checksum(b[atAttributes:], castagnoli))
}

// nextSequence returns the sequence after n records from sequence on; it
// wraps to 0 after the largest int32.
func nextSequence(sequence int32, n int) int32 {
	return int32((int64(sequence) + int64(n)) & 0x7fffffff)
}

// size returns the length of the encoded record without its length field.
func (r *record) size(timeDelta int64, offsetDelta int) int {
	return 1 + varintSize(timeDelta) + varintSize(int64(offsetDelta)) +
		bytesSize(r.key) + bytesSize(r.value) + varintSize(int64(r.headers.count)) + len(r.headers.encoded)
}

func (r *record) append(b []byte, size int, timeDelta int64, offsetDelta int) []byte {
	b = binary.AppendVarint(b, int64(size))
	b = append(b, 0) // attributes: none are defined
	b = binary.AppendVarint(b, timeDelta)
	b = binary.AppendVarint(b, int64(offsetDelta))
	b = appendBytes(b, r.key)
	b = appendBytes(b, r.value)
	b = binary.AppendVarint(b, int64(r.headers.count))
	return append(b, r.headers.encoded...)
}

func appendBytes(b, v []byte) []byte {
	if v == nil {
		return binary.AppendVarint(b, -1)
	}
	return append(binary.AppendVarint(b, int64(len(v))), v...)
}

func appendString(b []byte, v string) []byte {
	return append(binary.AppendVarint(b, int64(len(v))), v...)
}

func bytesSize(v []byte) int {
	if v == nil {
		return varintSize(-1)
	}
	return varintSize(int64(len(v))) + len(v)
}

// varintSize returns the length of v as a zigzag varint.
func varintSize(v int64) int {
	return (bits.Len64(uint64(v<<1)^uint64(v>>63)|1) + 6) / 7
}

// appender is an io.Writer that appends.
type appender []byte

func (a *appender) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}
