package checkpoint

import (
	"encoding/binary"
	"fmt"
)

// markName begins the keys under which marks are handed to [Load], in order.
const markName = "m/"

// MarkEntry is what a session yields for the mark of a durable message that
// the state does not cover: the n-th, from 0. A mark that cannot be read is a
// fatal error.
func MarkEntry(n int, mark []byte) (Entry, error) {
	_, body, err := unseal(markName, mark)
	if err != nil {
		return Entry{}, damaged(markName, err)
	}
	r := reader{b: body}
	prefix := string(r.bytes(r.count(1)))
	if r.bad {
		return Entry{}, damaged(markName, errDamaged)
	}
	return Entry{Key: fmt.Sprintf("%s%s%010d", prefix, markName, n), Value: mark}, nil
}

// newMark begins a mark of the stream with a prefix.
func newMark(prefix string) []byte {
	b := binary.AppendUvarint([]byte{encodingVersion}, uint64(len(prefix)))
	return append(b, prefix...)
}
