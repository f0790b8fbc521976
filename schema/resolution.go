package schema

import (
	"fmt"
	"time"
)

// ResolutionSchema is the CloudEvents dataschema of resolutions; it is the $id
// of deadletter-resolved-1.0.json.
const ResolutionSchema = "urn:connector:schema:delivery-deadletter-resolved:1.0"

// ResolutionType is the CloudEvents type of resolutions.
const ResolutionType = "delivery.deadletter.resolved"

// IsDeadLetter reports whether messages of a CloudEvents type go to the dead letters:
// those themselves and their resolutions.
func IsDeadLetter(messageType string) bool {
	return messageType == DeadLetterType || messageType == ResolutionType
}

// Outcome is what became of a dead letter.
type Outcome string

// The outcomes of schema version 1.
const (
	Published  Outcome = "published"  // its row was published as an event
	Superseded Outcome = "superseded" // a later version of its record was
)

// Resolution says that a record is in order again: nothing is left to do about
// the dead letters of the record that come before it. It has their key and lies
// beside them.
type Resolution struct {
	SchemaVersion string    `json:"schemaVersion"`
	Source        Source    `json:"source"`
	RecordID      string    `json:"recordId"`              // as in the dead letters
	DeadLetterID  string    `json:"deadLetterId,omitzero"` // of the one that was retried; empty when the resolution came about by itself, and settles all before it
	Outcome       Outcome   `json:"outcome"`
	EventID       string    `json:"eventId,omitzero"` // CloudEvents id of the event that resolves; empty when it is no longer known
	ResolvedAt    time.Time `json:"resolvedAt"`       // UTC

	// LetterReplay is the id of the replay that wrote the dead letter last, empty when
	// none did: what a replay brings up again has a resolution of its own.
	LetterReplay string `json:"-"`
}

// Message encodes r as f says. Its id is deterministic over account, stream,
// record id, dead letter with its replay, and event.
func (r *Resolution) Message(f Format) (Message, error) {
	release, written := f.Release(), *r
	written.SchemaVersion = release.Version
	body, err := release.resolutionCut.encode(&written)
	if err != nil {
		return Message{}, fmt.Errorf("encoding resolution of record %q of %s: %w", r.RecordID, r.Source, err)
	}
	return f.encode(Message{
		ID:   digest("resolved", r.Source.Account, r.Source.Stream, r.RecordID, r.DeadLetterID, r.LetterReplay, r.EventID),
		Type: ResolutionType, Source: r.Source, RecordID: r.RecordID, Time: r.ResolvedAt, DataSchema: release.Resolution.ID, Body: body,
	}), nil
}
