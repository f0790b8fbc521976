package submail

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/text/runes"
	"golang.org/x/text/transform"

	"connector/schema"
	"connector/sources/jsonrows"
)

const (
	maxMembers = 64       // elements kept that are not rows
	maxElement = 64 << 10 // bytes of an element that is not a row
)

var (
	errLarge = errors.New("an element is too large")
	errStop  = errors.New("stopped")
)

// xmlAnswer reads the rows of an XML answer one at a time: the elements, all of
// one name, within that of the list within the outermost element. Each becomes
// a JSON object of strings, in order; a row without elements becomes a string.
// Text is trimmed. What XML does not allow, bad UTF-8 and control characters,
// counts as U+FFFD. The reader does not insist on escaped ampersands, and knows
// no entities but XML's own.
type xmlAnswer struct {
	tap     *tap
	dec     *xml.Decoder
	list    string // name of the element that holds the rows
	rowName string // of each row; empty while not known
	maxRow  int
	listed  bool // whether there was an element for the rows
	members map[string]string
	raw     []byte // of the latest row, for the next to use
}

// newXMLAnswer reads r. Its rows are elements of any one name where row is empty.
func newXMLAnswer(r io.Reader, list, row string, maxRow int) *xmlAnswer {
	clean := transform.NewReader(r, runes.Map(func(c rune) rune {
		if c < 0x20 && c != '\t' && c != '\n' && c != '\r' || c == 0xFFFE || c == 0xFFFF {
			return utf8.RuneError
		}
		return c
	}))
	a := &xmlAnswer{tap: &tap{in: bufio.NewReaderSize(clean, 32<<10)}, list: list, rowName: row, maxRow: maxRow, members: map[string]string{}}
	a.restart()
	return a
}

// restart begins to parse at the next byte.
func (a *xmlAnswer) restart() {
	a.dec = xml.NewDecoder(a.tap)
	a.dec.Strict = false
	a.dec.CharsetReader = func(label string, input io.Reader) (io.Reader, error) {
		if strings.EqualFold(label, "utf8") {
			return input, nil
		}
		return nil, errors.New("only UTF-8 is read")
	}
}

// Members returns the text of the elements beside the rows.
func (a *xmlAnswer) Members() map[string]string { return a.members }

// Rows yields the rows, under the contract of [jsonrows.Reader.Rows]. Of a row
// too large, bytes, size and hash are those of the XML element.
func (a *xmlAnswer) Rows() iter.Seq2[jsonrows.Row, error] {
	return func(yield func(jsonrows.Row, error) bool) {
		err := a.read(func(r jsonrows.Row) bool { return yield(r, nil) })
		if err != nil && !errors.Is(err, errStop) {
			yield(jsonrows.Row{}, fmt.Errorf("reading the answer: %w", err))
		}
	}
}

func (a *xmlAnswer) read(yield func(jsonrows.Row) bool) error {
	root, err := a.next("")
	if err != nil {
		return err
	}
	for {
		name, err := a.next(root)
		if err != nil {
			return err
		}
		if name == "" {
			break
		}
		if name == a.list {
			err = a.rows(yield)
		} else {
			err = a.member(name)
		}
		if err != nil {
			return err
		}
	}
	if _, err := a.next(""); !errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.Join(errors.New("there is more XML after its end"), err)
	}
	return nil
}

// next returns the name of the next element in parent, "" at parent's end. In
// the document itself, whose name is "", the end is io.ErrUnexpectedEOF.
func (a *xmlAnswer) next(parent string) (string, error) {
	a.tap.begin("", maxElement)
	for {
		t, err := a.token()
		if err != nil {
			return "", err
		}
		switch t := t.(type) {
		case xml.StartElement:
			return t.Name.Local, nil
		case xml.EndElement:
			return "", closes(t, parent)
		case xml.CharData:
			if text := strings.TrimSpace(strings.TrimPrefix(string(t), "\ufeff")); text != "" {
				return "", fmt.Errorf("there is text where only elements belong, in %q", parent)
			}
		}
	}
}

func closes(t xml.EndElement, name string) error {
	if t.Name.Local != name {
		return fmt.Errorf("element %q ends as %q", name, t.Name.Local)
	}
	return nil
}

