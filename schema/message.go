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
	uri    string          // of source
	times  strings.Builder // of messages, one after the other
	list   []Attribute
}

// timesBytes is how much memory times share; timeBytes is enough for one.
const (
	timesBytes = 4 << 10
	timeBytes  = len(time.RFC3339Nano)
)

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
		Attribute{"time", l.format(m.Time)},
		Attribute{"dataschema", m.DataSchema},
		Attribute{"datacontenttype", MediaTypeJSON},
	)
	if m.Replay != "" {
		l.list = append(l.list, Attribute{"replayid", m.Replay})
	}
	return l.list
}

// format returns a time in memory that it shares with those before it: most
// cost no allocation of their own.
func (l *Lister) format(t time.Time) string {
	if l.times.Len() > timesBytes-timeBytes {
		l.times.Reset()
		l.times.Grow(timesBytes)
	}
	var buf [timeBytes]byte
	begin := l.times.Len()
	l.times.Write(t.UTC().AppendFormat(buf[:0], time.RFC3339Nano))
	return l.times.String()[begin:]
}

// allowed replaces by U+FFFD what CloudEvents do not allow in a string: control
// characters, noncharacters, and what is no text at all
// (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#type-system).
func allowed(s string) string {
	if isPrintable(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Noncharacter_Code_Point, r) {
			return utf8.RuneError
		}
		return r
	}, s)
}

// isPrintable reports whether s is ASCII without control characters.
func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
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
	var stamp [timeBytes]byte
	size := fixed + len(m.Body) + len(m.ID) + len(m.Type) + len(allowed(m.RecordID)) + len(m.DataSchema) +
		len(url.PathEscape(m.Source.System)) + len(url.PathEscape(m.Source.Account)) + len(url.PathEscape(m.Source.Stream)) +
		len(m.Time.UTC().AppendFormat(stamp[:0], time.RFC3339Nano))
	if m.Replay != "" {
		size += len("replayid") + len(m.Replay)
	}
	return size
}
