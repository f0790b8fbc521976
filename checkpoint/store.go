// Package checkpoint remembers what was read and published: the ledger of
// each stream, its encoding, and the stores that keep it.
package checkpoint

import (
	"context"
	"strings"
)

// Entry is one piece of state. A nil Value deletes the key.
type Entry struct {
	Key   string
	Value []byte
}

// Reader reads the durable state of one unit.
type Reader interface {
	// Load calls yield, in key order, for every entry whose key is not
	// [Paged]; key and value are only valid during the call. It stops at
	// yield's first error and returns it.
	Load(ctx context.Context, yield func(Entry) error) error
	// Get returns the value of a key, nil when there is none. The caller keeps
	// the value and does not change it. Get may be called from several
	// goroutines, also while Save runs.
	Get(ctx context.Context, key string) ([]byte, error)
	Close() error
}

// Store keeps the state of one unit. One process holds a unit at a time: the
// constructor of a store refuses a unit that is held. Close releases it.
type Store interface {
	Reader
	// Save makes all entries durable, or none.
	Save(ctx context.Context, entries []Entry) error
}

// Paged reports whether the entry of a key is read by [Store.Get] when it is
// needed, and not at the start: such entries are most of the state.
func Paged(key string) bool {
	parts := strings.SplitN(key, "/", 4)
	return len(parts) == 4 && (parts[2]+"/" == bucketName || parts[2]+"/" == saveName)
}
