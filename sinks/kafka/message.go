package kafka

import (
	"strings"
	"time"

	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/protocol"

	"connector/schema"
)

// The names of headers in the CloudEvents binary content mode.
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

// publicationID returns the [schema.Message.PublicationID] that the headers of
// a record tell.
func publicationID(headers []protocol.Header) string {
	m := schema.Message{ID: recordHeader(headers, attributePrefix+"id"), Replay: recordHeader(headers, attributePrefix+"replayid")}
	return m.PublicationID()
}
