package apisim

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf16"
)

// names returns the fields of f in the given order, those not in it last.
func (f Fields) names(order []string) []string {
	names := make([]string, 0, len(f))
	for _, name := range order {
		if _, ok := f[name]; ok {
			names = append(names, name)
		}
	}
	if len(names) < len(f) {
		for _, name := range slices.Sorted(maps.Keys(f)) {
			if !slices.Contains(order, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// jsonRows writes rows as JSON objects.
type jsonRows struct {
	php    bool // escape as PHP's json_encode does: \uXXXX and \/
	quoted bool // write numbers as strings
}

func (j jsonRows) row(f Fields, order []string) ([]byte, error) {
	out := []byte{'{'}
	for i, name := range f.names(order) {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, '"')
		out = append(out, name...)
		out = append(out, '"', ':')
		value, err := j.value(f[name])
		if err != nil {
			return nil, fmt.Errorf("encoding field %q: %w", name, err)
		}
		out = append(out, value...)
	}
	return append(out, '}'), nil
}

func (j jsonRows) text(s string) ([]byte, error) { return j.value(s) }

func (j jsonRows) value(value any) ([]byte, error) {
	switch v := value.(type) { // only for speed, but for quoted
	case nil:
		return []byte("null"), nil
	case bool:
		return strconv.AppendBool(nil, v), nil
	case int64:
		return strconv.AppendInt(nil, v, 10), nil
	case int:
		if j.quoted {
			return fmt.Appendf(nil, `"%d"`, v), nil
		}
		return strconv.AppendInt(nil, int64(v), 10), nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return nil, err
	}
	raw := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if j.php {
		raw = phpEscape(raw)
	}
	return raw, nil
}

// phpEscape rewrites JSON the way PHP's json_encode spells it by default. Slashes and non-ASCII occur only in strings.
func phpEscape(raw []byte) []byte {
	out := make([]byte, 0, len(raw)+len(raw)/2)
	for _, c := range string(raw) {
		switch {
		case c == '/':
			out = append(out, '\\', '/')
		case c < 0x80:
			out = append(out, byte(c))
		default:
			for _, unit := range utf16.Encode([]rune{c}) {
				out = fmt.Appendf(out, `\u%04x`, unit)
			}
		}
	}
	return out
}

// xmlRows writes rows as XML elements.
type xmlRows struct {
	name string // of the element of a row
	pad  string // put around the text of each element
}

func (x xmlRows) row(f Fields, order []string) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("<" + x.name + ">")
	for _, name := range f.names(order) {
		x.element(&b, name, text(f[name]))
	}
	b.WriteString("</" + x.name + ">")
	return b.Bytes(), nil
}

func (x xmlRows) text(s string) ([]byte, error) {
	var b bytes.Buffer
	x.element(&b, x.name, s)
	return b.Bytes(), nil
}

func (x xmlRows) element(b *bytes.Buffer, name, text string) {
	b.WriteString("<" + name + ">" + x.pad)
	_ = xml.EscapeText(b, []byte(text)) // writing to a Buffer does not fail
	b.WriteString(x.pad + "</" + name + ">")
}
