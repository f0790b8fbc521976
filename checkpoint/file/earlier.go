package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	bolt "go.etcd.io/bbolt"

	"connector/checkpoint"
)

// importedSuffix is added to the name of a checkpoint that was imported.
const importedSuffix = ".imported"

// Earlier is a checkpoint that lies in a file although the sink can keep it
// itself: of a version of this program, or of a server, that could not. The sink
// imports it once. The zero value has none.
type Earlier struct{ Dir, Unit string }

// Entries calls yield for all entries of streams, the paged ones too, and reports whether
// there is a checkpoint; key and value are only valid during the call. It
// refuses a checkpoint that another process holds.
func (e Earlier) Entries(ctx context.Context, yield func(checkpoint.Entry) error) (found bool, err error) {
	if e.Dir == "" {
		return false, nil
	}
	if _, err := os.Stat(path(e.Dir, e.Unit)); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	s, err := Open(e.Dir, e.Unit)
	if err != nil {
		return false, err
	}
	if err := checkpoint.Upgrade(ctx, s); err != nil {
		return false, errors.Join(err, s.Close())
	}
	err = s.db.View(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucket).Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if own(string(k)) {
				continue
			}
			found = true
			if err := errors.Join(ctx.Err(), yield(checkpoint.Entry{Key: string(k), Value: bytes.Clone(v)})); err != nil {
				return err
			}
		}
		return nil
	})
	return found, errors.Join(err, s.Close())
}

// Retire renames a checkpoint that was imported, so that it never is again.
func (e Earlier) Retire() error {
	name := path(e.Dir, e.Unit)
	if err := os.Rename(name, name+importedSuffix); err != nil {
		return fmt.Errorf("renaming the imported checkpoint: %w", err)
	}
	return nil
}
