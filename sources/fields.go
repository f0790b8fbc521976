package sources

// Kind says what a field of a provider's row holds, for the privacy rules.
type Kind int

// The kinds of fields. One that a source does not name is a KindBody.
const (
	KindBody      Kind = iota // any JSON: what was sent or answered, and what nobody described
	KindPlain                 // an id, time, number or word of the provider's: kept
	KindNote                  // a name or explanation: kept but for phone numbers and the like
	KindText                  // the text of a message
	KindRecipient             // phone numbers, separated by commas if several
)

// Field is what a source says of a field of its rows.
type Field struct {
	Kind Kind
	Path string // where an event has it, such as "sms.text"; "": in the provider's section under its own name, or in the envelope
}

// Fields are the fields of the rows of a stream that are known, by name.
type Fields map[string]Field
