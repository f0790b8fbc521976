package schema

import (
	"encoding/base64"
	"fmt"
	"time"
	"unicode/utf8"
)

// DeadLetterSchema is the CloudEvents dataschema of dead letters; it is the
// $id of deadletter-1.0.json.
const DeadLetterSchema = "urn:connector:schema:delivery-deadletter:1.0"

// DeadLetterType is the CloudEvents type of dead letters.
const DeadLetterType = "delivery.deadletter"

// DeadLetter is a row of which no event can be made, with the reason and
// what is kept of the row.
type DeadLetter struct {
	SchemaVersion string    `json:"schemaVersion"`
	Source        Source    `json:"source"`
	RecordID      string    `json:"recordId"` // the provider's id, or "digest:<hex>" of a row without one
	Class         string    `json:"class"`    // short stable word, such as "decode" or "too_large"
	Reason        string    `json:"reason"`
	CreatedAt     time.Time `json:"createdAt,omitzero"` // the row's, where it could be read; UTC
	Position      Position  `json:"position"`           // where to read the row again
	ObservedAt    time.Time `json:"observedAt"`         // when the row was read: in the first publication, when it was first seen; in a replay, the replay's reading; UTC
	Replay        string    `json:"replay,omitzero"`    // id of the replay that publishes it again
	Privacy       Privacy   `json:"privacy"`            // what was done to raw and reason
	Raw           string    `json:"raw,omitzero"`       // the row, when it is UTF-8
	RawBase64     string    `json:"rawBase64,omitzero"` // the row, when it is not UTF-8
	RawBytes      int64     `json:"rawBytes"`           // size of the whole row
	RawDigest     string    `json:"rawDigest"`          // of the whole row, keyed, hex
	Truncated     bool      `json:"truncated"`          // whether raw holds only the beginning of the row
}

// Position is the window in which a row was read, both ends included, in the
// time by which the provider selects rows; UTC.
type Position struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// MaxDeadLetterRaw bounds, in bytes, what a dead letter keeps of a row.
const MaxDeadLetterRaw = 256 << 10

// SetRaw stores what is kept of a row, cut at [MaxDeadLetterRaw], and the size
// in bytes and digest of the whole row. whole says whether raw stands for all of it.
func (d *DeadLetter) SetRaw(raw []byte, whole bool, size int64, digest string) {
	head := raw[:min(len(raw), MaxDeadLetterRaw)]
	d.RawBytes, d.RawDigest, d.Truncated = size, digest, !whole || len(head) < len(raw)
	if d.Truncated {
		head = wholeRunes(head)
	}
	if utf8.Valid(head) {
		d.Raw = string(head)
		return
	}
	d.RawBase64 = base64.StdEncoding.EncodeToString(head)
}

// wholeRunes drops a rune that a cut left incomplete at the end of b.
func wholeRunes(b []byte) []byte {
	for i := 1; i <= utf8.UTFMax && i <= len(b); i++ {
		if tail := b[len(b)-i:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return b[:len(b)-i]
			}
			break
		}
	}
	return b
}

// Message encodes d as f says. Its id is deterministic over account, stream, record id
// and the raw row.
func (d *DeadLetter) Message(f Format) (Message, error) {
	r, written := f.Release(), *d
	written.SchemaVersion = r.Version
	body, err := r.deadLetterCut.encode(&written)
	if err != nil {
		return Message{}, fmt.Errorf("encoding dead letter of record %q of %s: %w", d.RecordID, d.Source, err)
	}
	at := d.CreatedAt
	if at.IsZero() {
		at = d.ObservedAt
	}
	return f.encode(Message{
		ID:   digest("deadletter", d.Source.Account, d.Source.Stream, d.RecordID, d.RawDigest),
		Type: DeadLetterType, Source: d.Source, RecordID: d.RecordID, Time: at, DataSchema: r.DeadLetter.ID,
		Replay: d.Replay, Body: body,
	}), nil
}
