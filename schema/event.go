// Package schema defines what consumers read: the delivery event and the dead
// letter, their JSON Schema, and the CloudEvents 1.0 message that carries them.
package schema

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// Version is the schema version of the events and dead letters this package
// writes.
const Version = "1.0"

// DataSchema is the CloudEvents dataschema of events; it is the $id of
// event-1.0.json, which says of every field where it comes from.
const DataSchema = "urn:connector:schema:delivery-event:1.0"

// Channel is how the provider delivers. Later minor versions may add others.
type Channel string

// The channels of schema version 1.0, each with a section of its name.
const (
	ChannelWebhook Channel = "webhook"
	ChannelSMS     Channel = "sms"
)

// Status is what became of a delivery, the same words for every provider.
type Status string

// The statuses of schema version 1; no minor version adds others.
const (
	Pending   Status = "pending"   // the provider still works on it
	Delivered Status = "delivered" // accepted by the receiver
	Failed    Status = "failed"    // given up or refused, as of this version
	Unknown   Status = "unknown"   // the provider does not say
)

// Privacy is what was done to personal data before the event was written.
type Privacy string

// The values of Privacy of schema version 1; no minor version adds others.
const (
	PrivacyOff      Privacy = "off"      // nothing
	PrivacyStandard Privacy = "standard" // masked
	PrivacyStrict   Privacy = "strict"   // texts and bodies left out
)

// Source names where a record was read.
type Source struct {
	System  string `json:"system"`  // kind of provider, such as "ekuaibao"
	Account string `json:"account"` // name of the account in the configuration
	Stream  string `json:"stream"`  // query shape, such as a messageType or "sms"
}

// String returns system/account/stream.
func (s Source) String() string { return s.System + "/" + s.Account + "/" + s.Stream }

// Record identifies one version of one row of a delivery log.
type Record struct {
	ID       string `json:"id"`                // the provider's id of the row
	Revision int    `json:"revision,omitzero"` // 1 for the first version published of a record, +1 for each next; 0 in a replay when it is not remembered
	Version  string `json:"version,omitzero"`  // the provider's own version, as text; empty where it has none
	Terminal bool   `json:"terminal"`          // whether the provider will not change the row again
	Left     bool   `json:"left,omitzero"`     // whether the row is no longer in the provider's log
}

// Event is one normalized version of one record. Times are UTC.
type Event struct {
	SchemaVersion  string    `json:"schemaVersion"`
	Source         Source    `json:"source"`
	Record         Record    `json:"record"`
	Channel        Channel   `json:"channel"`
	Status         Status    `json:"status"`
	ProviderStatus string    `json:"providerStatus"`     // as given, without the spaces around it
	CreatedAt      time.Time `json:"createdAt"`          // when the provider created the row
	UpdatedAt      time.Time `json:"updatedAt,omitzero"` // when it last changed; zero where the provider does not say
	ObservedAt     time.Time `json:"observedAt"`         // when the connector read this version
	Replay         string    `json:"replay,omitzero"`    // id of the replay that publishes it again; empty on first publication
	Privacy        Privacy   `json:"privacy"`

	// The section of the channel; nil in others, and when the row left.
	Webhook *Webhook `json:"webhook,omitzero"`
	SMS     *SMS     `json:"sms,omitzero"`

	Raw       string `json:"raw,omitzero"`       // the provider's row, when it is wanted and UTF-8
	RawBase64 string `json:"rawBase64,omitzero"` // the provider's row, when it is wanted and not UTF-8

	// Section holds, under the system's name, the fields of the row that have
	// no place above, under the provider's own names.
	Section map[string]any `json:",embed"`

	// ID is the CloudEvents id: see [EventID] and [ReplayEventID].
	ID string `json:"-"`
}

// EventID returns the deterministic id of a record version: hex SHA-256 over
// account, stream, record id and print, each preceded by its length.
func EventID(account, stream, recordID, print string) string {
	return digest("event", account, stream, recordID, print)
}

// ReplayEventID returns the id of a record version in a replay with new ids: as
// [EventID], over the replay id, too.
func ReplayEventID(account, stream, recordID, print, replay string) string {
	return digest("replay", account, stream, recordID, print, replay)
}

func digest(parts ...string) string {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Message encodes e as f says, in whose version e is written, whatever its
// SchemaVersion. The only possible error is a Section that is not JSON.
func (e *Event) Message(f Format) (Message, error) {
	r, written := f.Release(), *e
	written.SchemaVersion = r.Version
	body, err := r.eventCut.encode(&written)
	if err != nil {
		return Message{}, fmt.Errorf("encoding event of record %q of %s: %w", e.Record.ID, e.Source, err)
	}
	return f.encode(Message{
		ID: e.ID, Type: "delivery." + string(e.Channel) + "." + string(e.Status), Source: e.Source,
		RecordID: e.Record.ID, Time: e.time(), DataSchema: r.Event.ID, Replay: e.Replay, Body: body,
	}), nil
}

// time is when the version came to be, as far as the provider says: when the
// row last changed, else was created. That a row left was noticed by reading.
func (e *Event) time() time.Time {
	switch {
	case e.Record.Left:
		return e.ObservedAt
	case !e.UpdatedAt.IsZero():
		return e.UpdatedAt
	default:
		return e.CreatedAt
	}
}
