package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// maxDocument bounds, in bytes, one JSON value of the input.
const maxDocument = 64 << 20

// documents reads JSON values: one a line, one after the other, or the
// elements of one array. It holds one value at a time.
type documents struct {
	in    *lineReader
	d     *jsontext.Decoder
	base  int64 // offset in the input at which d began
	array bool  // whether the values are elements
	most  int64 // bytes of one value
}

func newDocuments(r io.Reader, most int64) *documents {
	in := &lineReader{r: r, room: most}
	return &documents{in: in, d: jsontext.NewDecoder(in), most: most}
}

// notJSON is an error of one line; reading goes on behind it.
type notJSON struct{ error }

// next returns the next value and the line on which it begins, or io.EOF after
// the last. The value is valid until the next call.
func (r *documents) next() (value jsontext.Value, line int, err error) {
	r.in.room = r.most
	if r.base == 0 && r.d.InputOffset() == 0 && r.d.PeekKind() == '[' {
		_, _ = r.d.ReadToken() // it is there
		r.array = true
	}
	if r.array && r.d.PeekKind() == ']' {
		_, _ = r.d.ReadToken()
		r.array = false
	}
	value, err = r.d.ReadValue()
	at := r.base + r.d.InputOffset()
	if wrong, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		at = r.base + wrong.ByteOffset
		line = r.in.line(at)
		if r.array {
			return nil, 0, fmt.Errorf("line %d: the array is not JSON: %w", line, wrong.Err)
		}
		return nil, line, errors.Join(notJSON{wrong.Err}, r.skip(at))
	}
	if errors.Is(err, errTooLong) {
		begun := r.d.UnreadBuffer()
		at += int64(len(begun) - len(bytes.TrimLeft(begun, " \t\r\n")))
		return nil, 0, fmt.Errorf("line %d: a document has more than %d MiB", r.in.line(at), r.most>>20)
	}
	if err != nil {
		return nil, 0, err
	}
	return value, r.in.line(at - int64(len(value))), nil
}

// skip goes on with the line after the one with an offset.
func (r *documents) skip(at int64) error {
	start := r.base + r.d.InputOffset()
	rest := bytes.Clone(r.d.UnreadBuffer())
	from := min(max(at-start, 0), int64(len(rest)))
	if end := bytes.IndexByte(rest[from:], '\n'); end >= 0 {
		rest = rest[from+int64(end)+1:]
	} else {
		rest = nil
		if err := r.in.skipLine(); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	r.base = r.in.read - int64(len(rest))
	r.d = jsontext.NewDecoder(io.MultiReader(bytes.NewReader(rest), r.in))
	return nil
}

// lineReader counts the lines of what is read through it.
type lineReader struct {
	r      io.Reader
	read   int64   // bytes so far
	room   int64   // bytes that may still be read
	ends   []int64 // offsets of the line ends that were not passed
	passed int
}

var errTooLong = errors.New("a value is too long")

// Read implements [io.Reader].
func (l *lineReader) Read(p []byte) (int, error) {
	if l.room <= 0 {
		return 0, errTooLong
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.room)])
	for i, b := range p[:n] {
		if b == '\n' {
			l.ends = append(l.ends, l.read+int64(i))
		}
	}
	l.read += int64(n)
	l.room -= int64(n)
	return n, err
}

// line returns the number of the line, from 1 on, that holds an offset. Offsets
// do not decrease from call to call.
func (l *lineReader) line(at int64) int {
	passed := 0
	for passed < len(l.ends) && l.ends[passed] < at {
		passed++
	}
	l.ends = l.ends[passed:]
	l.passed += passed
	return l.passed + 1
}

// skipLine reads up to the next line end and past it.
func (l *lineReader) skipLine() error {
	var b [1]byte
	for {
		l.room = 1
		if _, err := l.Read(b[:]); err != nil {
			return err
		}
		if b[0] == '\n' {
			return nil
		}
	}
}
