package sinks

import "connector/schema"

// Received is a message as a reader of the sink sees it.
type Received struct {
	Position   string // where it lies, in the sink's own words: "DELIVERY#17", "delivery.events[2]@17", "events.ndjson:17"
	Dead       bool   // whether it is a dead letter
	Key        string // partition key where the sink has one
	Attributes []schema.Attribute
	Body       []byte // valid only during the call
}

// Attribute returns the value of a context attribute, or "".
func (r *Received) Attribute(name string) string {
	for _, a := range r.Attributes {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}

// TailOptions say what a reader of a sink shows.
type TailOptions struct {
	FromStart bool // begin with the oldest message instead of only new ones
	Follow    bool // wait for new messages; otherwise return at the end that was there at the start
	Dead      bool // read dead letters as well, and their resolutions
	NoEvents  bool // read nothing else
}
