package checkpoint

import (
	"encoding/binary"
	"time"

	"connector/sources"
)

// name is what a record is called, as its hash does not tell, and when it was
// created. Of streams whose records leave, the ledger names those that are
// dated and not terminal.
type name struct {
	id      string        // 1 to maxName bytes
	created time.Duration // since the bucket's block began
	missing int64         // Unix seconds of the reading that it was absent from, of a missing record
}

// maxName is the longest id of an event. A record with a longer one has no name.
const maxName = 512

// nameOf returns the name of a record of bucket k, and false if it has none:
// so it cannot be told whether the record left.
func (l *Ledger) nameOf(r sources.Record, k bucketKey) (name, bool) {
	named := l.leaves && !k.undated && r.Fault == nil && !r.Moves && r.ID != "" && len(r.ID) <= maxName &&
		dated(r) && blockOf(r.Created) == k.block
	return name{id: r.ID, created: r.Created.Sub(k.block.start())}, named
}

// size is at least what the encoding of a name takes.
func (n name) size() int { return len(n.id) + 2*binary.MaxVarintLen32 + 2 }

// appendName writes the name of a record in a state.
func appendName(b []byte, s state, n name) []byte {
	b = append(binary.AppendUvarint(b, uint64(len(n.id))), n.id...)
	b = binary.AppendUvarint(b, uint64(n.created))
	if s == missing {
		b = binary.AppendVarint(b, n.missing)
	}
	return b
}

// name reads what appendName wrote; id is a part of the reader's bytes.
func (r *reader) name(s state) (id []byte, n name) {
	id = r.bytes(r.count(1))
	n.created = time.Duration(r.uvarint())
	if s == missing {
		n.missing = r.varint()
	}
	if len(id) == 0 || len(id) > maxName || n.created < 0 || n.created >= blockSeconds*time.Second {
		r.fail()
	}
	return id, n
}
