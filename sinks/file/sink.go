// Package file is the sink that appends messages to a file, or writes them to
// standard output, one JSON object per line.
//
// Each line is a CloudEvents 1.0 event in structured mode (the JSON format).
// Dead letters stand among the events, with type delivery.deadletter, so that
// one file, one order and one fsync hold all that was published.
package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/gofrs/flock"

	"connector/checkpoint"
	"connector/internal/fault"
	"connector/internal/filelock"
	"connector/sinks"
)

const (
	maxMessages = 1000 + checkpoint.MaxEntries
	lockSuffix  = ".lock"
)

var errClosed = errors.New("sink is closed")

// sink is a file that no other process appends to.
type sink struct {
	opts   sinks.Options
	path   string // absolute
	rotate int64  // size from which on the file is put away; 0: never
	lock   *flock.Flock
	taken  atomic.Bool // whether a session is open
}

// NewSink locks the file, by one beside it named <path>.lock. Messages are
// appended and synced before opts.Store saves, as one, the state and how far
// the file goes: opening a unit cuts off what lies behind. The file holds one
// unit.
func NewSink(cfg Config, opts sinks.Options) (sinks.Sink, error) {
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return nil, fault.Fatal(fmt.Errorf("finding file %s: %w", cfg.Path, err), "set FILE_PATH to an absolute path")
	}
	if err := checkRegular(path); err != nil {
		return nil, err
	}
	lock, err := filelock.Acquire(path + lockSuffix)
	switch {
	case errors.Is(err, filelock.ErrHeld):
		return nil, fault.Fatal(fmt.Errorf("file %s is %w", cfg.Path, filelock.ErrHeld), "stop the other connector or set another FILE_PATH")
	case err != nil:
		return nil, fault.Fatal(err, pathRemedy)
	}
	return &sink{opts: opts, path: path, rotate: int64(cfg.RotateBytes), lock: lock}, nil
}

// Guarantee implements [sinks.Sink]. Locks keep other owners out.
func (s *sink) Guarantee() sinks.Guarantee { return sinks.ExactlyOnce }

// Close implements [sinks.Sink].
func (s *sink) Close() error { return s.lock.Close() }

// Open implements [sinks.Sink].
func (s *sink) Open(ctx context.Context, unit string) (_ sinks.Session, err error) {
	if s.taken.Swap(true) {
		return nil, fault.Fatal(fmt.Errorf("file %s serves another unit than %s", s.path, unit), "set another FILE_PATH")
	}
	n := &session{sink: s}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	store, err := s.opts.Store(ctx, unit)
	if err != nil {
		return nil, fmt.Errorf("opening checkpoint of unit %s: %w", unit, err)
	}
	n.store = store
	if err := n.open(ctx); err != nil {
		return nil, err
	}
	return n, nil
}

// announce tells readers how far the file is committed, by the content of the
// lock file: it counts while the lock is held. Where that fails, they read on
// with the next commit.
func (s *sink) announce(length int64) {
	f, err := os.OpenFile(s.path+lockSuffix, os.O_WRONLY, 0)
	if err != nil {
		return
	}
	_, _ = fmt.Fprintf(f, announced, length)
	_ = f.Close()
}

// announced is the content of the lock file, always of the same length.
const announced = "committed %019d\n"
