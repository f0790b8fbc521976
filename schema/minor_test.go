package schema_test

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"connector/schema"
	"connector/schema/schematest"
)

// withMinor is what the list of releases is after docs/schema.md was followed to add
// 1.1, with the properties record.bytes and sms.segments.
func withMinor(t testing.TB, edit func(event string) string) schema.Releases {
	t.Helper()
	content, err := os.ReadFile("testdata/event-1.1.json")
	if err != nil {
		t.Fatal(err)
	}
	list := changed("1.1", "", "")
	list[1].Event = file("event-1.1.json", schema.EventSchemaID+"1.1", edit(string(content)))
	return list
}

func unchanged(event string) string { return event }

// consumerEvent is what a consumer wrote when 1.0 was the newest version.
type consumerEvent struct {
	SchemaVersion string
	Source        struct{ System, Account, Stream string }
	Record        struct {
		ID       string
		Revision int
		Version  string
		Terminal bool
		Left     bool
	}
	Channel, Status, ProviderStatus  string
	CreatedAt, UpdatedAt, ObservedAt time.Time
	Replay, Privacy, Raw, RawBase64  string
	Webhook                          *struct {
		Direction, ConfigurationID, ConfigurationName, NodeID, NodeName string
		Request, Response                                               any
	}
	SMS *struct {
		Recipient, RecipientHash, Text, Signature, Template string
		SentAt, ReportedAt                                  time.Time
		CarrierStatus, FailureReason, Carrier, Region       string
		Length                                              *int64
		Credits                                             *float64
	}
	Ekuaibao, Submail map[string]any
}

// examples returns those inside a schema file.
func examples(t testing.TB, f schema.File) [][]byte {
	t.Helper()
	var s struct{ Examples []json.RawMessage }
	if err := json.Unmarshal(f.JSON, &s); err != nil || len(s.Examples) < 3 {
		t.Fatalf("%s: got %d examples, %v", f.Name, len(s.Examples), err)
	}
	var bodies [][]byte
	for _, e := range s.Examples {
		var b bytes.Buffer
		if err := json.Compact(&b, e); err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, b.Bytes())
	}
	return bodies
}

func TestMinorIsCompatible(t *testing.T) {
	if got := withMinor(t, unchanged).Check(); len(got) > 0 {
		t.Errorf("got %q; when 1.0 changed, testdata/event-1.1.json must follow", got)
	}
	for name, tt := range map[string]struct{ old, new, want string }{
		"a field removed": {`"carrierStatus": {`, `"statusOfCarrier": {"x-since": "1.1", `, "/$defs/sms/properties/carrierStatus: property removed"},
		"a type changed":  {`"type": "number"`, `"type": "string"`, `/properties/credits/type: type was "number" and is "string"`},
	} {
		got := withMinor(t, func(s string) string { return strings.Replace(s, tt.old, tt.new, 1) }).Check()
		if len(got) != 1 || !strings.Contains(got[0], tt.want) {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

func TestOldConsumerReadsMinor(t *testing.T) {
	list := withMinor(t, unchanged)
	more := 0
	for _, body := range examples(t, list[1].Event) {
		if err := schematest.Check(list[1].Event, body); err != nil {
			t.Errorf("%s under 1.1: %v", body, err)
		}
		if v, err := schema.NewValidator(list[0].Event); err != nil || v.Validate(body) != nil {
			t.Errorf("%s under 1.0: %v, %v", body, err, v.Validate(body))
		}
		var e consumerEvent
		if err := json.Unmarshal(body, &e); err != nil || e.Record.ID == "" || e.SchemaVersion != "1.1" || e.CreatedAt.IsZero() {
			t.Errorf("a consumer of 1.0 read %s as %+v, %v", body, e, err)
		}
		if schematest.Check(list[0].Event, body) != nil {
			more++
		}
	}
	if more != 2 {
		t.Errorf("got %d examples with fields that 1.0 does not have, want 2", more)
	}
}

func TestPinnedToTheOlderMinor(t *testing.T) {
	list := withMinor(t, unchanged)
	pinned, err := list.Find("1.0")
	if err != nil {
		t.Fatal(err)
	}
	for i, body := range examples(t, list[1].Event) {
		got, err := pinned.CutEvent(body)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.NewReplacer(`,"bytes":412`, "", `,"segments":2`, "").Replace(string(body))
		if string(got) != want {
			t.Errorf("example %d:\n got %s\nwant %s", i, got, want)
		}
		if err := schematest.Check(list[0].Event, got); err != nil {
			t.Errorf("example %d under the closed 1.0: %v", i, err)
		}
	}

	e := event()
	e.Section["sms"] = map[string]any{"text": "a\u2028<b>", "segments": 2, "unlisted": 1} // of an SMS type that knows more
	e.Section["submail"] = map[string]any{"segments": 2, "n": 1.50}
	m, err := e.Message(schema.Format{Version: pinned, Structured: true})
	if err != nil {
		t.Fatal(err)
	}
	attributes, data, err := schema.ParseStructured(m.Body)
	if err != nil || !slices.Contains(attributes, schema.Attribute{Name: "dataschema", Value: schema.EventSchemaID + "1.0"}) {
		t.Errorf("got attributes %v, %v", attributes, err)
	}
	for part, want := range map[string]bool{`"schemaVersion":"1.0"`: true, `"segments":2,"text"`: false, `"submail":{"n":1.5,"segments":2}`: true, `"unlisted":1`: true} {
		if got := bytes.Contains(data, []byte(part)); got != want {
			t.Errorf("%s in %s: got %v, want %v", part, data, got, want)
		}
	}

	newest, err := list.Find("1.1")
	if err != nil {
		t.Fatal(err)
	}
	if m, err = e.Message(schema.Format{Version: newest}); err != nil || !bytes.Contains(m.Body, []byte(`"schemaVersion":"1.1"`)) || !bytes.Contains(m.Body, []byte(`"sms":{"segments":2`)) || m.DataSchema != schema.EventSchemaID+"1.1" {
		t.Errorf("the newest: got %s, %s, %v", m.DataSchema, m.Body, err)
	}
	d := schema.DeadLetter{Source: e.Source, RecordID: "1", ObservedAt: e.ObservedAt}
	if m, err = d.Message(schema.Format{Version: pinned}); err != nil || m.DataSchema != schema.DeadLetterSchemaID+"1.0" || !bytes.Contains(m.Body, []byte(`"schemaVersion":"1.0"`)) {
		t.Errorf("dead letter: got %s, %s, %v", m.DataSchema, m.Body, err)
	}
}

func TestFormatWithoutVersionIsTheNewest(t *testing.T) {
	e := event()
	newest, err := schema.Released().Find(schema.Version)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := e.Message(schema.Format{Version: newest})
	e.SchemaVersion = ""
	if got, err := e.Message(schema.Format{}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}
