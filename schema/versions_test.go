package schema_test

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"connector/schema"
)

// TestReleases fails the build when a released version changes, or when a minor
// breaks the readers of the one before it.
func TestReleases(t *testing.T) {
	for _, fault := range schema.Released().Check() {
		t.Error(fault)
	}
	newest := schema.Released().Newest()
	if newest.Version != schema.Version || newest.Event.ID != schema.DataSchema || newest.DeadLetter.ID != schema.DeadLetterSchema {
		t.Errorf("the newest version is %s, and Version, DataSchema and DeadLetterSchema are %s, %s and %s", newest.Version, schema.Version, schema.DataSchema, schema.DeadLetterSchema)
	}
}

// changed returns the releases up to 1.0 with one more made of the last, whose event
// schema has old replaced by new.
func changed(version, old, new string) schema.Releases {
	list := slices.Clone(schema.Released()[:1])
	next := list[0]
	next.Version = version
	replace := strings.NewReplacer(old, new, list[0].Event.ID, schema.EventSchemaID+version)
	next.Event = file("event-"+version+".json", schema.EventSchemaID+version, replace.Replace(string(list[0].Event.JSON)))
	next.DeadLetter = file("deadletter-"+version+".json", schema.DeadLetterSchemaID+version,
		strings.Replace(string(list[0].DeadLetter.JSON), list[0].DeadLetter.ID, schema.DeadLetterSchemaID+version, 1))
	next.Resolution = file("deadletter-resolved-"+version+".json", schema.ResolutionSchemaID+version,
		strings.Replace(string(list[0].Resolution.JSON), list[0].Resolution.ID, schema.ResolutionSchemaID+version, 1))
	return append(list, next)
}

func file(name, id, content string) schema.File {
	sum := sha256.Sum256([]byte(content))
	return schema.File{Name: name, ID: id, SHA256: hex.EncodeToString(sum[:]), JSON: []byte(content)}
}

func TestCheckRefuses(t *testing.T) {
	touched := changed("1.1", "", "")
	touched[0].Event.JSON = append(slices.Clone(touched[0].Event.JSON), ' ')
	unmarked := changed("1.1", `"replay": {`, `"new": {"type": "string"}, "replay": {`)
	tests := []struct {
		name string
		list schema.Releases
		want string // part of a fault; "": there is none
	}{
		{"a copy", changed("1.1", "", ""), ""},
		{"another major", changed("2.0", `"replay": {`, `"again": {`), ""},
		{"a released file that changed", touched, "event-1.0.json changed: its SHA-256 is "},
		{"a property that is gone", changed("1.1", `"replay": {`, `"again": {"x-since": "1.1", `), "event-1.1.json breaks readers of event-1.0.json: /properties/replay: property removed: readers may need it. That needs a new major"},
		{"another type", changed("1.1", `"type": "number"`, `"type": "string"`), `/$defs/sms/properties/credits/type: type was "number" and is "string"`},
		{"a property in a provider's own section", changed("1.1", `"api": {`, `"tag": {"x-since": "1.1", "type": "string"}, "api": {`), "event-1.1.json breaks readers of event-1.0.json: /$defs/submail/properties/tag: property described in an object that passes on what it does not describe"},
		{"a property without a mark", unmarked, `event-1.1.json: /properties/new is new and needs "x-since": "1.1"`},
		{"a property with the mark of another version", changed("1.1", `"replay": {`, `"new": {"x-since": "1.2"}, "replay": {`), `needs "x-since": "1.1"`},
		{"a mark that cannot be obeyed", changed("1.1", `"anyOf": [`, `"allOf": [{"properties": {"a": {"x-since": "1.1"}}}], "anyOf": [`), "x-since at /allOf/0/properties/a cannot be obeyed"},
		{"versions out of order", changed("1.0", "", ""), "version 1.0 comes after 1.0: list the oldest first"},
	}
	for _, tt := range tests {
		got := tt.list.Check()
		wanted := slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, tt.want) })
		if tt.want == "" && len(got) > 0 || tt.want != "" && !wanted {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	other := changed("1.1", "", "")
	other[1].Event.ID = "urn:x"
	if got := other.Check(); len(got) != 1 || !strings.Contains(got[0], "want "+schema.EventSchemaID+"1.1") {
		t.Errorf("another id: got %q", got)
	}
}

func TestFindAndDescribing(t *testing.T) {
	list := changed("1.1", "", "")
	if _, err := list.Find("1.2"); err == nil || err.Error() != `there is no schema version "1.2"; there is 1.0, 1.1` {
		t.Errorf("got %v", err)
	}
	for version, want := range map[string]string{"1.0": "1.0", "1.1": "1.1", "1.2": "1.1", "1.10": "1.1", "": "1.1", "2.0": "", "x": "", "1": "", "0.9": "", "1.x": ""} {
		got := ""
		if r := list.Describing(version); r != nil {
			got = r.Version
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", version, got, want)
		}
	}
}
