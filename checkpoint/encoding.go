package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// State keys of a stream, after its prefix:
//
//	h                 how far it was read
//	r/<16 hex digits> one record, by hash of its id
//
// Values begin with the encoding's version. Integers are big-endian, times
// are Unix nanoseconds.
const (
	headName         = "h"
	recordNamePrefix = "r/"
	encodingVersion  = 1
	headSize         = 1 + 3*8
	recordSize       = 1 + 4*8 + 4 + 1
)

var errEncoding = errors.New("unknown encoding; it was written by another version or is damaged: " +
	"run the version that wrote it, or restore the checkpoint from a backup")

func encodeHead(h head) []byte {
	b := append(make([]byte, 0, headSize), encodingVersion)
	for _, t := range []time.Time{h.start, h.settled, h.frontier} {
		b = appendTime(b, t)
	}
	return b
}

func decodeHead(b []byte) (head, error) {
	if len(b) != headSize || b[0] != encodingVersion {
		return head{}, errEncoding
	}
	h := head{start: timeAt(b[1:]), settled: timeAt(b[9:]), frontier: timeAt(b[17:])}
	if h.frontier.Before(h.settled) {
		return head{}, fmt.Errorf("frontier lies before the settled time: %w", errEncoding)
	}
	return h, nil
}

func recordName(id uint64) string { return fmt.Sprintf("%s%016x", recordNamePrefix, id) }

func decodeRecordName(name string) (uint64, error) {
	if len(name) != len(recordNamePrefix)+16 || name[:len(recordNamePrefix)] != recordNamePrefix {
		return 0, errEncoding
	}
	id, err := strconv.ParseUint(name[len(recordNamePrefix):], 16, 64)
	if err != nil {
		return 0, errEncoding
	}
	return id, nil
}

func encodeRecord(r record) []byte {
	b := append(make([]byte, 0, recordSize), encodingVersion)
	b = appendTime(b, r.at)
	for _, v := range []uint64{uint64(r.rank), r.print, r.prev} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	b = binary.BigEndian.AppendUint32(b, r.revision)
	if r.terminal {
		return append(b, 1)
	}
	return append(b, 0)
}

func decodeRecord(b []byte) (record, error) {
	if len(b) != recordSize || b[0] != encodingVersion || b[recordSize-1] > 1 {
		return record{}, errEncoding
	}
	return record{
		at:       timeAt(b[1:]),
		rank:     int64(binary.BigEndian.Uint64(b[9:])),
		print:    binary.BigEndian.Uint64(b[17:]),
		prev:     binary.BigEndian.Uint64(b[25:]),
		revision: binary.BigEndian.Uint32(b[33:]),
		terminal: b[recordSize-1] == 1,
	}, nil
}

func appendTime(b []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixNano()))
}

func timeAt(b []byte) time.Time {
	return time.Unix(0, int64(binary.BigEndian.Uint64(b))).UTC()
}
