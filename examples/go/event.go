package main

import "time"

// Event is what this consumer uses of a delivery event, schema version 1. Fields that are not named here are ignored,
// and so are those that a later 1.x adds: a consumer need not know them.
type Event struct {
	Source  Source    `json:"source"`
	Record  Record    `json:"record"`
	Channel string    `json:"channel"`        // webhook, sms, or one that a later 1.x adds
	Status  string    `json:"status"`         // pending, delivered, failed or unknown
	Word    string    `json:"providerStatus"` // the provider's own word
	Created time.Time `json:"createdAt"`
	Read    time.Time `json:"observedAt"` // when the connector read this version
	Webhook Webhook   `json:"webhook"`    // zero in other channels, and of a row that left
	SMS     SMS       `json:"sms"`        // the same
}

// Source says where the row was read.
type Source struct {
	System  string `json:"system"`
	Account string `json:"account"`
	Stream  string `json:"stream"`
}

// Record names a row of the provider's log, and one version of it.
type Record struct {
	ID       string `json:"id"`
	Revision int    `json:"revision"` // 1, 2, 3, …; 0: absent, in some replays
	Terminal bool   `json:"terminal"` // the provider will not change the row again
	Left     bool   `json:"left"`     // the row is no longer in the provider's log
}

// Webhook is the section of channel webhook.
type Webhook struct {
	NodeName string `json:"nodeName"`
}

// SMS is the section of channel sms.
type SMS struct {
	Sent     time.Time `json:"sentAt"`     // zero: not yet
	Reported time.Time `json:"reportedAt"` // zero: not yet, or the provider does not say
}
