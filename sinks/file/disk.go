package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"connector/internal/fault"
)

const pathRemedy = "check FILE_PATH: its folder must exist and be writable"

// openFile opens a file to append to, and creates it if need be.
func openFile(path string) (*os.File, error) {
	_, err := os.Stat(path)
	created := errors.Is(err, fs.ErrNotExist)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault.Fatal(fmt.Errorf("opening file: %w", err), pathRemedy)
	}
	if created {
		err = syncFolder(path)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// checkRegular refuses what is there and no regular file; opening a pipe would wait for a reader.
func checkRegular(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return fault.Fatal(fmt.Errorf("%s is not a regular file", path), "set FILE_PATH to a file, or CONNECTOR_SINK=stdout to write to standard output")
	}
	return nil
}

// syncFolder makes the names of the files beside path durable.
func syncFolder(path string) error {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("opening folder: %w", err)
	}
	if err := errors.Join(folder.Sync(), folder.Close()); err != nil {
		return fmt.Errorf("syncing folder of %s: %w", path, err)
	}
	return nil
}

// sizeOf returns the size of the file at path, -1 when there is none.
func sizeOf(path string) (int64, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return -1, nil
	case err != nil:
		return 0, fmt.Errorf("looking at the file: %w", err)
	}
	return info.Size(), nil
}

func size(file *os.File) (int64, error) {
	info, err := file.Stat()
	if err != nil {
		return 0, fmt.Errorf("looking at the file: %w", err)
	}
	return info.Size(), nil
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

// lineStart begins every line of this package.
var lineStart = []byte(`{"specversion":"1.0"`)

// isOurs reports whether what lies between two offsets is the beginning of a
// line of this package, or zeros that a crash of the system left.
func isOurs(r io.ReaderAt, start, end int64) (bool, error) {
	head := make([]byte, min(int64(len(lineStart)), end-start))
	if _, err := r.ReadAt(head, start); err != nil {
		return false, err
	}
	return bytes.HasPrefix(lineStart, head) || len(bytes.Trim(head, "\x00")) == 0, nil
}

// cut removes what lies behind end, for good. A file that is shorter stays so.
func cut(file *os.File, end int64) error {
	length, err := size(file)
	if err != nil || length < end {
		return err
	}
	if err := errors.Join(file.Truncate(end), file.Sync()); err != nil {
		return fmt.Errorf("cutting off what was not committed from file %s: %w", file.Name(), err)
	}
	return nil
}

// numberDigits is how many digits the number of a file has at least.
const numberDigits = 6

// rotatedName names the file number n that was put away.
func rotatedName(path string, n uint64) string { return fmt.Sprintf("%s.%0*d", path, numberDigits, n) }

// rotatedFiles returns the numbers of the files that were put away and are
// still there, ascending.
func rotatedFiles(path string) ([]uint64, error) {
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("looking for files that were put away: %w", err)
	}
	var numbers []uint64
	for _, f := range files {
		digits, ok := strings.CutPrefix(f.Name(), filepath.Base(path)+".")
		n, err := strconv.ParseUint(digits, 10, 64)
		if ok && err == nil && f.Name() == filepath.Base(rotatedName(path, n)) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}
