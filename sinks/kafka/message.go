package kafka

import (
	"encoding/binary"
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
	largest int   // bytes of a message, as [schema.Message.Size] counts them
	flags   int16 // attributes of the batches: transactional, or none
}

func newEncoder(c Compression, maxBytes, largest int) *encoder {
	return &encoder{batch: batchEncoder{codec: codec(c), maxBytes: maxBytes}, largest: largest}
}

func codec(c Compression) compress.Codec {
	var code compress.Compression
	_ = code.UnmarshalText([]byte(c)) // one of Compression.Choices, or none
	return code.Codec()
}

// encode makes a batch of as many items as fit, at least one; nil when the
// first exceeds [sinks.Limits]. The batch is valid until the next call, unless
// forget is called first.
func (e *encoder) encode(items []item, now time.Time) (*batch, error) {
	e.batch.reset()
	r := record{time: now.UnixMilli()}
	n := 0
	for ; n < len(items); n++ {
		it := &items[n]
		r.key, r.value, r.headers = it.key, it.body, it.headers
		if e.exceeds(it) || !e.batch.add(&r) {
			break
		}
	}
	if n == 0 {
		return nil, nil
	}
	set, err := e.batch.finish(e.flags)
	if err != nil {
		return nil, err
	}
	return &batch{set: set, count: n, items: items[:n]}, nil
}

// exceeds reports whether a message is larger than [sinks.Limits] allow. Its
// headers hold more than its attributes, and their length is known.
func (e *encoder) exceeds(it *item) bool {
	return len(it.body)+len(it.headers.encoded) > e.largest && it.message.Size() > e.largest
}

// forget leaves the bytes of the last batch to whoever has them.
func (e *encoder) forget() { e.batch.out = nil }

// headerEncoder encodes the headers of messages.
type headerEncoder struct {
	lister schema.Lister
	names  [][]byte // encoded, in the order of attributes
	origin string   // of marks; empty when they are not written
}

func newHeaderEncoder() *headerEncoder {
	e := &headerEncoder{}
	for _, a := range (&schema.Message{Replay: "any"}).Attributes() {
		name := attributePrefix + a.Name
		if a.Name == contentType {
			name = contentTypeHeader
		}
		e.names = append(e.names, appendString(nil, name))
	}
	return e
}

// append returns h and the headers of a message; h is not to be used any more.
func (e *headerEncoder) append(h headers, m *schema.Message) headers {
	if m.Structured {
		h = h.with(contentTypeHeader, m.ContentType())
	}
	for i, a := range e.lister.Attributes(m) {
		h.encoded = appendString(append(h.encoded, e.names[i]...), a.Value)
		h.count++
	}
	if e.origin != "" && m.Mark != nil {
		h.encoded = binary.AppendVarint(appendString(h.encoded, markHeader), int64(len(e.origin)+len(m.Mark)))
		h.encoded = append(append(h.encoded, e.origin...), m.Mark...)
		h.count++
	}
	return h
}

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
