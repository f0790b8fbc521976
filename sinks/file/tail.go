package file

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"connector/internal/fault"
	"connector/internal/wait"
	"connector/sinks"
)

const (
	pollInterval = 100 * time.Millisecond
	maxLine      = 256 << 20 // no line the connector writes comes near
)

// Tail reads the file of cfg and calls yield for each message in it; from the
// start, the files that were put away come first. It returns nil at the end when
// it does not follow, yield's first error, or ctx's when that ends. It reads
// whole lines, and only what is committed: as a running connector says, or the
// checkpoint that view opens. Where neither can be told, it reads all whole
// lines. A follower goes on in the next file when the one it reads was put away,
// and back when it became shorter.
func Tail(ctx context.Context, cfg Config, view View, opts sinks.TailOptions, yield func(sinks.Received) error) error {
	t := &tail{path: cfg.Path, bound: bound{path: cfg.Path, view: view}, opts: opts, yield: yield}
	if err := t.start(); err != nil {
		return fault.Fatal(fmt.Errorf("opening file: %w", err), "check FILE_PATH; connector run creates the file")
	}
	err := t.run(ctx)
	if t.file != nil {
		err = errors.Join(err, t.file.Close())
	}
	return err
}

// tail is one reader.
type tail struct {
	path   string
	bound  bound
	opts   sinks.TailOptions
	yield  func(sinks.Received) error
	put    []uint64 // files that were put away, to be read before file
	known  uint64   // the latest of those that were looked at
	file   *os.File // the newest one; nil between its being put away and the next
	name   string   // of what is read
	offset int64    // behind the last line read
	line   int      // its number
}

// start opens the newest file and lists those before it.
func (t *tail) start() error {
	if err := t.newest(); err != nil {
		return err
	}
	if t.file == nil && t.known == 0 {
		return fmt.Errorf("%s: %w", t.path, fs.ErrNotExist)
	}
	if !t.opts.FromStart {
		t.put = nil
	}
	return nil
}

func (t *tail) run(ctx context.Context) error {
	if t.file != nil && !t.opts.FromStart {
		end, _, err := t.end(ctx)
		if err == nil {
			err = t.skipTo(end)
		}
		if err != nil {
			return err
		}
	}
	for {
		if err := t.readPut(ctx); err != nil {
			return err
		}
		more, err := t.readNewest(ctx)
		if err != nil || !t.opts.Follow {
			return err
		}
		if more {
			continue
		}
		if err := wait.For(ctx, pollInterval); err != nil {
			return err
		}
	}
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
	if received.Dead && !t.opts.Dead || !received.Dead && t.opts.NoEvents {
		return nil
	}
	received.Position = fmt.Sprintf("%s:%d", t.name, t.line)
	return t.yield(received)
}
