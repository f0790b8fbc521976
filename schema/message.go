package schema

import (
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Message is an event or a dead letter ready for a sink: a CloudEvents 1.0
// event in binary mode, whose Attributes sinks write as headers, or in
// structured mode, which has none. Body is written as it is.
type Message struct {
	ID         string
	Type       string // delivery.<channel>.<status> or delivery.deadletter
	Source     Source
	RecordID   string
	Time       time.Time // when the provider created or last changed the record; UTC
	DataSchema string
	Replay     string // id of the replay that publishes the message again; empty on first publication
	Structured bool   // whether Body is the whole event in the CloudEvents JSON format, and not its data alone
	Body       []byte // JSON

	// Mark is what the checkpoint will remember of the message, opaque to all
	// but package checkpoint. A sink that stores state after messages keeps it
	// with the message; it is neither an attribute nor part of Size.
	Mark []byte
}

// Attribute is one CloudEvents context attribute, without a protocol's prefix.
type Attribute struct{ Name, Value string }

// Attributes returns the context attributes, datacontenttype included, in a
// fixed order; none in structured mode, where the body holds them. Values may
// hold any Unicode that CloudEvents allow: a sink encodes them as its protocol binding requires.
func (m *Message) Attributes() []Attribute { return new(Lister).Attributes(m) }

// Lister lists the attributes of one message after the other, and keeps what
// they have in common.
type Lister struct {
	source Source
	uri    string // of source
	list   []Attribute
}

// Attributes is [Message.Attributes]; the list is valid until the next call.
func (l *Lister) Attributes(m *Message) []Attribute {
	if m.Structured {
		return nil
	}
	if l.uri == "" || m.Source != l.source {
		l.source = m.Source
		l.uri = "/" + url.PathEscape(m.Source.System) + "/" + url.PathEscape(m.Source.Account) + "/" + url.PathEscape(m.Source.Stream)
	}
	if l.list == nil {
		l.list = make([]Attribute, 0, 9)
	}
	l.list = append(l.list[:0],
		Attribute{"specversion", "1.0"},
		Attribute{"id", m.ID},
		Attribute{"source", l.uri},
		Attribute{"type", m.Type},
		Attribute{"subject", allowed(m.RecordID)},
		Attribute{"time", m.Time.UTC().Format(time.RFC3339Nano)},
		Attribute{"dataschema", m.DataSchema},
		Attribute{"datacontenttype", MediaTypeJSON},
	)
	if m.Replay != "" {
		l.list = append(l.list, Attribute{"replayid", m.Replay})
	}
	return l.list
}

// allowed replaces by U+FFFD what CloudEvents do not allow in a string: control
// characters, noncharacters, and what is no text at all
// (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#type-system).
func allowed(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Noncharacter_Code_Point, r) {
			return utf8.RuneError
		}
		return r
	}, s)
}

// PublicationID is what repetitions of one publication have in common: the id,
// and in a replay the id with that of the replay, so that a sink which drops
// repetitions does not take a replay for one.
func (m *Message) PublicationID() string {
	if m.Replay == "" {
		return m.ID
	}
	return m.ID + "/" + m.Replay
}

// ContentType is the media type of Body.
func (m *Message) ContentType() string {
	if m.Structured {
		return MediaTypeCloudEvent
	}
	return MediaTypeJSON
}

// Key orders the versions of one record in partitioned sinks:
// <account>/<stream>/<record id>.
func (m *Message) Key() string { return string(m.AppendKey(nil)) }

// AppendKey appends the key to b.
func (m *Message) AppendKey(b []byte) []byte {
	b = append(append(b, m.Source.Account...), '/')
	b = append(append(b, m.Source.Stream...), '/')
	return append(b, m.RecordID...)
}

// Size is what limits of message sizes count: the bytes of the body and of
// all attribute names and values.
func (m *Message) Size() int {
	if m.Structured {
		return len(m.Body)
	}
	const fixed = len("specversion1.0idsource///typesubjecttimedataschemadatacontenttypeapplication/json")
	var stamp [len(time.RFC3339Nano)]byte
	size := fixed + len(m.Body) + len(m.ID) + len(m.Type) + len(allowed(m.RecordID)) + len(m.DataSchema) +
		len(url.PathEscape(m.Source.System)) + len(url.PathEscape(m.Source.Account)) + len(url.PathEscape(m.Source.Stream)) +
		len(m.Time.UTC().AppendFormat(stamp[:0], time.RFC3339Nano))
	if m.Replay != "" {
		size += len("replayid") + len(m.Replay)
	}
	return size
}
