// Package file keeps checkpoints in one bbolt file per unit.
package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"connector/checkpoint"
	"connector/internal/fault"
	"connector/internal/filelock"
)

// lockWait is how long Open waits for a process that is just ending.
const lockWait = 2 * time.Second

var bucket = []byte("state")

// PositionKey is the key under which a sink that appends to a file saves, with
// the state, how far that goes.
const PositionKey = "position"

// own reports whether an entry belongs to the unit, and to no stream of it:
// such entries are read by Get alone.
func own(key string) bool {
	return key == checkpoint.FenceKey || key == checkpoint.ManifestKey || key == PositionKey
}

// Store is a [checkpoint.Store] in a bbolt file: each Save is one fsynced
// transaction, and the file is locked while the store is open.
type Store struct{ db *bolt.DB }

// Open opens or creates <dir>/checkpoint-<unit>.db. It refuses a file that
// another process holds or that is not a checkpoint.
func Open(dir, unit string) (*Store, error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	name := path(dir, unit)
	db, err := bolt.Open(name, 0o600, &bolt.Options{Timeout: lockWait})
	if err != nil {
		return nil, openError(name, err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
	if err != nil {
		return nil, errors.Join(openError(name, err), db.Close())
	}
	return &Store{db: db}, nil
}

func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.Fatal(fmt.Errorf("creating data directory: %w", err), dirRemedy)
	}
	return nil
}

const dirRemedy = "make CONNECTOR_DATA_DIR writable"

// Prepare makes a folder for checkpoints, and tries whether a file can be made
// in it.
func Prepare(dir string) error {
	if err := makeDir(dir); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".check-*")
	if err == nil {
		err = errors.Join(f.Close(), os.Remove(f.Name()))
	}
	if err != nil {
		return fault.Fatal(fmt.Errorf("making a file in the data directory: %w", err), dirRemedy)
	}
	return nil
}

func path(dir, unit string) string { return filepath.Join(dir, "checkpoint-"+unit+".db") }

// View opens <dir>/checkpoint-<unit>.db for reading: Save fails. Several
// processes may view a checkpoint, none while one has it open. A file that does
// not exist is [fs.ErrNotExist].
func View(dir, unit string) (*Store, error) {
	name := path(dir, unit)
	db, err := bolt.Open(name, 0o600, &bolt.Options{Timeout: lockWait, ReadOnly: true})
	if err != nil {
		return nil, openError(name, err)
	}
	err = db.View(func(tx *bolt.Tx) error {
		if tx.Bucket(bucket) == nil {
			return bolterrors.ErrInvalid
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(openError(name, err), db.Close())
	}
	return &Store{db: db}, nil
}

func openError(path string, err error) error {
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return fault.Fatal(fmt.Errorf("checkpoint %s is %w", path, filelock.ErrHeld),
			"stop the other connector or set another CONNECTOR_DATA_DIR")
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return fault.Fatal(fmt.Errorf("checkpoint %s is damaged: %w", path, err),
			"restore it from a backup, or move it away to read every stream again from CONNECTOR_START (rows already published are published again)")
	}
	return fault.Fatal(fmt.Errorf("opening checkpoint %s: %w", path, err), "check CONNECTOR_DATA_DIR and its permissions")
}

// Load implements [checkpoint.Store]. It leaves out the entries of the unit
// itself: fence, manifest and position.
func (s *Store) Load(ctx context.Context, yield func(checkpoint.Entry) error) error {
	err := s.db.View(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucket).Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if err := ctx.Err(); err != nil {
				return err
			}
			if checkpoint.Paged(string(k)) || own(string(k)) {
				continue
			}
			if err := yield(checkpoint.Entry{Key: string(k), Value: v}); err != nil {
				return err
			}
		}
		return nil
	})
	release(s.db)
	return err
}

// Get implements [checkpoint.Store].
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var value []byte
	err := s.db.View(func(tx *bolt.Tx) error {
		value = bytes.Clone(tx.Bucket(bucket).Get([]byte(key)))
		return nil
	})
	release(s.db)
	if err != nil {
		return nil, fmt.Errorf("reading checkpoint %s: %w", s.db.Path(), err)
	}
	return value, nil
}

// Save implements [checkpoint.Store].
func (s *Store) Save(ctx context.Context, entries []checkpoint.Entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := s.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucket)
		for _, e := range entries {
			if err := put(b, e); err != nil {
				return err
			}
		}
		return nil
	})
	release(s.db)
	if err != nil {
		return fmt.Errorf("writing checkpoint %s: %w", s.db.Path(), err)
	}
	return nil
}

func put(b *bolt.Bucket, e checkpoint.Entry) error {
	if e.Value == nil {
		return b.Delete([]byte(e.Key))
	}
	return b.Put([]byte(e.Key), e.Value)
}

// Close implements [checkpoint.Store].
func (s *Store) Close() error { return s.db.Close() }
