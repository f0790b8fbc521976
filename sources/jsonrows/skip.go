package jsonrows

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"connector/schema"
)

const (
	maxDepth  = 10_000   // levels that jsontext reads
	skipBytes = 32 << 10 // read at a time of a row that is skipped
)

// tooDeep reports whether err is about a value below the deepest level that
// can be read; jsontext has no error of its own for that.
func tooDeep(err error) bool {
	e, ok := errors.AsType[*jsontext.SyntacticError](err)
	return ok && strings.Count(string(e.JSONPointer), "/") >= maxDepth
}

// skip reads past the row that begins in the decoder's buffer and lets the
// decoder go on behind it.
func (r *Reader) skip() (Row, error) {
	begun := r.dec.UnreadBuffer()
	begun = begun[leading(begun):]
	s := &skipper{hash: sha256.New()}
	rest := begun[s.feed(begun):]
	if !s.ended {
		var err error
		if rest, err = r.skipRest(s); err != nil {
			return Row{}, err
		}
	}
	// An object with an array with one element puts the decoder in the same state.
	r.in.unread([]byte(`{"":[0`), rest)
	r.limit.given = 0
	r.dec.Reset(r.limit, r.dec.Options())
	r.allow(maxScalar)
	for range 4 {
		if _, err := r.dec.ReadToken(); err != nil {
			return Row{}, err
		}
	}
	return s.row(), nil
}

// skipRest feeds s from the input and returns what it read beyond the row.
func (r *Reader) skipRest(s *skipper) ([]byte, error) {
	part := make([]byte, skipBytes)
	for {
		n, err := io.ReadAtLeast(r.in, part, 1)
		if err != nil {
			return nil, unexpected(err)
		}
		if used := s.feed(part[:n]); s.ended {
			return part[used:n], nil
		}
	}
}

// cutRow returns raw with only its beginning kept.
func cutRow(raw []byte) Row {
	sum := sha256.Sum256(raw)
	return Row{Raw: raw[:min(len(raw), schema.MaxDeadLetterRaw)], Size: int64(len(raw)), SHA256: hex.EncodeToString(sum[:])}
}

// skipper finds the end of one JSON value by its brackets and quotes alone,
// hashes it and keeps its beginning.
type skipper struct {
	head    []byte
	hash    hash.Hash
	size    int64
	depth   int
	inText  bool
	escaped bool
	ended   bool
}

// feed consumes the part of the value that is in b and returns its length.
func (s *skipper) feed(b []byte) int {
	n := s.scan(b)
	s.size += int64(n)
	s.hash.Write(b[:n])
	s.head = append(s.head, b[:min(n, schema.MaxDeadLetterRaw-len(s.head))]...)
	return n
}

// scan returns how much of b belongs to the value.
func (s *skipper) scan(b []byte) int {
	for i, c := range b {
		switch {
		case s.escaped:
			s.escaped = false
		case s.inText:
			s.escaped = c == '\\'
			s.inText = c != '"'
			s.ended = !s.inText && s.depth == 0
		case c == '"':
			s.inText = true
		case c == '{' || c == '[':
			s.depth++
		case (c == '}' || c == ']') && s.depth > 0:
			s.depth--
			s.ended = s.depth == 0
		case s.depth == 0 && (c == ',' || c == ']' || c == '}' || c == ' ' || c == '\t' || c == '\r' || c == '\n'):
			s.ended = true // a number, or what looks like one
			return i
		}
		if s.ended {
			return i + 1
		}
	}
	return len(b)
}

// row returns the skipped row.
func (s *skipper) row() Row {
	return Row{Raw: s.head, Size: s.size, SHA256: hex.EncodeToString(s.hash.Sum(nil))}
}
