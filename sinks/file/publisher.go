// Package file is the sink that appends messages to a file, or writes them to
// standard output, one JSON object per line.
//
// Each line is a CloudEvents 1.0 event in structured mode (the JSON format).
// Dead letters stand among the events, with type delivery.deadletter, so that
// one file, one order and one fsync hold all that was published.
package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"connector/internal/fault"
	"connector/internal/filelock"
	"connector/schema"
	"connector/sinks"
)

const (
	maxMessages = 1000
	lockSuffix  = ".lock"
)

// lineStart begins every line of this package.
var lineStart = []byte(`{"specversion":"1.0"`)

var errClosed = errors.New("sink is closed")

var _ sinks.Publisher = (*Publisher)(nil)

// Publisher appends to a file that no other process appends to.
type Publisher struct {
	path string
	log  *slog.Logger
	lock *flock.Flock
	file *os.File // nil after Close
	size int64    // up to which the file holds whole batches
	torn bool     // whether something that failed may lie behind size
}

// NewPublisher opens or creates the file and locks it, by a file beside it
// named <path>.lock. A line that a crash left incomplete at the end is cut off
// and said in the log; other content without a line break at the end is not
// ours, and refused.
func NewPublisher(cfg Config, log *slog.Logger) (*Publisher, error) {
	lock, err := filelock.Acquire(cfg.Path + lockSuffix)
	switch {
	case errors.Is(err, filelock.ErrHeld):
		return nil, fault.Fatal(fmt.Errorf("file %s is %w", cfg.Path, filelock.ErrHeld), "stop the other connector or set another FILE_PATH")
	case err != nil:
		return nil, fault.Fatal(err, pathRemedy)
	}
	p := &Publisher{path: cfg.Path, log: log, lock: lock}
	if err := p.open(); err != nil {
		return nil, errors.Join(err, p.lock.Close())
	}
	return p, nil
}

const pathRemedy = "check FILE_PATH: its folder must exist and be writable"

// open opens the file and cuts off a torn last line.
func (p *Publisher) open() error {
	_, err := os.Stat(p.path)
	created := errors.Is(err, fs.ErrNotExist)
	file, err := os.OpenFile(p.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fault.Fatal(fmt.Errorf("opening file: %w", err), pathRemedy)
	}
	size, err := p.repair(file)
	if err == nil && created {
		err = syncFolder(filepath.Dir(p.path))
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	p.file, p.size, p.torn = file, size, false
	return nil
}

// syncFolder makes the name of a new file durable.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening folder: %w", err)
	}
	if err := errors.Join(folder.Sync(), folder.Close()); err != nil {
		return fmt.Errorf("syncing folder %s: %w", path, err)
	}
	return nil
}

// repair cuts off a last line without a line break and returns the file's size.
func (p *Publisher) repair(file *os.File) (int64, error) {
	info, err := file.Stat()
	if err != nil {
		return 0, fmt.Errorf("opening file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return 0, fault.Fatal(fmt.Errorf("%s is not a regular file", p.path), "set FILE_PATH to a file, or CONNECTOR_SINK=stdout to write to standard output")
	}
	end, err := lastLineEnd(file, info.Size())
	if err != nil {
		return 0, fmt.Errorf("reading the end of file %s: %w", p.path, err)
	}
	if end == info.Size() {
		return end, nil
	}
	ours, err := isOurs(file, end, info.Size())
	if err != nil {
		return 0, fmt.Errorf("reading the end of file %s: %w", p.path, err)
	}
	if !ours {
		return 0, fault.Fatal(fmt.Errorf("file %s ends in the middle of a line that the connector did not write", p.path), "set another FILE_PATH, or end the file with a line break")
	}
	if err := errors.Join(file.Truncate(end), file.Sync()); err != nil {
		return 0, fmt.Errorf("cutting off the incomplete last line of file %s: %w", p.path, err)
	}
	p.log.Warn("cut off the incomplete last line of the file, left by a crash; it was not acknowledged", "path", p.path, "bytes", info.Size()-end)
	return end, nil
}

// lastLineEnd returns the offset behind the last line break before size.
func lastLineEnd(r io.ReaderAt, size int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for end := size; end > 0; {
		start := max(0, end-int64(len(buf)))
		block := buf[:end-start]
		if _, err := r.ReadAt(block, start); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(block, '\n'); i >= 0 {
			return start + int64(i) + 1, nil
		}
		end = start
	}
	return 0, nil
}

// isOurs reports whether what lies between two offsets is the beginning of a
// line of this package, or zeros that a crash of the system left.
func isOurs(r io.ReaderAt, start, end int64) (bool, error) {
	head := make([]byte, min(int64(len(lineStart)), end-start))
	if _, err := r.ReadAt(head, start); err != nil {
		return false, err
	}
	return bytes.HasPrefix(lineStart, head) || len(bytes.Trim(head, "\x00")) == 0, nil
}

// Limits implements [sinks.Publisher].
func (p *Publisher) Limits() sinks.Limits { return sinks.Limits{MaxMessages: maxMessages} }

// Guarantee implements [sinks.Publisher].
func (p *Publisher) Guarantee() sinks.Guarantee { return sinks.ExactlyOnceUnlessCrash }

// Publish appends the events, then the dead letters, and returns nil when
// they are on disk. When that fails, nothing of them stays in the file. A
// file that was moved away or deleted is made anew.
func (p *Publisher) Publish(ctx context.Context, events, dead []schema.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if p.file == nil {
		return errClosed
	}
	if len(events)+len(dead) == 0 {
		return nil
	}
	if err := p.prepare(); err != nil {
		return err
	}
	batch := lines(events, dead)
	_, err := p.file.Write(batch)
	if err == nil {
		err = p.file.Sync()
	}
	if err != nil {
		p.torn = true
		return errors.Join(fmt.Errorf("appending %d bytes to the file: %w", len(batch), err), p.cut())
	}
	p.size += int64(len(batch))
	return nil
}

func lines(events, dead []schema.Message) []byte {
	size := 0
	for _, list := range [][]schema.Message{events, dead} {
		for i := range list {
			size += len(list[i].Body) + 512
		}
	}
	batch := make([]byte, 0, size)
	for _, list := range [][]schema.Message{events, dead} {
		for i := range list {
			batch = appendLine(batch, &list[i])
		}
	}
	return batch
}

// prepare sees to it that the next batch begins a line of the file at path.
func (p *Publisher) prepare() error {
	if p.torn {
		if err := p.cut(); err != nil {
			return err
		}
	}
	have, err := p.file.Stat()
	if err != nil {
		return fmt.Errorf("looking at the file: %w", err)
	}
	there, err := os.Stat(p.path)
	if err == nil && os.SameFile(have, there) {
		p.size = have.Size() // emptied by someone, perhaps
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking at the file: %w", err)
	}
	p.log.Warn("the file was moved away or deleted; making it anew", "path", p.path)
	old := p.file
	if err := p.open(); err != nil {
		return err
	}
	if err := old.Close(); err != nil {
		return fmt.Errorf("closing the file that was moved away: %w", err)
	}
	return nil
}

// cut removes what a failed batch left.
func (p *Publisher) cut() error {
	if err := p.file.Truncate(p.size); err != nil {
		return fmt.Errorf("removing an incomplete batch from the file: %w", err)
	}
	p.torn = false
	return nil
}

// Close closes the file and releases it.
func (p *Publisher) Close() error {
	if p.file == nil {
		return nil
	}
	err := p.file.Close()
	p.file = nil
	return errors.Join(err, p.lock.Close())
}
