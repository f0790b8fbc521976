package apisim

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"strings"
)

// PoisonKind says in which way a row is one that no reader can turn into an event.
type PoisonKind string

// The kinds of poison rows.
const (
	MissingID PoisonKind = "missing id"    // the row lacks the field that identifies it
	NotObject PoisonKind = "not an object" // JSON: a string in place of the row; XML: a result element that holds text
	WrongType PoisonKind = "wrong type"    // the creation time is the text "yesterday"
	Oversize  PoisonKind = "oversize"      // one field holds Population.PoisonBytes bytes of text
)

var poisonKinds = [...]PoisonKind{MissingID, NotObject, WrongType, Oversize}

// Poisoned is one version of a poison row that was served.
type Poisoned struct {
	Version
	Kind   PoisonKind
	Size   int    // bytes of the row in the answer: the JSON value, or the whole result element
	SHA256 string // of those bytes, hex
}

// poisoned returns the fields of a row with the poison put in.
func (p provider) poisoned(f Fields, kind PoisonKind, size int) Fields {
	f = maps.Clone(f)
	switch kind {
	case MissingID:
		delete(f, p.idField)
	case WrongType:
		f[p.timeField] = "yesterday"
	case Oversize:
		f[p.bulkField] = strings.Repeat("x", size)
	case NotObject:
	}
	return f
}

// encoder writes a row: its fields in the given order, or text alone for a row that is not an object.
type encoder interface {
	row(f Fields, order []string) ([]byte, error)
	text(s string) ([]byte, error)
}

// encode returns the bytes of a row in an answer and completes its log entry.
func (w *world) encode(enc encoder, f Fields, e *entry) ([]byte, error) {
	if e.poison == "" {
		return enc.row(f, w.provider.order)
	}
	var raw []byte
	var err error
	if e.poison == NotObject {
		raw, err = enc.text("row " + e.RecordID)
	} else {
		raw, err = enc.row(w.provider.poisoned(f, e.poison, w.PoisonBytes), w.provider.order)
	}
	sum := sha256.Sum256(raw)
	e.size, e.sum = len(raw), hex.EncodeToString(sum[:])
	return raw, err
}
