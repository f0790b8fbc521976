package schema

import (
	"bytes"
	_ "embed"
	"fmt"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// EventSchema is the JSON Schema (2020-12) of an event, as released to consumers.
//
//go:embed v1.json
var EventSchema []byte

var eventValidator = sync.OnceValues(func() (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(EventSchema))
	if err != nil {
		return nil, fmt.Errorf("parsing v1.json: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(DataSchema, doc); err != nil {
		return nil, fmt.Errorf("adding v1.json: %w", err)
	}
	return c.Compile(DataSchema)
})

// Validate checks the JSON body of an event against [EventSchema], formats
// included. It is safe for concurrent use.
func Validate(body []byte) error {
	s, err := eventValidator()
	if err != nil {
		return err
	}
	event, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("event is not JSON: %w", err)
	}
	return s.Validate(event)
}
