package schema_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"connector/schema"
	"connector/schema/schematest"
)

func event() schema.Event {
	return schema.Event{
		SchemaVersion: schema.Version,
		Source:        schema.Source{System: "ekuaibao", Account: "hq", Stream: "flow"},
		Record:        schema.Record{ID: "222", Revision: 1, Version: "4"},
		Channel:       schema.ChannelWebhook, Status: schema.Failed, ProviderStatus: "FAILURE",
		CreatedAt:  time.UnixMilli(1505372614157).UTC(),
		UpdatedAt:  time.UnixMilli(1505372614157).UTC(),
		ObservedAt: time.UnixMilli(1505372620000).UTC(),
		Privacy:    schema.PrivacyOff,
		Webhook:    &schema.Webhook{Direction: schema.Outgoing, Request: jsontext.Value(`{"aa":"bb"}`)},
		Section:    map[string]any{"ekuaibao": map[string]any{"type": "INVOKING", "flowId": "1"}},
		ID:         schema.EventID("hq", "flow", "222", "p"),
	}
}

func TestMessage(t *testing.T) {
	e := event()
	m, err := e.Message(schema.Format{})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"schemaVersion":"1.0","source":{"system":"ekuaibao","account":"hq","stream":"flow"},` +
		`"record":{"id":"222","revision":1,"version":"4","terminal":false},"channel":"webhook","status":"failed",` +
		`"providerStatus":"FAILURE","createdAt":"2017-09-14T07:03:34.157Z","updatedAt":"2017-09-14T07:03:34.157Z",` +
		`"observedAt":"2017-09-14T07:03:40Z","privacy":"off","webhook":{"direction":"outgoing","request":{"aa":"bb"}},` +
		`"ekuaibao":{"flowId":"1","type":"INVOKING"}}`
	if got := string(m.Body); got != want {
		t.Errorf("body\n got %s\nwant %s", got, want)
	}
	if got, want := m.Key(), "hq/flow/222"; got != want {
		t.Errorf("key: got %s, want %s", got, want)
	}
	attrs := map[string]string{}
	for _, a := range m.Attributes() {
		attrs[a.Name] = a.Value
	}
	for name, want := range map[string]string{
		"specversion": "1.0", "id": e.ID, "source": "/ekuaibao/hq/flow", "type": "delivery.webhook.failed", "subject": "222",
		"time": "2017-09-14T07:03:34.157Z", "dataschema": schema.DataSchema, "datacontenttype": "application/json",
	} {
		if got := attrs[name]; got != want {
			t.Errorf("attribute %s: got %q, want %q", name, got, want)
		}
	}
	if err := schematest.Event(m.Body); err != nil {
		t.Errorf("validate: %v", err)
	}
}

func TestLeft(t *testing.T) {
	e := event()
	e.Record, e.Status, e.ProviderStatus, e.UpdatedAt, e.Webhook, e.Section = schema.Record{ID: "222", Revision: 2, Left: true}, schema.Unknown, "", time.Time{}, nil, nil
	m, err := e.Message(schema.Format{})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"schemaVersion":"1.0","source":{"system":"ekuaibao","account":"hq","stream":"flow"},` +
		`"record":{"id":"222","revision":2,"terminal":false,"left":true},"channel":"webhook","status":"unknown","providerStatus":"",` +
		`"createdAt":"2017-09-14T07:03:34.157Z","observedAt":"2017-09-14T07:03:40Z","privacy":"off"}`
	if got := string(m.Body); got != want || schematest.Event(m.Body) != nil {
		t.Errorf("got %s, %v, want %s", got, schematest.Event(m.Body), want)
	}
	if err := schematest.Event([]byte(strings.Replace(want, `"left":true`, `"left":false`, 1))); err == nil {
		t.Error("left false: got no error")
	}
}

func TestReplay(t *testing.T) {
	e := event()
	first, err := e.Message(schema.Format{})
	if err != nil {
		t.Fatal(err)
	}
	for _, revision := range []int{0, 3} { // without one when it is not remembered
		e.Replay, e.Record.Revision = "r1", revision
		m, err := e.Message(schema.Format{})
		if err != nil {
			t.Fatal(err)
		}
		if err := schematest.Event(m.Body); err != nil || !strings.Contains(string(m.Body), `"replay":"r1"`) || strings.Contains(string(m.Body), `"revision"`) != (revision > 0) {
			t.Errorf("revision %d: got %s, %v", revision, m.Body, err)
		}
		if !slices.Contains(m.Attributes(), schema.Attribute{Name: "replayid", Value: "r1"}) {
			t.Errorf("got attributes %v, want replayid among them", m.Attributes())
		}
		if m.ID != first.ID || m.PublicationID() != first.ID+"/r1" || first.PublicationID() != first.ID {
			t.Errorf("got id %s and publication %s after %s and %s", m.ID, m.PublicationID(), first.ID, first.PublicationID())
		}
	}
	d := schema.DeadLetter{Source: e.Source, RecordID: "1", ObservedAt: e.ObservedAt}
	was, _ := d.Message(schema.Format{})
	d.Replay = "r1"
	if m, err := d.Message(schema.Format{}); err != nil || m.ID != was.ID || m.Replay != "r1" || !strings.Contains(string(m.Body), `"replay":"r1"`) {
		t.Errorf("dead letter: got %+v, %v, want the id of %+v and the mark", m, err, was)
	}
}

func TestValidateRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*schema.Event){
		"status not in the list":    func(e *schema.Event) { e.Status = "lost" },
		"no revision, no replay":    func(e *schema.Event) { e.Record.Revision = 0 },
		"empty replay id":           func(e *schema.Event) { e.Replay, e.Section["replay"] = "", "" },
		"no record id":              func(e *schema.Event) { e.Record.ID = "" },
		"time not UTC":              func(e *schema.Event) { e.CreatedAt = e.CreatedAt.In(time.FixedZone("", 8*3600)) },
		"section of another shape":  func(e *schema.Event) { e.Section["ekuaibao"] = "text" },
		"no privacy":                func(e *schema.Event) { e.Privacy = "" },
		"privacy not in the list":   func(e *schema.Event) { e.Privacy = "some" },
		"direction not in the list": func(e *schema.Event) { e.Webhook.Direction = "sideways" },
		"sms of another shape":      func(e *schema.Event) { e.Section["sms"] = []int{1} },
		"text of another type":      func(e *schema.Event) { e.Section["sms"] = map[string]any{"recipient": 138} },
		"length with a fraction":    func(e *schema.Event) { e.Section["sms"] = map[string]any{"length": 1.5} },
		"instant not UTC":           func(e *schema.Event) { e.Section["sms"] = map[string]any{"sentAt": "2017-09-14T15:03:40+08:00"} },
	} {
		e := event()
		spoil(&e)
		m, err := e.Message(schema.Format{})
		if err != nil {
			t.Fatal(err)
		}
		if err := schematest.Event(m.Body); err == nil {
			t.Errorf("%s: got no error for %s", name, m.Body)
		}
	}
}

func TestEventID(t *testing.T) {
	base := schema.EventID("a", "s", "r", "p")
	for name, other := range map[string]string{
		"account": schema.EventID("b", "s", "r", "p"),
		"stream":  schema.EventID("a", "t", "r", "p"),
		"record":  schema.EventID("a", "s", "q", "p"),
		"print":   schema.EventID("a", "s", "r", "q"),
		"replay":  schema.ReplayEventID("a", "s", "r", "p", "r1"),
		"border":  schema.EventID("as", "", "r", "p"),
	} {
		if other == base {
			t.Errorf("%s does not change the id", name)
		}
	}
	if got, want := schema.EventID("a", "s", "r", "p"), base; got != want || len(got) != 64 {
		t.Errorf("id: got %s, want %s, 64 digits", got, want)
	}
}

func TestDeadLetterRaw(t *testing.T) {
	big := strings.Repeat("试", schema.MaxDeadLetterRaw/3+10)
	tests := []struct {
		name      string
		raw       string
		wantRaw   int
		want64    bool
		truncated bool
	}{
		{"small", `{"id":1}`, 8, false, false},
		{"not UTF-8", "\xff\xfe", 0, true, false},
		{"large, cut at a whole rune", big, schema.MaxDeadLetterRaw / 3 * 3, false, true},
	}
	for _, tt := range tests {
		d := schema.DeadLetter{Source: schema.Source{System: "x", Account: "a", Stream: "s"}, RecordID: "1", ObservedAt: time.Unix(1, 0).UTC()}
		d.SetRaw([]byte(tt.raw), true, int64(len(tt.raw)), strings.Repeat("0", 64))
		if got := len(d.Raw); got != tt.wantRaw {
			t.Errorf("%s: got %d bytes of raw, want %d", tt.name, got, tt.wantRaw)
		}
		if got := d.RawBase64 != ""; got != tt.want64 {
			t.Errorf("%s: got base64 %v, want %v", tt.name, got, tt.want64)
		}
		if d.Truncated != tt.truncated || d.RawBytes != int64(len(tt.raw)) {
			t.Errorf("%s: got truncated %v of %d bytes, want %v of %d", tt.name, d.Truncated, d.RawBytes, tt.truncated, len(tt.raw))
		}
		d.SchemaVersion, d.Class, d.Privacy = schema.Version, "decode", schema.PrivacyOff
		m, err := d.Message(schema.Format{})
		if err != nil || m.Type != schema.DeadLetterType || m.DataSchema != schema.DeadLetterSchema || len(m.ID) != 64 {
			t.Errorf("%s: message %+v, %v", tt.name, m, err)
		}
		if err := schematest.DeadLetter(m.Body); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestValidateDeadLetterRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*schema.DeadLetter){
		"no record id":    func(d *schema.DeadLetter) { d.RecordID = "" },
		"no class":        func(d *schema.DeadLetter) { d.Class = "" },
		"no account":      func(d *schema.DeadLetter) { d.Source.Account = "" },
		"no digest":       func(d *schema.DeadLetter) { d.RawDigest = "" },
		"privacy unknown": func(d *schema.DeadLetter) { d.Privacy = "some" },
		"negative size":   func(d *schema.DeadLetter) { d.RawBytes = -1 },
		"time not UTC":    func(d *schema.DeadLetter) { d.ObservedAt = d.ObservedAt.In(time.FixedZone("", 8*3600)) },
		"nothing":         func(*schema.DeadLetter) {},
	} {
		e := event()
		d := schema.DeadLetter{SchemaVersion: schema.Version, Source: e.Source, RecordID: "1", Class: "no_id", Privacy: schema.PrivacyStrict, ObservedAt: e.ObservedAt}
		d.SetRaw([]byte("{}"), true, 2, strings.Repeat("0", 64))
		spoil(&d)
		m, err := d.Message(schema.Format{})
		if err != nil {
			t.Fatal(err)
		}
		if err := schematest.DeadLetter(m.Body); (err == nil) != (name == "nothing") {
			t.Errorf("%s: got %v for %s", name, err, m.Body)
		}
	}
	for _, validate := range []func([]byte) error{schematest.Event, schematest.DeadLetter} {
		if err := validate([]byte(`{"schemaVersion":`)); err == nil {
			t.Error("half a body: got no error")
		}
	}
}
