// Package filelock keeps a second process off what this one writes.
package filelock

import (
	"errors"
	"fmt"
	"time"

	"github.com/gofrs/flock"
)

// patience is how long Acquire waits for a process that is just ending.
const patience = 2 * time.Second

// ErrHeld says that another process holds the lock.
var ErrHeld = errors.New("held by another process")

// Acquire creates the file, if need be, and locks it until the result is
// closed or the process ends.
func Acquire(path string) (*flock.Flock, error) {
	lock := flock.New(path, flock.SetPermissions(0o600))
	for end := time.Now().Add(patience); ; time.Sleep(patience / 20) {
		locked, err := lock.TryLock()
		switch {
		case locked:
			return lock, nil
		case err != nil:
			return nil, fmt.Errorf("locking %s: %w", path, err)
		case time.Now().After(end):
			return nil, errors.Join(fmt.Errorf("%s: %w", path, ErrHeld), lock.Close())
		}
	}
}
