package pipeline

import (
	"fmt"

	"connector/internal/fault"
	"connector/schema"
)

// Validate says which events are checked against their schema before they are
// published. Its zero value checks none.
type Validate struct {
	Every     int               // the first event of each stream and every so many after it; 0: none
	Validator *schema.Validator // of the version that is published
}

// sampler chooses and checks the events of one stream.
type sampler struct {
	Validate
	events int  // so far
	strict bool // whether it is the turn of every event, unless none is checked
}

// check checks the body of an event when it is its turn. The error is a reason to
// bury the record: it names the place and the rule, and holds no value.
func (s *sampler) check(m *schema.Message) error {
	s.events++
	if s.Every == 0 || !s.strict && (s.events-1)%s.Every != 0 {
		return nil
	}
	body := m.Body
	if m.Structured {
		var err error
		if _, body, err = schema.ParseStructured(m.Body); err != nil {
			return fault.Reject("invalid", fmt.Errorf("reading the event back: %w", err))
		}
	}
	if err := s.Validator.Validate(body); err != nil {
		return fault.Reject("invalid", fmt.Errorf("event is not as its schema says: %w", err))
	}
	return nil
}
