// Package checkpoint remembers what was read and published: the ledger of
// each stream, its encoding, and the stores that keep it.
package checkpoint

import "context"

// Entry is one piece of state. A nil Value deletes the key.
type Entry struct {
	Key   string
	Value []byte
}

// Store keeps the state of one unit. One process holds a unit at a time: the
// constructor of a store refuses a unit that is held.
type Store interface {
	// Load calls yield for every entry in key order; key and value are only
	// valid during the call. It stops at yield's first error and returns it.
	Load(ctx context.Context, yield func(Entry) error) error
	// Save makes all entries durable, or none.
	Save(ctx context.Context, entries []Entry) error
	// Close releases the unit.
	Close() error
}
