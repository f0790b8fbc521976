package compat_test

import (
	"slices"
	"strings"
	"testing"

	"connector/schema/compat"
)

// base describes an event in small: every rule has something to break in it.
const base = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:test:1.0", "title": "Event",
  "type": "object", "required": ["id", "status"],
  "properties": {
    "id": {"type": "string", "minLength": 1, "description": "Id."},
    "status": {"enum": ["open", "done"]},
    "at": {"$ref": "#/$defs/instant", "description": "When."},
    "left": {"const": true},
    "count": {"type": "integer", "minimum": 0, "maximum": 10},
    "tags": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}, "maxItems": 3},
    "closed": {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": false},
    "texts": {"type": "object", "additionalProperties": {"type": "string"}},
    "own": {"type": "object", "properties": {"b": {"type": "string"}}, "additionalProperties": true},
    "a/b~c": {"type": "string"},
    "child": {"$ref": "#"},
    "any": true
  },
  "anyOf": [{"required": ["at"]}, {"properties": {"left": {"const": true}}, "required": ["left"]}],
  "allOf": [{"properties": {"id": {"pattern": "^[a-z]"}}}],
  "x-team": "a",
  "$defs": {"instant": {"type": "string", "format": "date-time", "pattern": "Z$"}, "unused": {"type": "string"}}
}`

func TestCompatible(t *testing.T) {
	tests := []struct {
		name     string
		old, new string // what of base is replaced by what
		want     string // pointer and text of the only breaking change; "" when there is none
	}{
		{"nothing", "", "", ""},
		{"description", `"description": "Id."`, `"description": "The id."`, ""},
		{"title, examples, comment", `"title": "Event"`, `"title": "An event", "examples": [1], "$comment": "c"`, ""},
		{"id of the file", "urn:test:1.0", "urn:test:1.1", ""},
		{"optional property", `"left":`, `"new": {"type": "string", "x-since": "1.1"}, "left":`, ""},
		{"optional property of an element", `{"name":`, `{"new": true, "name":`, ""},
		{"property in allOf", `{"id": {"pattern"`, `{"new": {"type": "string"}, "id": {"pattern"`, ""},
		{"definition that nothing uses", `"unused": {"type": "string"}`, `"other": true`, ""},
		{"definition in place of the reference", `{"$ref": "#/$defs/instant", "description": "When."}`, `{"type": "string", "format": "date-time", "pattern": "Z$"}`, ""},
		{"order of required", `["id", "status"]`, `["status", "id"]`, ""},
		{"open, said in words", `"title": "Event"`, `"additionalProperties": true`, ""},
		{"schema that allows all, as an object", `"any": true`, `"any": {"description": "Any JSON."}`, ""},

		{"property removed", `"left": {"const": true},`, ``, "/properties/left property removed"},
		{"property renamed", `"count": {`, `"number": {`, "/properties/count property removed"},
		{"property removed below items", `{"name": {"type": "string"}}`, `{}`, "/properties/tags/items/properties/name property removed"},
		{"all properties removed", `"properties": {"a": {"type": "string"}}, `, ``, "/properties/closed/properties/a property removed"},
		{"type changed", `"type": "integer"`, `"type": "string"`, `/properties/count/type type was "integer" and is "string"`},
		{"type widened", `"type": "integer"`, `"type": ["integer", "null"]`, "/properties/count/type type was"},
		{"type removed", `"type": "integer", `, ``, `/properties/count/type type was "integer" and is absent`},
		{"type added", `"any": true`, `"any": {"type": "string"}`, `/properties/any/type type is "string" and was absent`},
		{"no longer required", `["id", "status"]`, `["id"]`, `/required property "status" is no longer required`},
		{"required is gone", `"required": ["id", "status"],`, ``, `/required property "id" is no longer required`},
		{"newly required", `["id", "status"]`, `["id", "status", "at"]`, `/required property "at" is required and was not`},
		{"new and required", `"required": ["id", "status"],
  "properties": {`, `"required": ["id", "status", "new"], "properties": {"new": {"type": "string"},`, `/required property "new" is required and was not`},
		{"enum wider", `["open", "done"]`, `["open", "done", "lost"]`, `/properties/status/enum enum has no longer none, has newly "lost"`},
		{"enum narrower", `["open", "done"]`, `["open"]`, `/properties/status/enum enum has no longer "done", has newly none`},
		{"enum changed", `["open", "done"]`, `["open", "ended"]`, `has no longer "done", has newly "ended"`},
		{"enum removed", `"status": {"enum": ["open", "done"]}`, `"status": {}`, "/properties/status/enum enum was"},
		{"enum to const", `"status": {"enum": ["open", "done"]}`, `"status": {"const": "open", "enum": ["open", "done"]}`, `/properties/status/const const is "open" and was absent`},
		{"const null", `"any": true`, `"any": {"const": null}`, `/properties/any/const const is null and was absent`},
		{"const changed", `{"left": {"const": true}}`, `{"left": {"const": false}}`, "/anyOf/1/properties/left/const const was true and is false"},
		{"pattern, through a reference", `"pattern": "Z$"`, `"pattern": "z$"`, "/$defs/instant/pattern pattern was"},
		{"format", `"format": "date-time", `, ``, "/properties/at/format format was"},
		{"other definition", `"at": {"$ref": "#/$defs/instant"`, `"at": {"$ref": "#/$defs/unused"`, "/properties/at/format format was"},
		{"restriction beside a reference", `"$ref": "#/$defs/instant", `, `"$ref": "#/$defs/instant", "maxLength": 3, `, "/properties/at/maxLength maxLength is 3"},
		{"second restriction beside a reference", `"$ref": "#/$defs/instant", `, `"$ref": "#/$defs/instant", "pattern": "^2", `, "/properties/at/pattern pattern beside $ref is"},
		{"bound tighter", `"minLength": 1`, `"minLength": 2`, "/properties/id/minLength minLength was 1 and is 2"},
		{"bound looser", `"maximum": 10`, `"maximum": 11`, "/properties/count/maximum maximum was 10 and is 11"},
		{"bound removed", `, "maxItems": 3`, ``, "/properties/tags/maxItems maxItems was 3"},
		{"bound added", `"minimum": 0`, `"multipleOf": 2, "minimum": 0`, "/properties/count/multipleOf multipleOf is 2"},
		{"object closes", `"$id"`, `"additionalProperties": false, "$id"`, "/additionalProperties the object becomes closed"},
		{"object opens", `, "additionalProperties": false`, ``, "/properties/closed/additionalProperties the object becomes open"},
		{"property in a closed object", `{"a": {"type": "string"}}`, `{"b": {"type": "string"}, "a": {"type": "string"}}`, "/properties/closed/properties/b property added to an object that restricts"},
		{"property where others are texts", `"texts": {`, `"texts": {"properties": {"n": {"type": "integer"}},`, "/properties/texts/properties/n property added to an object that restricts"},
		{"property where others are passed on", `{"b": {"type": "string"}}`, `{"c": {"type": "string", "x-since": "1.1"}, "b": {"type": "string"}}`, "/properties/own/properties/c property described in an object that passes on"},
		{"text of a property where others are passed on", `{"b": {"type": "string"}}`, `{"b": {"type": "string", "description": "B."}}`, ""},
		{"type of other properties", `"additionalProperties": {"type": "string"}`, `"additionalProperties": {"type": "integer"}`, "/properties/texts/additionalProperties/type type was"},
		{"other properties restricted", `"title": "Event"`, `"additionalProperties": {"type": "string"}`, "/additionalProperties additionalProperties is"},
		{"items removed", `"items": {"type": "object", "properties": {"name": {"type": "string"}}}, `, ``, "/properties/tags/items items was"},
		{"one choice more", `[{"required": ["at"]},`, `[{"required": ["at"]}, true,`, "/anyOf anyOf has 3 schemas and had 2"},
		{"other choice", `{"required": ["at"]}`, `{"required": ["count"]}`, `/anyOf/0/required property "at" is no longer required`},
		{"property in a choice", `{"required": ["at"]}`, `{"required": ["at"], "properties": {"at": true}}`, "/anyOf/0/properties/at property added below a keyword that chooses"},
		{"choices removed", `"anyOf": [{"required": ["at"]}, {"properties": {"left": {"const": true}}, "required": ["left"]}],`, ``, "/anyOf anyOf has 0 schemas"},
		{"name with slash and tilde", `"a/b~c": {"type": "string"}`, `"a/b~c": {"type": "null"}`, "/properties/a~1b~0c/type type was"},
		{"recursion", `"child": {"$ref": "#"}`, `"child": {"type": "object"}`, "/properties/child"},
		{"never valid", `"any": true`, `"any": false`, "/properties/any"},
		{"dialect", "draft/2020-12", "draft/2019-09", "/$schema $schema was"},
		{"name patterns", `"texts": {`, `"texts": {"patternProperties": {"^x": true},`, "/properties/texts/patternProperties patternProperties has other names"},
		{"keyword that is not understood", `"x-team": "a"`, `"x-team": "b"`, `/x-team x-team was "a" and is "b": it is not understood`},
		{"keyword of another vocabulary", `"description": "Id."`, `"description": "Id.", "contentSchema": true`, "/properties/id/contentSchema contentSchema is true and was absent: it is not understood"},
		{"since when a property is there", `"description": "Id."`, `"description": "Id.", "x-since": "1.1"`, "/properties/id/x-since x-since is"},
	}
	for _, tt := range tests {
		if !strings.Contains(base, tt.old) {
			t.Fatalf("%s: %s is not in the base", tt.name, tt.old)
		}
		breaking, err := compat.Compatible([]byte(base), []byte(strings.Replace(base, tt.old, tt.new, 1)))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var got []string
		for _, c := range breaking {
			got = append(got, c.Pointer+" "+c.Text)
		}
		if tt.want == "" && got != nil || tt.want != "" && !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, tt.want) }) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestCompareListsWhatIsCompatible(t *testing.T) {
	next := strings.NewReplacer(`"Id."`, `"The id."`, `"count":`, `"new": {"type": "string", "x-since": "1.1"}, "count":`).Replace(base)
	got, err := compat.Compare([]byte(base), []byte(next))
	want := []compat.Change{
		{Pointer: "/properties/id/description", Text: "text for people changed"},
		{Pointer: "/properties/new", Text: "optional property added", Added: true, Since: "1.1"},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestUnreadable(t *testing.T) {
	for schema, want := range map[string]string{
		`{`:                            "parsing JSON",
		`[]`:                           "the root: a schema must be an object, true or false",
		`{"properties": {"a": 1}}`:     "/properties/a: a schema must be",
		`{"$ref": "#/$defs/x"}`:        "the root: $ref #/$defs/x leads nowhere",
		`{"$ref": "other.json"}`:       "does not begin with #/",
		`{"items": {"$ref": "#name"}}`: "/items: $ref #name does not begin with #/",
		`{"$ref": "#"}`:                "leads in a circle",
	} {
		for _, side := range []string{"old", "new"} {
			old, next := schema, schema
			if side == "new" {
				old = strings.NewReplacer(`"a": 1`, `"a": true`, `"$ref"`, `"title"`).Replace(schema)
				if strings.HasPrefix(schema, "[") || schema == "{" {
					old = "{}"
				}
			}
			if _, err := compat.Compare([]byte(old), []byte(next)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), side+" schema") {
				t.Errorf("%s as the %s schema: got %v, want %q", schema, side, err, want)
			}
		}
	}
}
