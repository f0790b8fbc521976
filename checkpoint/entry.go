package checkpoint

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// entry is what the ledger keeps of one record, under the hash of its id: the
// latest version.
type entry struct {
	print    uint64 // 48 bits
	prev     uint32 // 32 bits of the print before it; 0 when there is none
	rank     uint32 // see foldRank
	revision uint16 // of the latest event; at most maxRevision
	state    state
	dead     bool // whether the latest version became a dead letter, and no event
	owing    bool // whether an unreadable version after it did
	named    bool // whether a name goes with it; see name
	wasOpen  bool // in deltas: whether the stored bucket holds the record as one that may change
}

// state is what is known of a record's presence in the log.
type state uint8

const (
	present  state = iota // and may change
	missing               // may change, and was absent from a reading that should have shown it
	terminal              // will not change
	left                  // reported as left; may come back, and did if its latest version is dead
)

func (e entry) open() bool { return e.state != terminal }

// unresolved reports whether a dead letter of the record was followed by no event.
func (e entry) unresolved() bool { return e.dead || e.owing }

// An entry takes 24 bytes with its id: id 8, print 6, prev 4, rank 4, and 2
// for the state, the flags and the revision.
const (
	entrySize   = 24
	maxRevision = 1<<10 - 1
	stateShift  = 14
	flagWasOpen = 1 << 13
	flagNamed   = 1 << 12
	flagDead    = 1 << 11
	flagOwing   = 1 << 10
)

func appendEntry(b []byte, id uint64, e entry) []byte {
	last := e.revision&maxRevision | uint16(e.state)<<stateShift
	if e.named {
		last |= flagNamed
	}
	if e.wasOpen {
		last |= flagWasOpen
	}
	if e.dead {
		last |= flagDead
	}
	if e.owing {
		last |= flagOwing
	}
	b = binary.BigEndian.AppendUint64(b, id)
	b = binary.BigEndian.AppendUint16(b, uint16(e.print>>32))
	b = binary.BigEndian.AppendUint32(b, uint32(e.print))
	b = binary.BigEndian.AppendUint32(b, e.prev)
	b = binary.BigEndian.AppendUint32(b, e.rank)
	return binary.BigEndian.AppendUint16(b, last)
}

// entryAt reads the entry at the beginning of b.
func entryAt(b []byte) (id uint64, e entry) {
	last := binary.BigEndian.Uint16(b[22:])
	return binary.BigEndian.Uint64(b), entry{
		print: uint64(binary.BigEndian.Uint16(b[8:]))<<32 | uint64(binary.BigEndian.Uint32(b[10:])),
		prev:  binary.BigEndian.Uint32(b[14:]), rank: binary.BigEndian.Uint32(b[18:]),
		revision: last & maxRevision, state: state(last >> stateShift), named: last&flagNamed != 0, wasOpen: last&flagWasOpen != 0,
		dead: last&flagDead != 0, owing: last&flagOwing != 0,
	}
}

// shift is what the entry of a delta adds to the open records of its bucket.
func (e entry) shift() int {
	n := 0
	if e.open() {
		n++
	}
	if e.wasOpen {
		n--
	}
	return n
}

// Ranks are versions below firstTime, and times in Unix milliseconds from
// there on.
const (
	firstTime = 1 << 31
	lastTime  = 253402300799999 // the year 9999 ends
	fineTimes = 1 << 30
)

// CheckRank refuses a rank that the ledger cannot keep in order: it takes
// versions from 0 to 2^31-1 and, above, Unix milliseconds up to the year 9999.
func CheckRank(rank int64) error {
	if rank < 0 || rank > lastTime {
		return fmt.Errorf("rank %d is neither a version from 0 to 2^31-1 nor a time in milliseconds up to the year 9999", rank)
	}
	return nil
}

// foldRank maps a rank to 32 bits and keeps the order of the ranks of one
// record. Versions stay as they are. Times count from the bucket's,
// which never changes for a record: by the millisecond for 12 days, then by
// the second for 34 years. Ranks that fold to the same, such as all times
// before the bucket's, count as equal.
func foldRank(rank int64, from block) uint32 {
	if rank < firstTime {
		return uint32(max(rank, 0))
	}
	after := max(0, min(rank, lastTime)-from.start().UnixMilli())
	if after >= fineTimes {
		after = min(fineTimes+(after-fineTimes)/1000, 2*fineTimes-1)
	}
	return firstTime + uint32(after)
}

// hash is the 8 bytes that stand for a text in the ledger. Empty text gives
// 0, which no other text does in practice.
func hash(s string) uint64 {
	if s == "" {
		return 0
	}
	sum := sha256.Sum256([]byte(s))
	return binary.BigEndian.Uint64(sum[:])
}
