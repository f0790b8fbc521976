package nats

import (
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"connector/checkpoint"
	"connector/internal/fault"
)

// Third and last part but one of a state message's subject:
// <prefix>.checkpoint.<unit>.<part>.<key>. What is loaded at the start lies
// under one subject, so that nothing else is read then.
const (
	livePart = "live"
	pagePart = "page"
)

// What the headers of a state message say. The server keeps a message whose TTL is never
// although it is older than the stream's max_age, but a server that starts does not: see [client.checkpointWarnings].
const (
	ttlNever      = "never"
	deletedHeader = "KV-Operation" // as in key-value buckets
	deletedValue  = "DEL"
)

// maxSubject bounds a subject in bytes: one of several thousand makes the
// server close the connection.
const maxSubject = 1 << 10

// place is where the state of a unit lies in a stream.
type place struct{ prefix string }

func placeOf(cfg *Config, unit string) place {
	return place{cfg.SubjectPrefix + "." + checkpointToken + "." + token(unit)}
}

func (p place) all() string { return p.prefix + ".>" }

func (p place) live() string { return p.prefix + "." + livePart + ".>" }

// subject returns the subject of a key's messages.
func (p place) subject(key string) string {
	part := livePart
	if checkpoint.Paged(key) {
		part = pagePart
	}
	return p.prefix + "." + part + "." + keyToken(key)
}

// key returns the key of a subject's messages.
func (p place) key(subject string) (string, error) {
	rest, found := strings.CutPrefix(subject, p.prefix+".")
	_, t, dot := strings.Cut(rest, ".")
	key, err := keyOf(t)
	if err != nil || !found || !dot || p.subject(key) != subject {
		return "", fault.Fatal(fmt.Errorf("subject %q is none of a checkpoint's", subject), "delete the message; only the connector writes to "+p.all())
	}
	return key, nil
}

// add puts what msg says into values, and returns its key.
func (p place) add(values map[string][]byte, msg *stored) (key string, err error) {
	if key, err = p.key(msg.subject); err != nil {
		return "", err
	}
	values[key] = msg.data
	if msg.deleted() {
		delete(values, key)
	}
	return key, nil
}

// emptyKey is the token of the empty key; no other begins with a percent sign
// that has no digits behind it.
const emptyKey = "%"

// keyToken makes key one token of a subject. Unlike [token] it can be undone.
func keyToken(key string) string {
	if key == "" {
		return emptyKey
	}
	var b strings.Builder
	for i, r := range key {
		if !reserved(r, i) {
			b.WriteRune(r)
			continue
		}
		size := utf8.RuneLen(r)
		if r == utf8.RuneError { // U+FFFD itself, or one byte that is no UTF-8
			_, size = utf8.DecodeRuneInString(key[i:])
		}
		for _, c := range []byte(key[i : i+size]) {
			writeEscaped(&b, c)
		}
	}
	return b.String()
}

func keyOf(token string) (string, error) {
	if token == emptyKey {
		return "", nil
	}
	return url.PathUnescape(token)
}
