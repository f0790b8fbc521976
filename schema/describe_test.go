package schema_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"

	jsonv2 "github.com/go-json-experiment/json"

	"connector/schema"
	"connector/schema/schematest"
)

// files are the schema files, with the type that writes what they describe and the checks of it.
func files() map[string]struct {
	file    []byte
	id      string
	written any
	closed  func([]byte) error
} {
	return map[string]struct {
		file    []byte
		id      string
		written any
		closed  func([]byte) error
	}{
		"event":       {schema.Released().Newest().Event.JSON, schema.DataSchema, &schema.Event{}, schematest.Event},
		"dead letter": {schema.Released().Newest().DeadLetter.JSON, schema.DeadLetterSchema, &schema.DeadLetter{}, schematest.DeadLetter},
		"resolution":  {schema.Released().Newest().Resolution.JSON, schema.ResolutionSchema, &schema.Resolution{}, schematest.Resolution},
	}
}

func parsed(t *testing.T, file []byte) map[string]any {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return doc.(map[string]any)
}

// TestExamples wants each whole example valid, in the closed form, too, and read by the Go type without loss.
func TestExamples(t *testing.T) {
	for name, f := range files() {
		doc := parsed(t, f.file)
		if got := doc["$id"]; got != f.id {
			t.Errorf("%s: got $id %v, want %s", name, got, f.id)
		}
		examples, _ := doc["examples"].([]any)
		if len(examples) < 2 {
			t.Fatalf("%s: got %d examples", name, len(examples))
		}
		for _, example := range examples {
			body, err := json.Marshal(example)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.closed(body); err != nil {
				t.Errorf("%s: closed: %v: %s", name, err, body)
			}
			value := reflect.New(reflect.TypeOf(f.written).Elem()).Interface()
			if err := jsonv2.Unmarshal(body, value); err != nil {
				t.Fatalf("%s: %v: %s", name, err, body)
			}
			again, err := jsonv2.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := canonical(t, again), canonical(t, body); got != want {
				t.Errorf("%s: read and written again\n got %s\nwant %s", name, got, want)
			}
		}
	}
}

func canonical(t *testing.T, body []byte) string {
	t.Helper()
	v := jsontext.Value(bytes.Clone(body))
	if err := v.Canonicalize(); err != nil {
		t.Fatal(err)
	}
	return string(v)
}

// TestDescribed wants every field described, and every object open.
func TestDescribed(t *testing.T) {
	for name, f := range files() {
		doc := parsed(t, f.file)
		described(t, name, doc)
		defs, _ := doc["$defs"].(map[string]any)
		for def, s := range defs {
			described(t, name+" "+def, s)
		}
	}
}

func described(t *testing.T, path string, s any) {
	t.Helper()
	object, _ := s.(map[string]any)
	if further, said := object["additionalProperties"]; said && further != true {
		t.Errorf("%s: is closed; consumers must take further fields", path)
	}
	text, _ := object["description"].(string)
	if _, ref := object["$ref"]; !ref && !strings.HasSuffix(text, ".") {
		t.Errorf("%s: got description %q", path, text)
	}
	members, _ := object["properties"].(map[string]any)
	for name, s := range members {
		described(t, path+"."+name, s)
	}
}

// TestFieldsAreTheSchemas wants the Go types and the schema files to describe the same fields, and the same of them always present.
// The providers' sections are compared where they are made.
func TestFieldsAreTheSchemas(t *testing.T) {
	for name, f := range files() {
		whole := reflect.New(reflect.TypeOf(f.written).Elem())
		fill(whole.Elem())
		same(t, name, parsed(t, f.file), encoded(t, whole.Interface()), encoded(t, f.written))
	}
}

// fill sets every field.
func fill(v reflect.Value) {
	switch {
	case v.Type() == reflect.TypeFor[jsontext.Value]():
		v.Set(reflect.ValueOf(jsontext.Value(`1`)))
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case v.Kind() == reflect.Struct && v.NumField() > 0 && v.Type().Field(0).IsExported():
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case v.Kind() == reflect.Struct: // a time, of which zero is none
		v.Set(reflect.ValueOf(event().CreatedAt))
	case v.Kind() == reflect.String:
		v.SetString("x")
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(1)
	case v.CanFloat():
		v.SetFloat(1)
	}
}

func encoded(t *testing.T, v any) map[string]any {
	t.Helper()
	body, err := jsonv2.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return parsed(t, body)
}

// same compares what a schema describes with an object that has all fields and one that has only those always written.
func same(t *testing.T, path string, s, whole, least map[string]any) {
	t.Helper()
	root := s
	var compare func(path string, s, whole, least map[string]any)
	compare = func(path string, s, whole, least map[string]any) {
		if ref, ok := s["$ref"].(string); ok {
			s = root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
		}
		members, ok := s["properties"].(map[string]any)
		if !ok {
			return
		}
		members = maps.Clone(members)
		maps.DeleteFunc(members, func(name string, _ any) bool { return name == "ekuaibao" || name == "submail" })
		if got, want := slices.Sorted(maps.Keys(members)), slices.Sorted(maps.Keys(whole)); !slices.Equal(got, want) {
			t.Errorf("%s: the schema describes %q, the type writes %q", path, got, want)
		}
		var required []string
		for _, name := range list(s["required"]) {
			required = append(required, name.(string))
		}
		slices.Sort(required)
		if got := slices.Sorted(maps.Keys(least)); least != nil && !slices.Equal(got, required) {
			t.Errorf("%s: the schema requires %q, the type writes always %q", path, required, got)
		}
		for name, member := range members {
			inner, _ := whole[name].(map[string]any)
			innerLeast, _ := least[name].(map[string]any)
			if inner != nil {
				compare(path+"."+name, member.(map[string]any), inner, innerLeast)
			}
		}
	}
	compare(path, s, whole, least)
}

func list(v any) []any { l, _ := v.([]any); return l }
