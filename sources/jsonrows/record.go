package jsonrows

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"connector/internal/fault"
	"connector/sources"
)

// MaxID is the longest id of a record in bytes: it travels in headers and
// keys, which the sinks limit.
const MaxID = 512

// Record returns a record that holds the row and nothing of its meaning. A
// row that was skipped has a fault: it nests too deep, or is larger than the
// limit, which the variable named sets.
func (r Row) Record(variable string) sources.Record {
	rec := sources.Record{Raw: bytes.Clone(r.Raw), Size: r.Size, SHA256: r.SHA256}
	switch {
	case r.SHA256 == "":
		return rec
	case int64(len(r.Raw)) == r.Size:
		rec.SHA256 = ""
	}
	if r.TooDeep {
		return Reject(rec, "decode", "", errors.New("the row nests too deep to be read"))
	}
	return Reject(rec, "too_large", "", fmt.Errorf("the row has %d bytes, more than %s allows", r.Size, variable))
}

// Identify returns rec with its id, the value of the field named. Without
// one, or with one longer than [MaxID], it is rejected.
func Identify(rec sources.Record, field, id string) sources.Record {
	switch {
	case id == "":
		return Reject(rec, "no_id", "", fmt.Errorf("the row has no %s", field))
	case len(id) > MaxID:
		return Reject(rec, "too_large", "", fmt.Errorf("field %q has %d bytes, more than %d", field, len(id), MaxID))
	}
	rec.ID = id
	return rec
}

// Reject returns rec as one that can never become an event, of the given
// class. Without an id, or with one longer than [MaxID], it is known by its
// hash and never changes; otherwise the provider may still mend it.
func Reject(rec sources.Record, class, id string, err error) sources.Record {
	hash := rec.SHA256
	if hash == "" {
		hash = Sum(rec.Raw)
	}
	if len(id) > MaxID {
		id = ""
	}
	rec.ID, rec.Print, rec.Rank, rec.Terminal = id, hash, sources.UnknownRank, id == ""
	if id == "" {
		rec.ID = sources.HashID + hash
	}
	rec.Fault = fault.Reject(class, err)
	return rec
}

// Sum returns the hex SHA-256 of b.
func Sum(b []byte) string {
	s := sha256.Sum256(b)
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], s[:])
	return string(text[:])
}

// TextField returns a scalar member of a row of any shape, trimmed; "" when
// there is none.
func TextField(raw []byte, name string) string {
	var members map[string]jsontext.Value
	if Decode(raw, &members) != nil {
		return ""
	}
	var t Text
	value := members[name]
	if kind := value.Kind(); kind == jsontext.KindInvalid || kind == jsontext.KindNull || t.UnmarshalJSON(value) != nil {
		return ""
	}
	return t.Trimmed()
}
