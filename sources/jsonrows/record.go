package jsonrows

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"connector/internal/fault"
	"connector/sources"
)

// Record returns a record that holds the row and nothing of its meaning. A
// row larger than the limit, which the variable named sets, has a fault.
func (r Row) Record(variable string) sources.Record {
	rec := sources.Record{Raw: bytes.Clone(r.Raw), Size: r.Size, SHA256: r.SHA256}
	if r.SHA256 == "" {
		return rec
	}
	return Reject(rec, "too_large", "", fmt.Errorf("the row has %d bytes, more than %s allows", r.Size, variable))
}

// Reject returns rec as one that can never become an event, of the given
// class. With an empty id it is known by its hash and never changes; otherwise
// the provider may still mend it.
func Reject(rec sources.Record, class, id string, err error) sources.Record {
	hash := rec.SHA256
	if hash == "" {
		hash = Sum(rec.Raw)
	}
	rec.ID, rec.Print, rec.Rank, rec.Terminal = id, hash, 0, id == ""
	if id == "" {
		rec.ID = "sha256:" + hash
	}
	rec.Fault = fault.Reject(class, err)
	return rec
}

// Sum returns the hex SHA-256 of b.
func Sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
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
