package schema

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Direction is who called whom.
type Direction string

// The directions of schema version 1.
const (
	Outgoing Direction = "outgoing" // the provider called the external service
	Incoming Direction = "incoming" // the external service called back
)

// Webhook is the section of [ChannelWebhook]. What the provider did not give,
// or gave as blank text, is zero; texts have no spaces around them.
type Webhook struct {
	Direction         Direction      `json:"direction,omitzero"`
	ConfigurationID   string         `json:"configurationId,omitzero"` // of the message as it is set up, not of the row
	ConfigurationName string         `json:"configurationName,omitzero"`
	NodeID            string         `json:"nodeId,omitzero"`
	NodeName          string         `json:"nodeName,omitzero"`
	Request           jsontext.Value `json:"request,omitzero"`  // any JSON but null, as given
	Response          jsontext.Value `json:"response,omitzero"` // any JSON but null, as given
}

// SMS is the section of [ChannelSMS]. What the provider did not give, or gave
// as blank text, is zero or nil; texts have no spaces around them.
type SMS struct {
	Recipient     string    `json:"recipient,omitzero"`     // phone number, as the privacy rules leave it
	RecipientHash string    `json:"recipientHash,omitzero"` // keyed hash of the phone number
	Text          string    `json:"text,omitzero"`
	Signature     string    `json:"signature,omitzero"`
	Template      string    `json:"template,omitzero"`
	SentAt        time.Time `json:"sentAt,omitzero"`     // when it was handed to the carrier; UTC
	ReportedAt    time.Time `json:"reportedAt,omitzero"` // when the carrier reported; UTC
	CarrierStatus string    `json:"carrierStatus,omitzero"`
	FailureReason string    `json:"failureReason,omitzero"`
	Carrier       string    `json:"carrier,omitzero"`
	Region        string    `json:"region,omitzero"`
	Length        *int64    `json:"length,omitzero"`  // characters
	Credits       *float64  `json:"credits,omitzero"` // price, in the provider's credits
}
