package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// newest opens the file at the path, if there is one, and lists what was put
// away since it was called last.
func (t *tail) newest() error {
	for {
		file, err := os.Open(t.path)
		if errors.Is(err, fs.ErrNotExist) {
			file, err = nil, nil
		}
		if err != nil {
			return err
		}
		put, err := rotatedFiles(t.path)
		put = slices.DeleteFunc(put, func(n uint64) bool { return n <= t.known })
		meanwhile := file != nil && slices.ContainsFunc(put, func(n uint64) bool { return is(file, rotatedName(t.path, n)) })
		if err == nil && !meanwhile {
			if n := len(put); n > 0 {
				t.known = put[n-1]
			}
			t.put, t.file, t.name, t.offset, t.line = put, file, filepath.Base(t.path), 0, 0
			return nil
		}
		if file != nil { // when it was put away meanwhile, there is a newer one
			err = errors.Join(err, file.Close())
		}
		if err != nil {
			return err
		}
	}
}

// is reports whether file is the one at path.
func is(file *os.File, path string) bool {
	have, err := file.Stat()
	there, thereErr := os.Stat(path)
	return err == nil && thereErr == nil && os.SameFile(have, there)
}

// readPut reads the files that were put away. One that was moved or deleted
// meanwhile is left out.
func (t *tail) readPut(ctx context.Context) error {
	for _, n := range t.put {
		path := rotatedName(t.path, n)
		file, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("opening file: %w", err)
		}
		one := &tail{file: file, name: filepath.Base(path), opts: t.opts, yield: t.yield}
		length, err := size(file)
		if err == nil {
			err = one.read(ctx, length)
		}
		if err := errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
	t.put = nil
	return nil
}

// readNewest reads what is committed of the newest file. When that was put
// away meanwhile, it opens what came after and reports that there is more.
func (t *tail) readNewest(ctx context.Context) (more bool, err error) {
	if t.file == nil {
		err := t.newest()
		return t.file != nil, err
	}
	end, gone, err := t.end(ctx)
	if err != nil {
		return false, err
	}
	if end < t.offset {
		if err := t.skipTo(end); err != nil {
			return false, err
		}
	}
	if err := t.read(ctx, end); err != nil || !gone || !t.opts.Follow {
		return false, err
	}
	old := t.file
	t.skipKnown(old)
	if err := errors.Join(t.newest(), old.Close()); err != nil {
		return false, err
	}
	return t.file != nil, nil
}

// skipKnown leaves out of what newest lists next the file that was read, under
// its new name, and what is older.
func (t *tail) skipKnown(read *os.File) {
	numbers, _ := rotatedFiles(t.path)
	for _, n := range numbers {
		if n > t.known && is(read, rotatedName(t.path, n)) {
			t.known = n
			return
		}
	}
}

// end returns up to where the newest file is to be read, and whether there is
// another one at its path by now: then it is complete.
func (t *tail) end(ctx context.Context) (end int64, gone bool, err error) {
	length, err := size(t.file)
	if err != nil {
		return 0, false, err
	}
	if end = length; length > t.offset {
		if end, err = t.bound.of(ctx, length); err != nil {
			return 0, false, err
		}
		end = max(end, t.offset) // what was read stays so
	}
	if is(t.file, t.path) || !t.begun() { // looked at last: what was said of another file does not count
		return end, false, nil
	}
	length, err = size(t.file)
	return length, true, err
}

// begun reports whether there is a file at the path.
func (t *tail) begun() bool {
	length, err := sizeOf(t.path)
	return err == nil && length >= 0
}
