package jsonrows

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"

	"connector/schema"
)

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

// newSkipper returns a skipper that has consumed begun.
func newSkipper(begun []byte) *skipper {
	s := &skipper{hash: sha256.New()}
	s.feed(begun)
	return s
}

func (s *skipper) done() bool { return s.ended }

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
