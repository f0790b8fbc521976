package file

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"connector/schema"
	"connector/sinks"
)

// Members of the CloudEvents 1.0 JSON format that hold the body.
const (
	dataMember   = "data"
	base64Member = "data_base64"
)

// appendLine appends m as one line: a CloudEvents 1.0 event in structured
// mode, the attributes first. A body that is not JSON on one line goes into
// data_base64, so that every body can be read back byte for byte. What is not
// UTF-8 in an attribute is replaced.
func appendLine(dst []byte, m *schema.Message) []byte {
	dst = append(dst, '{')
	for _, a := range m.Attributes() {
		dst = append(appendString(dst, a.Name), ':')
		dst = append(appendString(dst, a.Value), ',')
	}
	if len(bytes.TrimSpace(m.Body)) == len(m.Body) && !bytes.ContainsAny(m.Body, "\r\n") && jsontext.Value(m.Body).IsValid() {
		dst = append(append(appendString(dst, dataMember), ':'), m.Body...)
	} else {
		dst = append(append(appendString(dst, base64Member), ':'), '"')
		dst = append(base64.StdEncoding.AppendEncode(dst, m.Body), '"')
	}
	return append(dst, "}\n"...)
}

func appendString(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, strings.ToValidUTF8(s, "\ufffd")) // fails only for what is not UTF-8
	return dst
}

// decodeLine undoes appendLine. The result's Body may alias line.
func decodeLine(line []byte) (sinks.Received, error) {
	var r sinks.Received
	d := jsontext.NewDecoder(bytes.NewReader(line))
	if d.PeekKind() != '{' {
		return r, errors.New("not a JSON object")
	}
	if _, err := d.ReadToken(); err != nil {
		return r, err
	}
	for d.PeekKind() != '}' {
		if err := decodeMember(d, &r); err != nil {
			return r, err
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return r, err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return r, errors.New("something follows the JSON object")
	}
	if r.Attribute("specversion") == "" || r.Attribute("id") == "" {
		return r, errors.New("not a CloudEvents event")
	}
	r.Dead = r.Attribute("type") == schema.DeadLetterType
	return r, nil
}

// decodeMember reads the name and value of one member.
func decodeMember(d *jsontext.Decoder, r *sinks.Received) error {
	token, err := d.ReadToken()
	if err != nil {
		return err
	}
	name := token.String()
	if name == dataMember {
		value, err := d.ReadValue()
		r.Body = bytes.Clone(value)
		return err
	}
	if token, err = d.ReadToken(); err != nil {
		return err
	}
	if kind := token.Kind(); kind == '{' || kind == '[' {
		return fmt.Errorf("member %q is not a CloudEvents attribute", name)
	}
	if name != base64Member {
		r.Attributes = append(r.Attributes, schema.Attribute{Name: name, Value: token.String()})
		return nil
	}
	if r.Body, err = base64.StdEncoding.DecodeString(token.String()); err != nil {
		return fmt.Errorf("decoding %s: %w", base64Member, err)
	}
	return nil
}
