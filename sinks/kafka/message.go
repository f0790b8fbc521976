package kafka

import (
	"fmt"
	"strings"
	"time"

	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/protocol"

	"connector/schema"
	"connector/sinks"
)

// The names of headers in the CloudEvents binary content mode; in structured
// mode there is the content type only.
const (
	attributePrefix   = "ce_"
	contentTypeHeader = "content-type"
	contentType       = "datacontenttype"
)

// encoder turns messages into batches. It keeps its buffers.
type encoder struct {
	batch   batchEncoder
	headers []header
	lister  schema.Lister
	names   []string // of headers, in the order of attributes
	origin  string   // of marks; empty when they are not written
	marked  []byte   // origin and mark of a message
	flags   int16    // attributes of the batches: transactional, or none
}

func newEncoder(c Compression, maxBytes int) *encoder {
	e := &encoder{}
	for _, a := range (&schema.Message{Replay: "any"}).Attributes() {
		name := attributePrefix + a.Name
		if a.Name == contentType {
			name = contentTypeHeader
		}
		e.names = append(e.names, name)
	}
	e.batch.codec = codec(c)
	e.batch.maxBytes = maxBytes
	return e
}

func codec(c Compression) compress.Codec {
	var code compress.Compression
	_ = code.UnmarshalText([]byte(c)) // one of Compression.Choices, or none
	return code.Codec()
}

// encode makes a batch of as many items as fit, at least one. The batch is
// valid until the next call, unless forget is called first.
func (e *encoder) encode(items []item, now time.Time) (*batch, error) {
	e.batch.reset()
	r := record{time: now.UnixMilli()}
	n := 0
	for ; n < len(items); n++ {
		m := items[n].message
		e.headers = e.headers[:0]
		if m.Structured {
			e.headers = append(e.headers, header{contentTypeHeader, m.ContentType()})
		}
		for i, a := range e.lister.Attributes(m) {
			e.headers = append(e.headers, header{e.names[i], a.Value})
		}
		r.mark = nil
		if e.origin != "" && m.Mark != nil {
			e.marked = append(append(e.marked[:0], e.origin...), m.Mark...)
			r.mark = e.marked
		}
		r.key, r.value, r.headers = items[n].key, m.Body, e.headers
		if !e.batch.add(&r) {
			break
		}
	}
	set, err := e.batch.finish(e.flags)
	if err != nil {
		return nil, err
	}
	return &batch{set: set, count: n, items: items[:n]}, nil
}

// forget leaves the bytes of the last batch to whoever has them.
func (e *encoder) forget() { e.batch.out = nil }

// attributes returns the context attributes among the headers of a record.
func attributes(headers []protocol.Header) []schema.Attribute {
	found := make([]schema.Attribute, 0, len(headers))
	for _, h := range headers {
		if name, ok := strings.CutPrefix(h.Key, attributePrefix); ok {
			found = append(found, schema.Attribute{Name: name, Value: string(h.Value)})
		} else if h.Key == contentTypeHeader {
			found = append(found, schema.Attribute{Name: contentType, Value: string(h.Value)})
		}
	}
	return found
}

// received returns the event that a record holds in either mode.
func received(r *protocol.Record) (sinks.Received, error) {
	body, err := protocol.ReadAll(r.Value)
	if err != nil {
		return sinks.Received{}, fmt.Errorf("reading the value at offset %d: %w", r.Offset, err)
	}
	if !schema.IsStructured(recordHeader(r.Headers, contentTypeHeader)) {
		return sinks.Received{Attributes: attributes(r.Headers), Body: body}, nil
	}
	list, data, err := schema.ParseStructured(body)
	if err != nil {
		return sinks.Received{}, fmt.Errorf("reading the event at offset %d: %w", r.Offset, err)
	}
	return sinks.Received{Attributes: list, Body: data}, nil
}

// publicationID returns the [schema.Message.PublicationID] of what a record
// holds.
func publicationID(r *protocol.Record) (string, error) {
	e, err := received(r)
	if err != nil {
		return "", err
	}
	m := schema.Message{ID: e.Attribute("id"), Replay: e.Attribute("replayid")}
	return m.PublicationID(), nil
}
