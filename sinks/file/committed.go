package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"connector/checkpoint"
	checkpointfile "connector/checkpoint/file"
)

// View opens the checkpoint of the file for reading.
type View func() (checkpoint.Reader, error)

// bound tells how far a file is committed. A connector that runs says it in the
// lock file, else the checkpoint does.
type bound struct {
	path string
	view View // may be nil

	size, length int64 // the checkpoint's answer for a file of that size
}

// of returns up to where a file of a size is committed, the size where that
// cannot be told.
func (b *bound) of(ctx context.Context, size int64) (int64, error) {
	running, length, err := b.announced()
	switch {
	case err != nil:
		return 0, err
	case running && length >= 0:
		return min(size, length), nil
	case running || b.view == nil:
		return size, nil
	}
	if b.size != size || size == 0 {
		b.size, b.length = size, b.saved(ctx, size)
	}
	return b.length, nil
}

// announced returns what a connector that runs says.
func (b *bound) announced() (running bool, length int64, err error) {
	name := b.path + lockSuffix
	content, err := os.ReadFile(name)
	if err != nil { // nobody was here, or it is not to be known
		return false, 0, nil //nolint:nilerr // as the comment says
	}
	lock := flock.New(name, flock.SetFlag(os.O_RDONLY))
	free, err := lock.TryRLock()
	if err := errors.Join(err, lock.Close()); err != nil {
		return false, 0, fmt.Errorf("looking for the connector that writes %s: %w", b.path, err)
	}
	if _, err := fmt.Sscanf(string(content), announced, &length); err != nil {
		length = -1
	}
	return !free, length, nil
}

// saved returns what the checkpoint says.
func (b *bound) saved(ctx context.Context, size int64) int64 {
	state, err := b.view()
	if err != nil {
		return size
	}
	value, err := state.Get(ctx, checkpointfile.PositionKey)
	if err := errors.Join(err, state.Close()); err != nil || value == nil {
		return size
	}
	p, err := decodePosition(value)
	path, absErr := filepath.Abs(b.path)
	if err != nil || absErr != nil || p.Path != path {
		return size
	}
	return min(size, p.Length)
}
