package file

import (
	"context"
	"errors"
	"fmt"
	"os"

	"connector/internal/failpoint"
	"connector/internal/fault"
)

// rotateIfDue puts a file away that has its size.
func (s *session) rotateIfDue(ctx context.Context) error {
	if s.sink.rotate <= 0 || s.position.Length < s.sink.rotate {
		return nil
	}
	return s.rotate(ctx)
}

// rotate puts the file away under the next number and begins a new one: that
// it does so is saved, the file renamed, a new one made, and that is saved. From
// wherever it is interrupted, finishRotation goes on.
func (s *session) rotate(ctx context.Context) error {
	numbers, err := rotatedFiles(s.sink.path)
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.FileRotate)
	p := s.position
	p.Rotating = p.Rotated + 1
	if n := len(numbers); n > 0 {
		p.Rotating = max(p.Rotating, numbers[n-1]+1)
	}
	if err := s.save(ctx, nil, p); err != nil {
		return fmt.Errorf("saving that the file is put away: %w", err)
	}
	failpoint.Hit(failpoint.FileRotating)
	return s.finishRotation(ctx)
}

// renamed reports whether the file that is being put away has its new name. The
// user may have moved it on.
func (s *session) renamed() (bool, error) {
	put, err := sizeOf(rotatedName(s.position.Path, s.position.Rotating))
	if err != nil {
		return false, err
	}
	there, err := sizeOf(s.position.Path)
	return put >= 0 || there < 0 || there == 0 && s.position.Length > 0, err
}

func (s *session) finishRotation(ctx context.Context) error {
	path, n := s.position.Path, s.position.Rotating
	renamed, err := s.renamed()
	if err != nil {
		return err
	}
	if !renamed {
		if err := os.Rename(path, rotatedName(path, n)); err != nil {
			return fmt.Errorf("putting the file away: %w", err)
		}
	}
	if err := syncFolder(path); err != nil {
		return err
	}
	failpoint.Hit(failpoint.FileRenamed)
	file, err := openFile(path)
	if err != nil {
		return err
	}
	length, err := size(file)
	if err == nil && length > 0 {
		err = fault.Fatal(fmt.Errorf("file %s, which is to be begun anew, holds what the connector did not write", path), "move it away, or set another FILE_PATH")
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	failpoint.Hit(failpoint.FileCreated)
	if err := s.save(ctx, nil, position{Path: path, Rotated: n}); err != nil {
		return errors.Join(fmt.Errorf("saving that the file was put away: %w", err), file.Close())
	}
	failpoint.Hit(failpoint.FileRotated)
	old := s.file
	s.file = file
	s.sink.opts.Log.Info("the file was put away", "path", rotatedName(path, n))
	s.sink.announce(0)
	if old != nil {
		return old.Close()
	}
	return nil
}
