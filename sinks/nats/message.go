package nats

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"connector/schema"
	"connector/sinks"
)

// Second part of a subject, after the prefix. Checkpoints have their place in
// the stream so that events and state can be stored as one.
const (
	eventToken      = "event"
	deadToken       = "deadletter"
	checkpointToken = "checkpoint"
)

// headerPrefix precedes the name of an attribute in the NATS protocol binding
// of CloudEvents (1.0.3, the first to know headers).
const headerPrefix = "ce-"

// contentTypeHeader tells structured mode: a message in binary mode has none.
const contentTypeHeader = "content-type"

// replayHeader is the one attribute that not every message has.
const replayHeader = headerPrefix + "replayid"

// maxHeaderBytes is the server's limit for the headers of a stored message.
const maxHeaderBytes = math.MaxUint16

// encode returns m as a NATS message. Its
// Nats-Msg-Id lets the server drop a repetition, but not a replay.
func encode(prefix, stream string, m *schema.Message, dead bool) *natsio.Msg {
	attributes := m.Attributes()
	header := make(natsio.Header, len(attributes)+2)
	for _, a := range attributes {
		header[headerPrefix+a.Name] = []string{encodeValue(a.Value)}
	}
	if m.Structured {
		header[contentTypeHeader] = []string{m.ContentType()}
	}
	header[jetstream.MsgIDHeader] = []string{m.PublicationID()}
	header[jetstream.ExpectedStreamHeader] = []string{stream}
	return &natsio.Msg{Subject: subject(prefix, m.Source, dead), Header: header, Data: m.Body}
}

// subject returns <prefix>.event.<system>.<account>.<stream>, or the same
// with deadletter.
func subject(prefix string, s schema.Source, dead bool) string {
	kind := eventToken
	if dead {
		kind = deadToken
	}
	return strings.Join([]string{prefix, kind, token(s.System), token(s.Account), token(s.Stream)}, ".")
}

// Address returns the subject of events, or of dead letters, with {system},
// {account} and {stream} for its variable tokens.
func Address(prefix string, dead bool) string {
	kind := eventToken
	if dead {
		kind = deadToken
	}
	return prefix + "." + kind + ".{system}.{account}.{stream}"
}

// maxToken bounds a token in bytes: a subject of several thousand bytes makes
// the server close the connection.
const maxToken = 128

// token makes s one token of a subject: it percent-encodes what separates
// tokens, stands for several, is reserved, or is no text. A token that would
// be longer than maxToken ends in a digest instead of its rest.
func token(s string) string {
	if s == "" {
		return "_"
	}
	escaped := keyToken(s)
	if len(escaped) <= maxToken {
		return escaped
	}
	sum := sha256.Sum256([]byte(s))
	digest := "~" + hex.EncodeToString(sum[:8])
	return strings.ToValidUTF8(escaped[:maxToken-len(digest)], "") + digest
}

func reserved(r rune, place int) bool {
	return strings.ContainsRune(".*>%", r) || r == '$' && place == 0 || r == utf8.RuneError || unicode.IsSpace(r) || unicode.IsControl(r)
}

const upperHex = "0123456789ABCDEF"

func writeEscaped(b *strings.Builder, c byte) {
	b.WriteByte('%')
	b.WriteByte(upperHex[c>>4])
	b.WriteByte(upperHex[c&15])
}

// encodeValue percent-encodes an attribute as the HTTP and NATS bindings of
// CloudEvents 1.0 ask: space, double quote, percent sign, and all but
// printable ASCII.
func encodeValue(s string) string {
	if !strings.ContainsFunc(s, escaped) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if escaped(rune(s[i])) {
			writeEscaped(&b, s[i])
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func escaped(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' || r == '%' }

// decodeValue undoes encodeValue. A value with a percent sign that begins no
// escape was not encoded and is returned as it is.
func decodeValue(s string) string {
	decoded, err := url.PathUnescape(s)
	if err != nil {
		return s
	}
	return decoded
}

// received returns the event that a message holds in either mode.
func received(h natsio.Header, body []byte) (sinks.Received, error) {
	if !schema.IsStructured(h.Get(contentTypeHeader)) {
		return sinks.Received{Attributes: decodeHeader(h), Body: body}, nil
	}
	attributes, data, err := schema.ParseStructured(body)
	return sinks.Received{Attributes: attributes, Body: data}, err
}

// decodeHeader returns the context attributes by name.
func decodeHeader(h natsio.Header) []schema.Attribute {
	attributes := make([]schema.Attribute, 0, len(h))
	for name, values := range h {
		if attribute, ok := strings.CutPrefix(name, headerPrefix); ok && len(values) > 0 {
			attributes = append(attributes, schema.Attribute{Name: attribute, Value: decodeValue(values[0])})
		}
	}
	slices.SortFunc(attributes, func(a, b schema.Attribute) int { return strings.Compare(a.Name, b.Name) })
	return attributes
}

// headerBytes returns the size of the headers on the wire.
func headerBytes(h natsio.Header) int {
	n := len("NATS/1.0\r\n\r\n")
	for name, values := range h {
		for _, v := range values {
			n += len(name) + len(": ") + len(v) + len("\r\n")
		}
	}
	return n
}
