package file

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connector/checkpoint"
	checkpointfile "connector/checkpoint/file"
	"connector/internal/failpoint"
	"connector/internal/fault"
	"connector/internal/filelock"
)

// open brings the file to what the checkpoint says and takes the unit over.
func (s *session) open(ctx context.Context) error {
	fence, err := s.store.Get(ctx, checkpoint.FenceKey)
	if err != nil {
		return err
	}
	saved, err := s.store.Get(ctx, checkpointfile.PositionKey)
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.FileOpen)
	var state []checkpoint.Entry
	switch {
	case fence == nil && saved == nil:
		state, err = s.begin(ctx)
	default:
		err = s.resume(ctx, saved)
	}
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.FileTakeover)
	if err := s.save(ctx, s.unit.Commit(state, time.Now()), s.position); err != nil {
		return fmt.Errorf("taking over the checkpoint of file %s: %w", s.sink.path, err)
	}
	s.unit.Committed()
	failpoint.Hit(failpoint.FileTaken)
	s.sink.announce(s.position.Length)
	return nil
}

// begin takes the file as it is: one without a checkpoint when it is empty, and one
// whose checkpoint tells nothing of it, as an earlier version of this program
// saved it. It returns the state of the latter.
func (s *session) begin(ctx context.Context) ([]checkpoint.Entry, error) {
	if err := checkpoint.Upgrade(ctx, s.store); err != nil {
		return nil, err
	}
	var state []checkpoint.Entry
	streams, err := checkpoint.Read(ctx, s.store.Load)
	if err != nil {
		return nil, fmt.Errorf("reading checkpoint: %w", err)
	}
	for _, entries := range streams {
		state = append(state, entries...)
	}
	s.unit = checkpoint.NewUnit(s.sink.opts.Owner)
	if len(state) == 0 && !s.sink.opts.New {
		held, err := s.sink.holdsEvents()
		if err != nil {
			return nil, err
		}
		if held {
			return nil, checkpoint.NoUnit("file " + s.sink.path)
		}
	}
	return state, s.adopt(position{Path: s.sink.path})
}

func (s *sink) holdsEvents() (bool, error) {
	size, err := sizeOf(s.path)
	if size > 0 || err != nil {
		return size > 0, err
	}
	rotated, err := rotatedFiles(s.path)
	return len(rotated) > 0, err
}

// adopt opens the file, as the one of p, and goes on behind its last line.
func (s *session) adopt(p position) error {
	file, err := openFile(p.Path)
	if err != nil {
		return err
	}
	end, err := s.repair(file)
	if err == nil {
		p, err = p.at(file, end)
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	s.file, s.position = file, p
	return nil
}

// resume opens the file that the checkpoint tells of.
func (s *session) resume(ctx context.Context, saved []byte) error {
	var failed error
	unit, err := checkpoint.LoadUnit(s.sink.opts.Owner, func(key string) []byte {
		value, err := s.store.Get(ctx, key)
		failed = errors.Join(failed, err)
		return value
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		return err
	}
	s.unit = unit
	if s.position, err = decodePosition(saved); err != nil {
		return err
	}
	if s.position.Path != s.sink.path && !s.follows() {
		return s.elsewhere()
	}
	if s.position.Rotating == 0 {
		return s.settle()
	}
	renamed, err := s.renamed()
	if err == nil && !renamed {
		err = s.settle()
	}
	if err != nil {
		return err
	}
	return s.finishRotation(ctx)
}

const lostRemedy = "restore it, or set another FILE_PATH to go on in a new file"

// settle opens the file and cuts off what was never committed.
func (s *session) settle() error {
	p := s.position
	there, err := sizeOf(p.Path)
	switch {
	case err != nil:
		return err
	case there < 0 && p.Length > 0:
		return fault.Fatal(fmt.Errorf("file %s, of which %d bytes were committed, is gone", p.Path, p.Length), lostRemedy)
	case there >= 0 && there < p.Length:
		return fault.Fatal(fmt.Errorf("file %s has %d bytes, fewer than the %d that were committed", p.Path, there, p.Length), lostRemedy)
	}
	if s.file, err = openFile(p.Path); err != nil {
		return err
	}
	end, err := p.at(s.file, p.Length)
	if err != nil {
		return err
	}
	if end != p {
		return fault.Fatal(fmt.Errorf("file %s is not the one that was written: what lies before byte %d has changed", p.Path, p.Length), lostRemedy)
	}
	if there <= p.Length {
		return nil
	}
	ours, err := isOurs(s.file, p.Length, there)
	if err != nil {
		return fmt.Errorf("reading the end of file %s: %w", p.Path, err)
	}
	if !ours {
		return fault.Fatal(fmt.Errorf("behind byte %d, file %s holds what the connector did not write", p.Length, p.Path), "remove it, or set another FILE_PATH")
	}
	if err := cut(s.file, p.Length); err != nil {
		return err
	}
	s.sink.opts.Log.Warn("cut off the end of the file, of a commit that was interrupted", "path", p.Path, "bytes", there-p.Length)
	failpoint.Hit(failpoint.FileCut)
	return nil
}

// follows reports whether the file at another path than before is the one that
// was written, moved or mounted there, and takes it for that.
func (s *session) follows() bool {
	p := s.position
	p.Path = s.sink.path
	if there, err := sizeOf(p.Path); err != nil || there < p.Length || p.Length == 0 {
		return false
	}
	file, err := openFile(p.Path)
	if err != nil {
		return false
	}
	end, err := p.at(file, p.Length)
	if err = errors.Join(err, file.Close()); err != nil || end != p {
		return false
	}
	s.position = p
	return true
}

// elsewhere goes on in another file than the one that the checkpoint tells of.
// There, what was never committed is cut off all the same, as far as the file
// is still what it was.
func (s *session) elsewhere() error {
	was := *s
	lock, err := filelock.Acquire(s.position.Path + lockSuffix)
	if err == nil {
		if there, _ := sizeOf(s.position.Path); there > s.position.Length {
			err = was.settle()
		}
		if was.file != nil {
			err = errors.Join(err, was.file.Close())
		}
		err = errors.Join(err, lock.Close())
	}
	if err != nil {
		s.sink.opts.Log.Warn("the file that was written before was left as it is", "path", s.position.Path, "error", err)
	}
	s.sink.opts.Log.Warn("FILE_PATH has changed: going on in another file, at its end", "before", s.position.Path, "path", s.sink.path)
	return s.adopt(position{Path: s.sink.path})
}
