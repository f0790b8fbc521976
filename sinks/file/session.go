package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"connector/checkpoint"
	checkpointfile "connector/checkpoint/file"
	"connector/internal/failpoint"
	"connector/internal/fault"
	"connector/internal/wait"
	"connector/schema"
	"connector/sinks"
)

// session appends messages to the file and then saves, as one, the state and
// the length of the file.
type session struct {
	sink     *sink
	store    checkpoint.Store // nil before it is open and after Close
	unit     *checkpoint.Unit
	file     *os.File // nil while there is none
	position position // as it is saved
	torn     bool     // whether something that failed may lie behind it
	unknown  error    // set once a commit was left in doubt
}

// Limits implements [sinks.Session].
func (s *session) Limits() sinks.Limits { return sinks.Limits{MaxMessages: maxMessages} }

// Recover implements [sinks.Session].
func (s *session) Recover(ctx context.Context, yield func(checkpoint.Entry) error) error {
	return s.store.Load(ctx, yield)
}

// Get implements [sinks.Session].
func (s *session) Get(ctx context.Context, key string) ([]byte, error) { return s.store.Get(ctx, key) }

// Commit implements [sinks.Session]. A file that was moved away or deleted is
// made anew, and one that someone changed is continued at its end.
func (s *session) Commit(ctx context.Context, c sinks.Commit) error {
	if s.unknown != nil {
		return s.unknown
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.store == nil {
		return errClosed
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	next := s.position
	if len(c.Events)+len(c.Dead) > 0 {
		if err := s.rotateIfDue(ctx); err != nil {
			return err
		}
		failpoint.Hit(failpoint.FileAppend)
		var err error
		if next, err = s.append(lines(c.Events, c.Dead)); err != nil {
			s.torn = true
			return errors.Join(err, s.cut())
		}
		failpoint.Hit(failpoint.FileSynced)
	}
	if err := s.saveCommit(ctx, c.State, next); err != nil {
		return err
	}
	failpoint.Hit(failpoint.FileSaved)
	s.unit.Committed()
	s.sink.announce(next.Length)
	return nil
}

// append writes a batch and syncs it. Where it lies is asked: someone may have
// emptied the file a moment ago.
func (s *session) append(batch []byte) (position, error) {
	p := s.position
	_, err := s.file.Write(batch)
	failpoint.Hit(failpoint.FileWritten)
	if err == nil {
		err = s.file.Sync()
	}
	if err == nil {
		p.Length, err = s.file.Seek(-int64(len(batch)), io.SeekCurrent)
	}
	if err != nil {
		return s.position, fmt.Errorf("appending %d bytes to the file: %w", len(batch), err)
	}
	return p.after(s.file, batch)
}

// savePause lies between two attempts to save what may be saved already.
const savePause = 100 * time.Millisecond

// saveCommit saves what belongs to what was appended: ctx must not cut that
// short. When it fails and the store shows the old state, the file is cut; when
// it shows the new one, that is saved until it is durable.
func (s *session) saveCommit(ctx context.Context, state []checkpoint.Entry, next position) error {
	entries, fence := s.unit.Commit(state, time.Now()), s.unit.Next().Encode()
	ctx, ending := context.WithoutCancel(ctx), ctx
	for {
		err := s.save(ctx, entries, next)
		if err == nil {
			return nil
		}
		stored, getErr := s.store.Get(ctx, checkpoint.FenceKey)
		switch {
		case getErr == nil && !bytes.Equal(stored, fence) && next == s.position:
			return err
		case getErr == nil && !bytes.Equal(stored, fence):
			s.torn = true
			return errors.Join(err, s.cut())
		}
		s.sink.opts.Log.Warn("it is not known whether a commit was saved; saving it again", "error", err)
		if wait.For(ending, savePause) != nil {
			s.unknown = fmt.Errorf("a commit was left in doubt: %w", err)
			return ending.Err()
		}
	}
}

// save saves entries and the position as one.
func (s *session) save(ctx context.Context, entries []checkpoint.Entry, p position) error {
	err := s.store.Save(ctx, append(slices.Clip(entries), checkpoint.Entry{Key: checkpointfile.PositionKey, Value: p.encode()}))
	if err == nil {
		s.position = p
	}
	return err
}

// cut removes what a failed batch left.
func (s *session) cut() error {
	if err := cut(s.file, s.position.Length); err != nil {
		return err
	}
	s.torn = false
	return nil
}

// prepare sees to it that there is a file at the path, that it ends where a
// batch may begin, and that the checkpoint knows it.
func (s *session) prepare(ctx context.Context) error {
	if s.torn {
		if err := s.cut(); err != nil {
			return err
		}
	}
	if s.position.Rotating != 0 {
		return s.finishRotation(ctx)
	}
	return s.keepUp(ctx)
}

// keepUp follows what was done to the file behind the back of this process.
func (s *session) keepUp(ctx context.Context) error {
	there, err := sizeOf(s.sink.path)
	if err != nil {
		return err
	}
	same, err := s.isOpen()
	if err != nil || same && there == s.position.Length {
		return err
	}
	p := position{Path: s.sink.path, Rotated: s.position.Rotated}
	switch log := s.sink.opts.Log; {
	case there < 0:
		log.Warn("the file was moved away or deleted; making it anew", "path", p.Path)
		if err := s.save(ctx, nil, p); err != nil { // else a crash would leave it shorter than saved
			return fmt.Errorf("saving that the file is gone: %w", err)
		}
	case !same:
		log.Warn("there is another file in place of the one that was written; going on at its end", "path", p.Path)
	default:
		log.Warn("someone else changed the file; going on at its end", "path", p.Path, "bytes", there, "committed", s.position.Length)
	}
	old, saved := s.file, s.position
	if err := s.adopt(p); err != nil {
		return err
	}
	p, s.position = s.position, saved
	if err := errors.Join(s.save(ctx, nil, p), old.Close()); err != nil {
		return fmt.Errorf("going on in a changed file: %w", err)
	}
	return nil
}

// isOpen reports whether the file at the path is the open one.
func (s *session) isOpen() (bool, error) {
	have, err := s.file.Stat()
	if err != nil {
		return false, fmt.Errorf("looking at the file: %w", err)
	}
	there, err := os.Stat(s.sink.path)
	return err == nil && os.SameFile(have, there), nil
}

// repair cuts off a last line without a line break and returns the file's size.
func (s *session) repair(file *os.File) (int64, error) {
	length, err := size(file)
	if err != nil {
		return 0, err
	}
	end, err := lastLineEnd(file, length)
	if err != nil {
		return 0, fmt.Errorf("reading the end of file %s: %w", file.Name(), err)
	}
	if end == length {
		return end, nil
	}
	ours, err := isOurs(file, end, length)
	if err != nil {
		return 0, fmt.Errorf("reading the end of file %s: %w", file.Name(), err)
	}
	if !ours {
		return 0, fault.Fatal(fmt.Errorf("file %s ends in the middle of a line that the connector did not write", file.Name()), "set another FILE_PATH, or end the file with a line break")
	}
	if err := cut(file, end); err != nil {
		return 0, err
	}
	s.sink.opts.Log.Warn("cut off the incomplete last line of the file, left by a crash; it was not acknowledged", "path", file.Name(), "bytes", length-end)
	return end, nil
}

// lines returns the lines of a commit, of events first.
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

// Close implements [sinks.Session].
func (s *session) Close() error {
	var errs []error
	if s.file != nil {
		errs = append(errs, s.file.Close())
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	s.file, s.store = nil, nil
	s.sink.taken.Store(false)
	return errors.Join(errs...)
}
