package jsonrows

import (
	"errors"
	"io"
	"slices"
)

// errLimit says that the value being read is larger than allowed.
var errLimit = errors.New("value too large")

// input is an answer of which parts may be given back.
type input struct {
	r    io.Reader
	back []byte // to be read before r
}

func (in *input) Read(p []byte) (int, error) {
	if len(in.back) == 0 {
		return in.r.Read(p)
	}
	n := copy(p, in.back)
	in.back = in.back[n:]
	return n, nil
}

// unread gives parts back, in the order in which they are to be read.
func (in *input) unread(parts ...[]byte) {
	in.back = slices.Concat(append(parts, in.back)...)
}

// skip reads past prefix if the input begins with it.
func (in *input) skip(prefix string) {
	head := make([]byte, len(prefix))
	if n, _ := io.ReadFull(in, head); string(head[:n]) != prefix { // an error comes again
		in.unread(head[:n])
	}
}

// limited is a reader that stops with errLimit.
type limited struct {
	r     io.Reader
	given int64 // bytes read
	until int64 // bytes that may be read
}

func (l *limited) allow(until int64) { l.until = until }

func (l *limited) Read(p []byte) (int, error) {
	if l.given >= l.until {
		return 0, errLimit
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.until-l.given)])
	l.given += int64(n)
	return n, err
}
