package schema_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"connector/schema"
)

const ruled = `{
  "type": "object", "required": ["a"],
  "properties": {
    "a": {"type": ["string", "null"], "minLength": 2, "maxLength": 30, "pattern": "^c"},
    "b": {"enum": ["x", 1]},
    "c": {"const": true},
    "d": {"format": "date-time"},
    "e": {"minimum": 1.5, "maximum": 3, "multipleOf": 0.5},
    "f/~": {"anyOf": [{"type": "integer"}, {"type": "integer"}]},
    "g": false,
    "h": {"items": {"type": "string"}, "uniqueItems": true}
  }
}`

func TestValidatorSaysWhereAndWhat(t *testing.T) {
	v, err := schema.NewValidator(file("test.json", "urn:test", ruled))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ body, want string }{
		{`{"a":"canary"}`, ""},
		{`[]`, "the whole: type, want object"},
		{`{}`, "the whole: required, want a"},
		{`{"a":17}`, "/a: type, want null or string"},
		{`{"a":"c"}`, "/a: minLength, want at least 2 characters"},
		{`{"a":"canary canary canary canary canary"}`, "/a: maxLength, want at most 30 characters"},
		{`{"a":"a canary"}`, "/a: pattern, want ^c"},
		{`{"a":null,"b":"canary"}`, "/b: enum, want one of x, 1"},
		{`{"a":null,"c":"canary"}`, "/c: const, want true"},
		{`{"a":null,"d":"canary"}`, "/d: format, want date-time"},
		{`{"a":null,"e":1}`, "/e: minimum, want at least 3/2"},
		{`{"a":null,"e":3.5}`, "/e: maximum, want at most 3"},
		{`{"a":null,"e":1.7}`, "/e: multipleOf"},
		{`{"a":null,"f/~":"canary"}`, "/f~1~0: type, want integer"}, // once, although it breaks two rules
		{`{"a":null,"g":"canary"}`, "/g: not"},
		{`{"a":null,"h":["canary","canary"]}`, "/h: uniqueItems"},
		{`{"a":null,"h":["canary",1]}`, "/h/1: type, want string"},
		{`{"a":1,"b":2,"c":3,"d":"canary","e":0}`, "/a: type, want null or string; /b: enum, want one of x, 1; /c: const, want true; and 2 more"},
		{`{"a":"canary`, "the body is not one JSON value"},
		{`{"a":null} "canary"`, "the body is not one JSON value"},
	}
	for _, tt := range tests {
		got := ""
		if err := v.Validate([]byte(tt.body)); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.body, got, tt.want)
		}
	}
	invalid, ok := errors.AsType[*schema.InvalidError](v.Validate([]byte(`{"b":2}`)))
	want := []schema.Fault{{Keyword: "required", Want: "a"}, {Path: "/b", Keyword: "enum", Want: "one of x, 1"}}
	if !ok || !slices.Equal(invalid.Faults, want) {
		t.Errorf("got %+v, want %+v", invalid, want)
	}
}

func TestNewValidatorRefuses(t *testing.T) {
	for content, want := range map[string]string{`{`: "parsing test.json", `{"type": 1}`: "compiling test.json", `{"pattern": "("}`: "compiling test.json"} {
		if _, err := schema.NewValidator(file("test.json", "urn:test", content)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", content, err, want)
		}
	}
}
