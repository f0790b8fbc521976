package compat_test

import (
	"strings"
	"testing"

	"connector/schema/compat"
)

// TestHidden finds changes that lie where the comparison could look past them: a document
// is valid under one of the schemas only.
func TestHidden(t *testing.T) {
	const added = `"id": true, "new": {"type": "string"}`
	tests := []struct{ name, old, from, to, want string }{
		{"definition below properties beside a reference that has some",
			`{"$ref": "#/$defs/a", "properties": {"x": {"$ref": "#/$defs/b"}}, "$defs": {"a": {"properties": {"y": true}}, "b": {"type": "string"}}}`, `"type": "string"`, `"type": "integer"`, "/properties properties beside $ref"},
		{"definition below a keyword that is not understood",
			`{"properties": {"x": {"contentSchema": {"$ref": "#/$defs/b"}}}, "$defs": {"b": {"type": "string"}}}`, `"type": "string"`, `"type": "integer"`, "/properties/x/contentSchema contentSchema"},
		{"object that is closed beside a reference",
			`{"$ref": "#/$defs/a", "additionalProperties": false, "$defs": {"a": {"properties": {"id": true}, "additionalProperties": true}}}`, `"id": true`, added, "properties/new property added"},
		{"object that is closed around allOf", `{"allOf": [{"properties": {"id": true}}], "unevaluatedProperties": false}`, `"id": true`, added, "/allOf/0/properties/new property added"},
		{"object that is closed in allOf", `{"properties": {"id": true}, "allOf": [{"properties": {"id": true}, "additionalProperties": false}]}`, `{"properties": {"id": true}, "allOf"`, `{"properties": {` + added + `}, "allOf"`, "/properties/new property added"},
		{"object that is closed in a definition", `{"properties": {"id": true}, "anyOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"maxProperties": 1}}}`, `"id": true`, added, "/properties/new property added"},
		{"property that was ruled out", `{"properties": {"id": true}, "not": {"required": ["new"]}}`, `"id": true`, added, "/properties/new property added"},
		{"property that was ruled out around allOf", `{"allOf": [{"properties": {"id": true}}], "not": {"required": ["new"]}}`, `"id": true`, added, "/allOf/0/properties/new property added"},
		{"property that asks for another", `{"properties": {"id": true}, "dependentRequired": {"new": ["other"]}}`, `"id": true`, added, "/properties/new property added"},
		{"property by which is chosen", `{"properties": {"id": true}, "required": ["id"], "oneOf": [{"required": ["id"]}, {"required": ["new"]}]}`, `"id": true`, added, "/properties/new property added"},
		{"property on a condition", `{"properties": {"id": true}, "if": {"required": ["new"]}, "then": {"required": ["other"]}}`, `"id": true`, added, "/properties/new property added"},
		{"object that passes on around allOf", `{"allOf": [{"properties": {"id": true}}], "additionalProperties": true}`, `"id": true`, added, "/allOf/0/properties/new property described in an object that passes on"},
		{"object that passes on beside a reference", `{"$ref": "#/$defs/a", "additionalProperties": true, "$defs": {"a": {"properties": {"id": true}}}}`, `"id": true`, added, "properties/new property described in an object that passes on"},
		{"property where anything was allowed", `{"properties": {"body": {"description": "Any JSON."}}}`, `"description": "Any JSON."`, `"properties": {"code": {"type": "integer"}}`, "/properties/body/properties/code property added"},
	}
	for _, tt := range tests {
		next := strings.Replace(tt.old, tt.from, tt.to, 1)
		if next == tt.old {
			t.Fatalf("%s: nothing changes", tt.name)
		}
		breaking, err := compat.Compatible([]byte(tt.old), []byte(next))
		if err != nil || len(breaking) != 1 || !strings.Contains(breaking[0].Pointer+" "+breaking[0].Text, tt.want) {
			t.Errorf("%s: got %+v, %v, want %q", tt.name, breaking, err, tt.want)
		}
		if same, err := compat.Compare([]byte(tt.old), []byte(tt.old)); err != nil || len(same) > 0 {
			t.Errorf("%s: the same differs by %+v, %v", tt.name, same, err)
		}
	}
}
