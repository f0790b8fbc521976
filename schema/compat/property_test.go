package compat_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"connector/schema/compat"
)

type object = map[string]any

var names = []string{"a", "b", "c", "d"}

// drawSchema draws a schema of the kinds that ours are made of.
func drawSchema(t *rapid.T, depth int) object {
	kinds := []string{"text", "number", "choice", "any"}
	if depth > 0 {
		kinds = append(kinds, "object", "object", "list")
	}
	switch rapid.SampledFrom(kinds).Draw(t, "kind") {
	case "text":
		return object{"type": "string", "minLength": rapid.IntRange(0, 2).Draw(t, "minLength")}
	case "number":
		return object{"type": "integer", "maximum": rapid.IntRange(1, 3).Draw(t, "maximum")}
	case "choice":
		return object{"enum": rapid.SliceOfNDistinct(rapid.SampledFrom([]any{"x", "y", 1, nil}), 1, 3, rapid.ID).Draw(t, "enum")}
	case "list":
		return object{"type": "array", "items": drawSchema(t, depth-1)}
	case "object":
		return drawObject(t, depth)
	}
	return object{}
}

func drawObject(t *rapid.T, depth int) object {
	properties := object{}
	for _, name := range rapid.SliceOfDistinct(rapid.SampledFrom(names), rapid.ID).Draw(t, "names") {
		properties[name] = drawSchema(t, depth-1)
	}
	s := object{"type": "object", "properties": properties, "required": drawSome(t, properties)}
	if rapid.Bool().Draw(t, "closed") && rapid.Bool().Draw(t, "really") && rapid.Bool().Draw(t, "at all") {
		s["additionalProperties"] = false
	}
	return s
}

func drawSome(t *rapid.T, properties object) []any {
	some := []any{}
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		if rapid.Bool().Draw(t, "required") {
			some = append(some, name)
		}
	}
	return some
}

// mutate changes something about a schema: compatibly or not.
func mutate(t *rapid.T, s object) {
	properties, _ := s["properties"].(object)
	items, _ := s["items"].(object)
	deeper := slices.Sorted(maps.Keys(properties))
	switch what := rapid.SampledFrom([]string{"deeper", "add", "replace", "remove", "require", "other", "text"}).Draw(t, "mutation"); {
	case what == "deeper" && len(deeper) > 0:
		mutate(t, properties[rapid.SampledFrom(deeper).Draw(t, "into")].(object))
	case what == "deeper" && items != nil:
		mutate(t, items)
	case (what == "add" || what == "replace") && properties != nil:
		name := rapid.SampledFrom(names).Draw(t, "name")
		if _, has := properties[name]; !has || what == "replace" {
			properties[name] = drawSchema(t, 1)
		}
	case what == "remove" && properties != nil:
		delete(properties, rapid.SampledFrom(names).Draw(t, "name"))
	case what == "require" && properties != nil:
		s["required"] = drawSome(t, properties)
	case what == "other":
		clear(s)
		maps.Copy(s, drawSchema(t, 1))
	default:
		s["description"] = "new"
	}
}

// drawDocument draws a document that a schema describes, mostly.
func drawDocument(t *rapid.T, s object) any {
	if enum, ok := s["enum"].([]any); ok {
		return rapid.SampledFrom(enum).Draw(t, "choice")
	}
	switch s["type"] {
	case "string":
		return rapid.StringMatching("[a-z]{0,3}").Draw(t, "text")
	case "integer":
		return rapid.IntRange(-1, 3).Draw(t, "number")
	case "array":
		list := []any{}
		for range rapid.IntRange(0, 2).Draw(t, "length") {
			list = append(list, drawDocument(t, s["items"].(object)))
		}
		return list
	case "object":
		o := object{}
		properties := s["properties"].(object)
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			if slices.Contains(s["required"].([]any), any(name)) || rapid.Bool().Draw(t, "present") {
				o[name] = drawDocument(t, properties[name].(object))
			}
		}
		return o
	}
	return rapid.SampledFrom([]any{"any", 1, nil, []any{}, object{}}).Draw(t, "any")
}

func encode(t *rapid.T, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func compiled(t *rapid.T, s object) *jsonschema.Schema {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(encode(t, s)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("urn:s", doc); err != nil {
		t.Fatal(err)
	}
	return c.MustCompile("urn:s")
}

func valid(t *rapid.T, s *jsonschema.Schema, document []byte) bool {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(v) == nil
}

func clone(t *rapid.T, s object) object {
	var c object
	if err := json.Unmarshal(encode(t, s), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestReadersOfBothVersions: after a compatible change, documents that either
// version describes are valid under both.
func TestReadersOfBothVersions(t *testing.T) {
	judged := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		old := drawObject(t, 2)
		next := clone(t, old)
		for range rapid.IntRange(1, 3).Draw(t, "mutations") {
			mutate(t, next)
		}
		breaking, err := compat.Compatible(encode(t, old), encode(t, next))
		if err != nil {
			t.Fatal(err)
		}
		judged[len(breaking) == 0]++
		if len(breaking) > 0 {
			return
		}
		before, after := compiled(t, old), compiled(t, next)
		for range 5 {
			if d := encode(t, drawDocument(t, next)); valid(t, after, d) && !valid(t, before, d) {
				t.Fatalf("%s is valid under the new %s and not under the old %s", d, encode(t, next), encode(t, old))
			}
			if d := encode(t, drawDocument(t, old)); valid(t, before, d) && !valid(t, after, d) {
				t.Fatalf("%s is valid under the old %s and not under the new %s", d, encode(t, old), encode(t, next))
			}
		}
	})
	if judged[true] < 10 || judged[false] < 10 {
		t.Errorf("got %d compatible and %d breaking changes, want more of each", judged[true], judged[false])
	}
}

// FuzzCompare wants no panic of any two schemas, and no change between a schema and itself.
func FuzzCompare(f *testing.F) {
	for _, seed := range []string{base, `{"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}`, `{"enum": [null, 1.0]}`, `{"required": 1, "properties": [], "allOf": {}}`, `true`} {
		f.Add([]byte(seed), []byte(base))
	}
	f.Fuzz(func(t *testing.T, old, next []byte) {
		_, _ = compat.Compare(old, next)
		if changes, err := compat.Compare(old, old); err == nil && len(changes) > 0 {
			t.Errorf("%s changed to itself by %+v", old, changes)
		}
	})
}
