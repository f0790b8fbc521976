package schema

import (
	"bytes"
	_ "embed"
	"fmt"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// EventFile is the JSON Schema (2020-12) of an event, as released to
// consumers. Its $id is [DataSchema].
//
//go:embed event-1.0.json
var EventFile []byte

// DeadLetterFile is the JSON Schema (2020-12) of a dead letter, as released to
// consumers. Its $id is [DeadLetterSchema].
//
//go:embed deadletter-1.0.json
var DeadLetterFile []byte

var (
	eventValidator      = sync.OnceValues(func() (*jsonschema.Schema, error) { return compile(DataSchema, EventFile) })
	deadLetterValidator = sync.OnceValues(func() (*jsonschema.Schema, error) { return compile(DeadLetterSchema, DeadLetterFile) })
)

// compile compiles a schema file, formats asserted.
func compile(id string, file []byte) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("parsing schema %s: %w", id, err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(id, doc); err != nil {
		return nil, fmt.Errorf("adding schema %s: %w", id, err)
	}
	return c.Compile(id)
}

// Validate checks the JSON body of an event against [EventFile], formats
// included. It is safe for concurrent use.
func Validate(body []byte) error {
	s, err := eventValidator()
	if err != nil {
		return err
	}
	return validate(s, body)
}

// ValidateDeadLetter checks the JSON body of a dead letter against
// [DeadLetterFile], formats included. It is safe for concurrent use.
func ValidateDeadLetter(body []byte) error {
	s, err := deadLetterValidator()
	if err != nil {
		return err
	}
	return validate(s, body)
}

func validate(s *jsonschema.Schema, body []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("the body is not JSON: %w", err)
	}
	return s.Validate(value)
}