// token returns the next token; the end of the input is io.ErrUnexpectedEOF.
func (a *xmlAnswer) token() (xml.Token, error) {
	t, err := a.dec.RawToken()
	if errors.Is(err, io.EOF) {
		return nil, io.ErrUnexpectedEOF
	}
	if syntax, ok := errors.AsType[*xml.SyntaxError](err); ok && syntax.Msg == "unexpected EOF" {
		return nil, io.ErrUnexpectedEOF
	}
	return t, err
}

// text returns the text in the element name up to its end, that of elements
// within included.
func (a *xmlAnswer) text(name string) (string, error) {
	var b strings.Builder
	open := []string{name}
	for len(open) > 0 {
		t, err := a.token()
		if err != nil {
			return "", err
		}
		switch t := t.(type) {
		case xml.StartElement:
			open = append(open, t.Name.Local)
		case xml.EndElement:
			if err := closes(t, open[len(open)-1]); err != nil {
				return "", err
			}
			open = open[:len(open)-1]
		case xml.CharData:
			b.Write(t)
		}
	}
	return strings.TrimSpace(b.String()), nil
}

func (a *xmlAnswer) member(name string) error {
	a.tap.begin("", maxElement)
	text, err := a.text(name)
	if err == nil && len(a.members) < maxMembers {
		a.members[name] = text
	}
	return err
}

// rows reads the element with the rows.
func (a *xmlAnswer) rows(yield func(jsonrows.Row) bool) error {
	if a.listed {
		return fmt.Errorf("it has %q twice", a.list)
	}
	a.listed = true
	for {
		name, err := a.next(a.list)
		if err != nil || name == "" {
			return err
		}
		if a.rowName = cmp.Or(a.rowName, name); name != a.rowName {
			return fmt.Errorf("there is an element %q among the rows %q", name, a.rowName)
		}
		a.tap.begin("<"+name+">", a.maxRow)
		row, err := a.row()
		if errors.Is(err, errLarge) {
			row, err = a.skip()
		}
		if err != nil {
			return err
		}
		if !yield(row) {
			return errStop
		}
	}
}

// row reads a row up to its end.
func (a *xmlAnswer) row() (jsonrows.Row, error) {
	a.raw = append(a.raw[:0], '{')
	raw := a.raw
	var text strings.Builder
	for {
		t, err := a.token()
		if err != nil {
			return jsonrows.Row{}, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			value, err := a.text(t.Name.Local)
			if err != nil {
				return jsonrows.Row{}, err
			}
			raw = appendMember(raw, t.Name.Local, value)
		case xml.CharData:
			text.Write(t)
		case xml.EndElement:
			raw = append(raw, '}')
			a.raw = raw
			if alone := strings.TrimSpace(text.String()); alone != "" && len(raw) == 2 {
				raw, _ = jsontext.AppendQuote(nil, alone) // the text is UTF-8
			}
			return jsonrows.Row{Raw: raw, Size: int64(len(raw))}, closes(t, a.rowName)
		}
	}
}

// appendMember adds a member to an object that is not closed. Both texts are UTF-8.
func appendMember(raw []byte, name, value string) []byte {
	if len(raw) > 1 {
		raw = append(raw, ',')
	}
	raw, _ = jsontext.AppendQuote(raw, name)
	raw, _ = jsontext.AppendQuote(append(raw, ':'), value)
	return raw
}

// skip reads past the row begun and lets the parser go on behind it.
func (a *xmlAnswer) skip() (jsonrows.Row, error) {
	rowEnd := "</" + a.rowName + ">"
	whole := sha256.New()
	_, _ = whole.Write(a.tap.seen)
	size := int64(len(a.tap.seen))
	head := bytes.Clone(a.tap.seen[:min(len(a.tap.seen), schema.MaxDeadLetterRaw)])
	tail := bytes.Clone(a.tap.seen[max(0, len(a.tap.seen)-len(rowEnd)):])
	for !bytes.HasSuffix(tail, []byte(rowEnd)) {
		part, err := a.tap.in.ReadSlice('>')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return jsonrows.Row{}, err
		}
		_, _ = whole.Write(part)
		size += int64(len(part))
		head = append(head, part[:min(len(part), schema.MaxDeadLetterRaw-len(head))]...)
		tail = append(tail, part[max(0, len(part)-len(rowEnd)):]...)
		tail = tail[max(0, len(tail)-len(rowEnd)):]
	}
	if size <= int64(a.maxRow) {
		return jsonrows.Row{}, errors.New("a row does not end where it should")
	}
	a.restart()
	return jsonrows.Row{Raw: head, Size: size, SHA256: hex.EncodeToString(whole.Sum(nil))}, nil
}
