// Package schematest holds what tests ask of the schema beyond what consumers
// may: a form that is closed, and the names that it describes. Product code
// does not use it.
package schematest

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"connector/schema"
)

var (
	event      = sync.OnceValues(func() (*jsonschema.Schema, error) { return compile(newest().Event) })
	resolution = sync.OnceValues(func() (*jsonschema.Schema, error) { return compile(newest().Resolution) })
	deadLetter = sync.OnceValues(func() (*jsonschema.Schema, error) { return compile(newest().DeadLetter) })
	fields     = sync.OnceValues(func() ([]string, error) { return Properties() }) // of an event
)

func newest() *schema.Release { return schema.Released().Newest() }

// Event checks the body of an event against the closed form of its schema: a
// field that is not described is an error. Open are the provider's section and
// what is any JSON.
func Event(body []byte) error { return check(event, body) }

// DeadLetter checks the body of a dead letter as [Event] does that of an event.
func DeadLetter(body []byte) error { return check(deadLetter, body) }

// Resolution checks the body of a resolution as [Event] does that of an event.
func Resolution(body []byte) error { return check(resolution, body) }

// Dead checks the body of a message of a CloudEvents type that goes to the dead letters.
func Dead(messageType string, body []byte) error {
	if messageType == schema.ResolutionType {
		return Resolution(body)
	}
	return DeadLetter(body)
}

// Check checks a body against the closed form of a schema.
func Check(f schema.File, body []byte) error {
	return check(func() (*jsonschema.Schema, error) { return compile(f) }, body)
}

// Properties returns the names that the schema of an event describes, sorted,
// in the object to which path leads from the event.
func Properties(path ...string) ([]string, error) { return properties(newest().Event.JSON, path) }

// Section says how a provider's section in Go, a struct, differs from the
// section that the schema of an event describes, which is to say that it passes on
// further fields; nil when it does not.
func Section(system string, section reflect.Type) error {
	var got []string
	for field := range section.Fields() {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" {
			got = append(got, name)
		}
	}
	slices.Sort(got)
	object, err := objectAt(newest().Event.JSON, []string{system})
	if err != nil {
		return err
	}
	if want := names(object); !slices.Equal(got, want) {
		return fmt.Errorf("the section has %q, the schema describes %q", got, want)
	}
	if object["additionalProperties"] != true {
		return fmt.Errorf("the schema of section %s needs \"additionalProperties\": true, because what it does not describe is passed on", system)
	}
	return nil
}

func check(closed func() (*jsonschema.Schema, error), body []byte) error {
	s, err := closed()
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("the body is not JSON: %w", err)
	}
	return s.Validate(withoutSection(value))
}

// withoutSection leaves out the section of a provider that the schema knows
// nothing of.
func withoutSection(value any) any {
	event, _ := value.(map[string]any)
	source, _ := event["source"].(map[string]any)
	system, _ := source["system"].(string)
	if known, err := fields(); err != nil || slices.Contains(known, system) {
		return value
	}
	event = maps.Clone(event)
	delete(event, system)
	return event
}

// compile compiles the closed form of a schema.
func compile(f schema.File) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(f.JSON))
	if err != nil {
		return nil, fmt.Errorf("parsing %s: %w", f.Name, err)
	}
	root, _ := doc.(map[string]any)
	if err := closeObjects(root); err != nil {
		return nil, fmt.Errorf("closing %s: %w", f.Name, err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(f.ID, root); err != nil {
		return nil, fmt.Errorf("adding %s: %w", f.Name, err)
	}
	return c.Compile(f.ID)
}

// closeObjects closes the root, its objects and its definitions, but for those
// that say that they pass on further fields.
func closeObjects(root map[string]any) error {
	var shut func(name string, s any) error
	shut = func(name string, s any) error {
		object, ok := s.(map[string]any)
		if !ok {
			return fmt.Errorf("%q is no object", name)
		}
		members, ok := object["properties"].(map[string]any)
		if !ok || object["additionalProperties"] == true {
			return nil
		}
		object["additionalProperties"] = false
		for name, s := range members {
			if err := shut(name, s); err != nil {
				return err
			}
		}
		return nil
	}
	defs, _ := root["$defs"].(map[string]any)
	for name, s := range defs {
		if err := shut(name, s); err != nil {
			return err
		}
	}
	return shut("", root)
}

func properties(file []byte, path []string) ([]string, error) {
	object, err := objectAt(file, path)
	return names(object), err
}

// names lists the properties that an object describes.
func names(object map[string]any) []string {
	members, _ := object["properties"].(map[string]any)
	return slices.Sorted(maps.Keys(members))
}

// objectAt returns the schema of the object to which path leads from the root.
func objectAt(file []byte, path []string) (map[string]any, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	root, _ := doc.(map[string]any)
	defs, _ := root["$defs"].(map[string]any)
	object := root
	for _, name := range path {
		members, _ := object["properties"].(map[string]any)
		object, _ = members[name].(map[string]any)
		if ref, ok := object["$ref"].(string); ok {
			object, _ = defs[ref[len("#/$defs/"):]].(map[string]any)
		}
	}
	if _, ok := object["properties"].(map[string]any); !ok {
		return nil, fmt.Errorf("the schema describes no object %q", path)
	}
	return object, nil
}
