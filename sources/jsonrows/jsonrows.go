// Package jsonrows reads the rows of a JSON answer one at a time: an object
// with one array of rows among its members. It needs memory for one row,
// however long the answer is.
package jsonrows

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	maxMembers = 64       // scalar members kept
	maxScalar  = 64 << 10 // bytes of a scalar member
	bom        = "\xef\xbb\xbf"
)

// Row is one element of the array.
type Row struct {
	Raw     []byte // valid until the next row is asked for; only the beginning when Size is larger
	Size    int64  // bytes of the whole row
	SHA256  string // hex, of the whole row; set only for one that was skipped
	TooDeep bool   // whether it was skipped because it nests deeper than can be read
}

// Found says what the member with the rows was.
type Found int

// The states of the member with the rows.
const (
	Absent Found = iota
	Null         // or an empty object or blank text, as PHP may write a list without rows
	Array
)

// Reader reads one answer.
type Reader struct {
	in     *input
	dec    *jsontext.Decoder
	limit  *limited
	member string
	maxRow int

	found   Found
	members map[string]string
}

// New returns a reader of the answer r whose rows are in the array member of
// the outermost object. A row longer than maxRow bytes is skipped: of it, the
// beginning, the size and the hash remain, and it is not checked to be JSON. So
// is a row that nests deeper than about 10,000 levels.
func New(r io.Reader, member string, maxRow int) *Reader {
	in := &input{r: r}
	limit := &limited{r: in}
	opts := []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}
	return &Reader{
		in: in, dec: jsontext.NewDecoder(limit, opts...), limit: limit,
		member: member, maxRow: maxRow, members: map[string]string{},
	}
}

// Found tells what the member with the rows was; call it after Rows has ended.
func (r *Reader) Found() Found { return r.found }

// Members returns the other members that are scalars: strings as their value,
// numbers, true and false as written, null left out. It is complete once Rows
// has ended without error. A member of a large answer may come after the rows.
func (r *Reader) Members() map[string]string { return r.members }

// Rows yields the rows in order, whatever their kind. An error is the last
// thing yielded: the answer is cut (io.ErrUnexpectedEOF), malformed, or its
// shape is another. Without one the answer was complete to its last byte.
func (r *Reader) Rows() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		err := r.answer(func(row Row) bool { return yield(row, nil) })
		if err != nil && !errors.Is(err, errStop) {
			yield(Row{}, fmt.Errorf("reading the answer: %w", err))
		}
	}
}

// errStop says that the caller wants no more rows.
var errStop = errors.New("stopped")

func (r *Reader) answer(yield func(Row) bool) error {
	r.in.skip(bom)
	r.limit.allow(maxScalar)
	if kind := r.dec.PeekKind(); kind != jsontext.KindBeginObject && kind != jsontext.KindInvalid {
		return fmt.Errorf("it is a JSON %s, not an object", kind)
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return cut(err)
	}
	for {
		r.allow(maxScalar)
		name, err := r.dec.ReadToken()
		if err != nil {
			return cut(err)
		}
		if name.Kind() == jsontext.KindEndObject {
			return r.end()
		}
		if err := r.value(name.String(), yield); err != nil {
			return err
		}
	}
}

// end expects nothing after the outermost object. Reading up to the end of
// the body verifies its length and lets the connection be used again.
func (r *Reader) end() error {
	_, err := r.dec.ReadToken()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		return errors.New("there is more JSON after its end")
	}
	return err
}

// value reads the value of one member of the outermost object.
func (r *Reader) value(name string, yield func(Row) bool) error {
	r.allow(maxScalar)
	kind := r.dec.PeekKind()
	switch {
	case name == r.member && kind == jsontext.KindBeginArray:
		if r.found == Array {
			return fmt.Errorf("it has %q twice", name)
		}
		r.found = Array
		return r.rows(yield)
	case name == r.member && kind != jsontext.KindInvalid:
		return r.noRows(name, kind)
	}
	if kind == jsontext.KindBeginObject || kind == jsontext.KindBeginArray {
		r.allow(r.maxRow)
		return cut(r.dec.SkipValue())
	}
	value, err := r.dec.ReadValue()
	if err != nil {
		return cut(err)
	}
	if kind == jsontext.KindNull || len(r.members) == maxMembers {
		return nil
	}
	r.members[strings.Clone(name)] = scalar(value)
	return nil
}

// noRows reads a member with the rows that is no array: it must hold none.
func (r *Reader) noRows(name string, kind jsontext.Kind) error {
	first, err := r.dec.ReadToken()
	if err != nil {
		return cut(err)
	}
	none := kind == jsontext.KindNull || kind == jsontext.KindString && strings.TrimSpace(first.String()) == ""
	if kind == jsontext.KindBeginObject {
		if next := r.dec.PeekKind(); next == jsontext.KindEndObject || next == jsontext.KindInvalid {
			_, err = r.dec.ReadToken()
			none = true
		}
	}
	if !none {
		return fmt.Errorf("%q is a JSON %s, not an array", name, kind)
	}
	r.found = max(r.found, Null)
	return cut(err)
}

// scalar returns a string's value, another scalar as written.
func scalar(v jsontext.Value) string {
	if v.Kind() != jsontext.KindString {
		return string(v)
	}
	if text, err := jsontext.AppendUnquote(nil, v); err == nil || text != nil {
		return string(text)
	}
	return v.String()
}

// rows reads the array.
func (r *Reader) rows(yield func(Row) bool) error {
	if _, err := r.dec.ReadToken(); err != nil {
		return cut(err)
	}
	for {
		r.allow(maxScalar)
		if kind := r.dec.PeekKind(); kind == jsontext.KindEndArray || kind == jsontext.KindInvalid {
			_, err := r.dec.ReadToken()
			return cut(err)
		}
		// Peeking has read the comma and spaces in front of the row.
		r.allow(leading(r.dec.UnreadBuffer()) + r.maxRow + 1)
		row, err := r.row()
		if err != nil {
			return cut(err)
		}
		if !yield(row) {
			return errStop
		}
	}
}

// row reads the next row.
func (r *Reader) row() (Row, error) {
	raw, err := r.dec.ReadValue()
	switch {
	case errors.Is(err, errLimit):
		return r.skip()
	case tooDeep(err):
		row, err := r.skip()
		row.TooDeep = true
		return row, err
	case err != nil:
		return Row{}, err
	case len(raw) > r.maxRow:
		return cutRow(raw), nil
	}
	return Row{Raw: raw, Size: int64(len(raw))}, nil
}

// allow lets the decoder read n bytes beyond what it has handed out.
func (r *Reader) allow(n int) { r.limit.allow(r.dec.InputOffset() + int64(n)) }

// leading counts the comma and spaces at the beginning of b.
func leading(b []byte) int { return len(b) - len(bytes.TrimLeft(b, ", \t\r\n")) }

// cut makes the end of the input an error: inside an answer it always is one.
func cut(err error) error {
	if errors.Is(err, errLimit) {
		return errors.New("a member outside the rows, or the space between rows, is too large")
	}
	return unexpected(err)
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
