package cloudevents

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/protocol"

	"connector/pipeline"
	"connector/schema"
	"connector/sinks"
)

// patience bounds the wait for a message that was published.
const patience = 2 * time.Minute

// both are the content modes.
var both = map[string]schema.Format{"binary": {}, "structured": {Structured: true}}

// texts are what ids and subjects are in turn. The SDK cuts spaces off the ends
// of both in Kafka's binary mode, so none has any there.
var texts = []string{
	"7ac69ff98e48c9b3b0f49afa5a0788c7", "失败消息 中文", "100%", "%41%zz%25", `a "quoted" \ text`, "two  spaces", "é and e\u0301 😀", "a+b&c=d?e#f/g:h;i,j",
}

// source is where the records of the tests were read.
var source = schema.Source{System: "submail", Account: "otp", Stream: "sms 中文 100%/x"}

// messages returns an event for each text, and dead letters.
func messages(t *testing.T, f schema.Format) (events, dead []schema.Message) {
	t.Helper()
	at := time.Date(2026, 3, 29, 1, 59, 59, 123456789, time.UTC)
	for i, text := range texts {
		e := schema.Event{
			SchemaVersion: schema.Version, Source: source, Record: schema.Record{ID: text, Revision: i + 1, Terminal: true},
			Channel: schema.ChannelSMS, Status: schema.Delivered, ProviderStatus: text, CreatedAt: at, UpdatedAt: at.Add(time.Duration(i) * time.Second), ObservedAt: at, ID: "id " + text,
		}
		if i%2 == 1 {
			e.Replay = "r-" + text
		}
		m, err := e.Message(f)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, m)
	}
	d := schema.DeadLetter{
		SchemaVersion: schema.Version, Source: source, RecordID: texts[1], Class: "decode", Reason: `invalid "character" %`, ObservedAt: at,
	}
	d.SetRaw([]byte("\xff\x00"), true, 2, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
	m, err := d.Message(f)
	if err != nil {
		t.Fatal(err)
	}
	return events, []schema.Message{m}
}

// commit publishes through a sink, as the pipeline does.
func commit(t *testing.T, sink sinks.Sink, events, dead []schema.Message) {
	t.Helper()
	session, err := sink.Open(t.Context(), pipeline.Unit)
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Recover(t.Context(), noState); err != nil {
		t.Fatal(err)
	}
	if err := session.Commit(t.Context(), sinks.Commit{Events: events, Dead: dead}); err != nil {
		t.Error(err)
	}
	if err := errors.Join(session.Close(), sink.Close()); err != nil {
		t.Error(err)
	}
}

// receive reads n events through a receiver of the SDK.
func receive(t *testing.T, r protocol.Receiver, n int) []event.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var list []event.Event
	for len(list) < n {
		m, err := r.Receive(ctx)
		if err != nil {
			t.Fatalf("got %d events of %d: %v", len(list), n, errors.Join(err, ctx.Err()))
		}
		list = append(list, read(t, m))
		if err := m.Finish(nil); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// read turns a message into the SDK's event.
func read(t *testing.T, m binding.Message) event.Event {
	t.Helper()
	e, err := binding.ToEvent(t.Context(), m)
	if err != nil {
		t.Fatalf("the SDK refuses a message in %v: %v", m.ReadEncoding(), err)
	}
	return *e
}

// check compares events with what was published, in any order. The SDK leaves
// header values as they are where the binding encodes them: decode undoes that.
func check(t *testing.T, got []event.Event, want []schema.Message, decode func(string) string) {
	t.Helper()
	seen := map[string]event.Event{}
	for _, e := range got {
		if err := e.Validate(); err != nil {
			t.Errorf("event %q: %v", e.ID(), err)
		}
		seen[decode(e.ID())] = e
	}
	if len(got) != len(want) || len(seen) != len(want) {
		t.Errorf("got %d events with %d ids, want %d", len(got), len(seen), len(want))
	}
	for i := range want {
		e, ok := seen[want[i].ID]
		if !ok {
			t.Errorf("event %q is missing", want[i].ID)
			continue
		}
		checkEvent(t, e, &want[i], decode)
	}
}

func checkEvent(t *testing.T, e event.Event, m *schema.Message, decode func(string) string) {
	t.Helper()
	attributes, data := m.Attributes(), m.Body
	if m.Structured {
		var err error
		if attributes, data, err = schema.ParseStructured(m.Body); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]string{
		"specversion": e.SpecVersion(), "id": e.ID(), "source": e.Source(), "type": e.Type(), "subject": e.Subject(),
		"time": e.Time().UTC().Format(time.RFC3339Nano), "dataschema": e.DataSchema(), "datacontenttype": e.DataContentType(),
		"replayid": "",
	}
	if id, ok := e.Extensions()["replayid"]; ok {
		got["replayid"] = fmt.Sprint(id)
	}
	for _, a := range attributes {
		value := decode(got[a.Name])
		if value != a.Value {
			t.Errorf("event %q: got %s %q, want %q", m.ID, a.Name, value, a.Value)
		}
		delete(got, a.Name)
	}
	if id := got["replayid"]; len(got) > 1 || id != "" {
		t.Errorf("event %q: got attributes %v, which were not published", m.ID, got)
	}
	if string(e.Data()) != string(data) {
		t.Errorf("event %q: got data %s, want %s", m.ID, e.Data(), data)
	}
}

// plain is for values that no binding encodes.
func plain(s string) string { return s }

// ended reports whether an error is how a receiver ends.
func ended(err error) bool {
	return err == nil || errors.Is(err, io.EOF) || errors.Is(err, context.Canceled)
}
