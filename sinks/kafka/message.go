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

// marksBytes is room for the marks of most batches.
const marksBytes = 64 << 10

// encoder turns messages into batches. It keeps its buffers.
type encoder struct {
	batch   batchEncoder
	headers []header
	lister  schema.Lister
	marks   strings.Builder   // of the batch
	names   map[string]string // header by attribute
	origin  string            // of marks; empty when they are not written
	flags   int16             // attributes of the batches: transactional, or none
}

func newEncoder(c Compression, maxBytes int) *encoder {
	e := &encoder{names: map[string]string{contentType: contentTypeHeader}}
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
	if e.marks.Reset(); e.origin != "" {
		e.marks.Grow(marksBytes)
	}
	r := record{time: now.UnixMilli()}
	n := 0
	for ; n < len(items); n++ {
		m := items[n].message
		e.headers = e.headers[:0]
		for _, a := range e.lister.Attributes(m) {
			e.headers = append(e.headers, header{e.name(a.Name), a.Value})
		}
		if e.origin != "" && m.Mark != nil {
			e.headers = append(e.headers, header{markHeader, e.mark(m.Mark)})
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

// mark returns the value of the header of a mark.
func (e *encoder) mark(mark []byte) string {
	start := e.marks.Len()
	e.marks.WriteString(e.origin)
	e.marks.Write(mark)
	return e.marks.String()[start:]
}

// forget leaves the bytes of the last batch to whoever has them.
func (e *encoder) forget() { e.batch.out = nil }

func (e *encoder) name(attribute string) string {
	name, ok := e.names[attribute]
	if !ok {
		name = attributePrefix + attribute
		e.names[attribute] = name
	}
	return name
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

// publicationID returns the [schema.Message.PublicationID] that the headers of
// a record tell.
func publicationID(headers []protocol.Header) string {
	m := schema.Message{ID: recordHeader(headers, attributePrefix+"id"), Replay: recordHeader(headers, attributePrefix+"replayid")}
	return m.PublicationID()
}
