package asyncapi

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"connector/schema"
)

func options(f schema.Format) Options {
	return Options{
		Format:    f,
		Transport: Transport{Servers: map[string]Server{"one": {Host: "host:1", Protocol: "kafka"}}, Prefix: "ce_", ContentType: "content-type"},
		Events:    Channel{Address: "events"}, Dead: Channel{Address: "dead"},
	}
}

// described returns the document as JSON.
func described(t *testing.T, o Options) []byte {
	t.Helper()
	d, err := Describe(o)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(d, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestExamples validates the examples of each message against its schemas, as
// draft-07, and wants both to be there in both modes.
func TestExamples(t *testing.T) {
	for _, structured := range []bool{false, true} {
		t.Run(fmt.Sprint("structured ", structured), func(t *testing.T) {
			text := described(t, options(schema.Format{Structured: structured}))
			doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			c := jsonschema.NewCompiler()
			c.DefaultDraft(jsonschema.Draft7)
			c.AssertFormat()
			if err := c.AddResource("urn:document", doc); err != nil {
				t.Fatal(err)
			}
			var d struct {
				Components struct {
					Messages map[string]struct {
						Examples []map[string]jsontext.Value `json:"examples"`
					} `json:"messages"`
				} `json:"components"`
			}
			if err := json.Unmarshal(text, &d); err != nil {
				t.Fatal(err)
			}
			if got := slices.Sorted(maps.Keys(d.Components.Messages)); !slices.Equal(got, []string{"deadLetter", "event", "resolution"}) {
				t.Errorf("got messages %v", got)
			}
			for name, m := range d.Components.Messages {
				if len(m.Examples) < 2 {
					t.Errorf("message %s has %d examples, want 2 at least", name, len(m.Examples))
				}
				for _, part := range []string{"headers", "payload"} {
					s, err := c.Compile("urn:document#/components/messages/" + name + "/" + part)
					if err != nil {
						t.Fatal(err)
					}
					for i, e := range m.Examples {
						value, err := jsonschema.UnmarshalJSON(bytes.NewReader(e[part]))
						if err != nil {
							t.Fatal(err)
						}
						if err := s.Validate(value); err != nil {
							t.Errorf("%s of example %d of message %s: %v", part, i, name, err)
						}
						if s.Validate(map[string]any{}) == nil {
							t.Errorf("the schema of %s of message %s accepts anything", part, name)
						}
					}
				}
			}
		})
	}
}

// TestReferences wants every reference to lead somewhere in the document.
func TestReferences(t *testing.T) {
	text := described(t, options(schema.Format{}))
	references := regexp.MustCompile(`"\$ref":"#([^"]*)"`).FindAllSubmatch(text, -1)
	if len(references) < 10 {
		t.Errorf("got %d references, want many", len(references))
	}
	var all any
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	for _, r := range references {
		at := all
		for part := range strings.SplitSeq(strings.TrimPrefix(string(r[1]), "/"), "/") {
			object, _ := at.(map[string]any)
			if at = object[part]; at == nil {
				t.Errorf("reference %s leads nowhere", r[1])
				break
			}
		}
	}
	for _, wanted := range []string{`"ce_id":{`, `"content-type":{`, `"location":"$message.header#/ce_subject"`} {
		if !bytes.Contains(text, []byte(wanted)) {
			t.Errorf("the document does not hold %s", wanted)
		}
	}
	for _, unwanted := range []string{"$defs", "$id", "$schema"} {
		if bytes.Contains(text, []byte(`"`+unwanted+`":`)) {
			t.Errorf("the document holds %s, which its readers do not know", unwanted)
		}
	}
}

func TestEmbed(t *testing.T) {
	file := `{"$schema":"x","$id":"urn:x","type":"object","properties":{"$id":{"$ref":"#/$defs/a"},"b":{"const":"#/$defs/a"}},"examples":[{"a":1}],"$defs":{"a":{"anyOf":[{"$ref":"#/$defs/b"}],"examples":[2]},"b":{}}}`
	into := map[string]jsontext.Value{}
	examples, err := embed(into, "thing", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"thing":   `{"type":"object","properties":{"$id":{"$ref":"#/components/schemas/thing.a"},"b":{"const":"#/$defs/a"}}}`,
		"thing.a": `{"anyOf":[{"$ref":"#/components/schemas/thing.b"}],"examples":[2]}`,
		"thing.b": `{}`,
	}
	for name, value := range want {
		if got := strings.TrimSpace(string(into[name])); got != value {
			t.Errorf("%s: got  %s\nwant %s", name, got, value)
		}
	}
	if len(into) != len(want) || len(examples) != 1 || string(examples[0]) != `{"a":1}` {
		t.Errorf("got schemas %v and examples %s", into, examples)
	}
	for _, broken := range []string{"", "[]", `{"$defs":{"a":`, `{} {}`} {
		if _, err := embed(into, "thing", []byte(broken)); err == nil {
			t.Errorf("%q: got no error", broken)
		}
	}
}
