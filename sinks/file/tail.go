package file

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"connector/internal/fault"
	"connector/sinks"
)

const (
	pollInterval = 100 * time.Millisecond
	maxLine      = 256 << 20 // no line the connector writes comes near
)

// Tail reads the file of cfg and calls yield for each message in it. It
// returns nil at the end when it does not follow, yield's first error, or
// ctx's when that ends. A follower reads a line once it is complete; it keeps
// to the file it opened, and goes back when that becomes shorter.
func Tail(ctx context.Context, cfg Config, opts sinks.TailOptions, yield func(sinks.Received) error) error {
	file, err := os.Open(cfg.Path)
	if err != nil {
		return fault.Fatal(fmt.Errorf("opening file: %w", err), "check FILE_PATH; connector run creates the file")
	}
	t := &tail{file: file, name: filepath.Base(cfg.Path), opts: opts, yield: yield}
	return errors.Join(t.run(ctx), file.Close())
}

// tail is one reader.
type tail struct {
	file   *os.File
	name   string
	opts   sinks.TailOptions
	yield  func(sinks.Received) error
	offset int64 // behind the last line read
	line   int   // its number
}

func (t *tail) run(ctx context.Context) error {
	size, err := t.size()
	if err != nil {
		return err
	}
	if !t.opts.FromStart {
		if err := t.skipTo(size); err != nil {
			return err
		}
	}
	for {
		if err := t.read(ctx, size); err != nil || !t.opts.Follow {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pollInterval):
		}
		if size, err = t.size(); err != nil {
			return err
		}
		if size < t.offset {
			if err := t.skipTo(size); err != nil {
				return err
			}
		}
	}
}

func (t *tail) size() (int64, error) {
	info, err := t.file.Stat()
	if err != nil {
		return 0, fmt.Errorf("looking at the file: %w", err)
	}
	return info.Size(), nil
}

// skipTo moves behind the last whole line before size, and counts the lines.
func (t *tail) skipTo(size int64) error {
	end, err := lastLineEnd(t.file, size)
	if err != nil {
		return fmt.Errorf("reading the file: %w", err)
	}
	t.offset, t.line = end, 0
	buf := make([]byte, 1<<20)
	for r := io.NewSectionReader(t.file, 0, end); ; {
		n, err := r.Read(buf)
		t.line += bytes.Count(buf[:n], []byte{'\n'})
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the file: %w", err)
		}
	}
}

// read yields the whole lines between offset and size.
func (t *tail) read(ctx context.Context, size int64) error {
	r := bufio.NewReaderSize(io.NewSectionReader(t.file, t.offset, size-t.offset), 256<<10)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, err := readLine(r)
		if errors.Is(err, io.EOF) { // what is left is incomplete: read it again when there is more
			return nil
		}
		t.line++
		if err != nil {
			return fmt.Errorf("%s:%d: %w", t.name, t.line, err)
		}
		t.offset += int64(len(line))
		if err := t.show(line); err != nil {
			return err
		}
	}
}

// readLine returns the next line with its line break, or io.EOF when there
// is no whole line left.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if err == nil && line == nil {
			return part, nil
		}
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
		if len(line) > maxLine {
			return nil, fmt.Errorf("line has more than %d bytes", maxLine)
		}
	}
}

func (t *tail) show(line []byte) error {
	received, err := decodeLine(line)
	if err != nil {
		return fmt.Errorf("%s:%d: not a line of the connector: %w", t.name, t.line, err)
	}
	if received.Dead && !t.opts.Dead {
		return nil
	}
	received.Position = fmt.Sprintf("%s:%d", t.name, t.line)
	return t.yield(received)
}
