package schema

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Format says how messages are encoded. Its zero value is CloudEvents binary
// mode and the newest schema version.
type Format struct {
	Structured bool     // CloudEvents structured mode: the body is the whole event, see [Message.Structure]
	Version    *Release // as [Releases.Find] returns it; nil: the newest
}

// Release returns the version to write.
func (f Format) Release() *Release {
	if f.Version == nil {
		return released.Newest()
	}
	return f.Version
}

// The media types of bodies.
const (
	MediaTypeJSON       = "application/json"
	MediaTypeCloudEvent = "application/cloudevents+json" // of the CloudEvents JSON format
)

// Members of the CloudEvents 1.0 JSON format that hold the data.
const (
	dataMember   = "data"
	base64Member = "data_base64"
)

// IsStructured reports whether a message with this content type is an event in
// structured mode, which [ParseStructured] reads.
func IsStructured(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(media), MediaTypeCloudEvent)
}

// encode returns m as f says; m is in binary mode.
func (f Format) encode(m Message) Message {
	if f.Structured {
		m.Structure()
	}
	return m
}

// Structure puts a message in structured mode: Body becomes the whole event in
// the CloudEvents JSON format, and there are no Attributes any more. Of a
// message that is in structured mode it changes nothing.
func (m *Message) Structure() {
	if !m.Structured {
		m.Body, m.Structured = m.AppendStructured(nil), true
	}
}

// AppendStructured appends the event in the CloudEvents 1.0 JSON format, on one
// line without its end: the attributes first, then data. Data that is not JSON
// on one line goes into data_base64, so that all data can be read back byte for
// byte. What is not UTF-8 in an attribute is replaced. m may be in either mode.
func (m *Message) AppendStructured(dst []byte) []byte {
	if m.Structured {
		return append(dst, m.Body...)
	}
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
	return append(dst, '}')
}

func appendString(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, strings.ToValidUTF8(s, "\ufffd")) // fails only for what is not UTF-8
	return dst
}

// ParseStructured undoes [Message.AppendStructured]: it returns the attributes
// in their order, and the data as it was, which does not alias event.
func ParseStructured(event []byte) (attributes []Attribute, data []byte, err error) {
	d := jsontext.NewDecoder(bytes.NewReader(event))
	if d.PeekKind() != '{' {
		return nil, nil, errors.New("not a JSON object")
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, nil, err
	}
	var p parsed
	for d.PeekKind() != '}' {
		if err := p.member(d); err != nil {
			return nil, nil, err
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, nil, err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, nil, errors.New("something follows the JSON object")
	}
	if !p.has("specversion") || !p.has("id") {
		return nil, nil, errors.New("not a CloudEvents event")
	}
	return p.attributes, p.data, nil
}

// parsed is what was read of an event.
type parsed struct {
	attributes []Attribute
	data       []byte
}

func (p *parsed) has(name string) bool {
	for _, a := range p.attributes {
		if a.Name == name {
			return a.Value != ""
		}
	}
	return false
}

// member reads the name and value of one member.
func (p *parsed) member(d *jsontext.Decoder) error {
	token, err := d.ReadToken()
	if err != nil {
		return err
	}
	name := token.String()
	if name == dataMember {
		value, err := d.ReadValue()
		p.data = bytes.Clone(value)
		return err
	}
	if token, err = d.ReadToken(); err != nil {
		return err
	}
	if kind := token.Kind(); kind == '{' || kind == '[' {
		return fmt.Errorf("member %q is not a CloudEvents attribute", name)
	}
	if name != base64Member {
		p.attributes = append(p.attributes, Attribute{name, token.String()})
		return nil
	}
	if p.data, err = base64.StdEncoding.DecodeString(token.String()); err != nil {
		return fmt.Errorf("decoding %s: %w", base64Member, err)
	}
	return nil
}
