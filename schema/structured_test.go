package schema

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
	"time"
)

// sample returns a message in binary mode.
func sample(record string, body []byte) Message {
	return Message{
		ID: "1f", Type: "delivery.sms.delivered", Source: Source{System: "submail", Account: "otp", Stream: "sms"}, RecordID: record,
		Time: time.Date(2026, 3, 29, 1, 59, 59, 5e8, time.UTC), DataSchema: DataSchema, Replay: "r1", Body: body,
	}
}

func TestStructure(t *testing.T) {
	m := sample("单 \"1\" 100%", []byte(`{"n": 1}`))
	attributes, key, publication := m.Attributes(), m.Key(), m.PublicationID()
	m.Structure()
	want := `{"specversion":"1.0","id":"1f","source":"/submail/otp/sms","type":"delivery.sms.delivered",` +
		`"subject":"单 \"1\" 100%","time":"2026-03-29T01:59:59.5Z","dataschema":"` + DataSchema + `",` +
		`"datacontenttype":"application/json","replayid":"r1","data":{"n": 1}}`
	for range 2 { // the second time it changes nothing
		if string(m.Body) != want {
			t.Fatalf("got  %s\nwant %s", m.Body, want)
		}
		m.Structure()
	}
	if got := m.Attributes(); len(got) != 0 {
		t.Errorf("got attributes %v, want none", got)
	}
	if m.Key() != key || m.PublicationID() != publication || m.ContentType() != "application/cloudevents+json" || m.Size() != len(want) {
		t.Errorf("got key %q, publication %q, content type %q, %d bytes", m.Key(), m.PublicationID(), m.ContentType(), m.Size())
	}
	got, data, err := ParseStructured(m.Body)
	if err != nil || !slices.Equal(got, attributes) || string(data) != `{"n": 1}` {
		t.Errorf("read back %v, data %s, error %v", got, data, err)
	}
}

func TestFormat(t *testing.T) {
	e := Event{ID: "1f", Record: Record{ID: "r"}, Channel: ChannelSMS, Status: Delivered}
	d := DeadLetter{RecordID: "r"}
	for name, encode := range map[string]func(Format) (Message, error){"event": e.Message, "dead letter": d.Message} {
		binary, err := encode(Format{})
		if err != nil || binary.Structured || binary.ContentType() != "application/json" {
			t.Errorf("%s: got %+v and error %v, want binary mode", name, binary, err)
		}
		structured, err := encode(Format{Structured: true})
		if err != nil || !structured.Structured || structured.ID != binary.ID || structured.Key() != binary.Key() {
			t.Errorf("%s: got %+v and error %v, want structured mode", name, structured, err)
		}
		if attributes, data, err := ParseStructured(structured.Body); err != nil || !slices.Equal(attributes, binary.Attributes()) || !bytes.Equal(data, binary.Body) {
			t.Errorf("%s: structured mode holds %v and %s, error %v; want what binary mode has", name, attributes, data, err)
		}
	}
}

func TestParseStructuredRefuses(t *testing.T) {
	for _, event := range []string{
		"", "x", "[]", "{}", `{"specversion":"1.0"}`, `{"id":"1"}`, `{"specversion":"1.0","id":"1","data":{}`, `{"specversion":"1.0","id":"1"} x`,
		`{"specversion":"1.0","id":"1","data_base64":"?"}`, `{"specversion":"1.0","id":"1","a":[]}`, `{"specversion":"1.0","id":"1","id":"2"}`,
	} {
		if attributes, data, err := ParseStructured([]byte(event)); err == nil {
			t.Errorf("%s: got %v and %s, want an error", event, attributes, data)
		}
	}
}

func FuzzParseStructured(f *testing.F) {
	m := sample("record", []byte(`{}`))
	f.Add(m.AppendStructured(nil))
	f.Add([]byte(`{"specversion":"1.0","id":"1","x":null,"data_base64":"e30="}`))
	f.Add([]byte("{\"specversion\":\"1.0\",\"id\":\"\xff\"}"))
	f.Fuzz(func(t *testing.T, event []byte) {
		attributes, _, err := ParseStructured(event)
		if err == nil && (len(attributes) < 2 || !json.Valid(event)) {
			t.Errorf("got %v from %q", attributes, event)
		}
	})
}

func FuzzStructured(f *testing.F) {
	f.Add("id", []byte(`{}`))
	f.Add("\xff\x00\n\u2028", []byte("\n"))
	f.Add("id", []byte("{\n}"))
	f.Fuzz(func(t *testing.T, record string, body []byte) {
		m := sample(record, body)
		event := m.AppendStructured(nil)
		if bytes.ContainsAny(event, "\r\n") {
			t.Fatalf("got %q, want one line", event)
		}
		attributes, data, err := ParseStructured(event)
		if err != nil || !bytes.Equal(data, body) {
			t.Fatalf("got data %q and error %v, want %q", data, err, body)
		}
		if got, want := attributes[4], (Attribute{"subject", allowed(record)}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
