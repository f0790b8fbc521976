package nats

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"connector/checkpoint"
	"connector/schema"
)

func TestSubject(t *testing.T) {
	source := func(account, stream string) schema.Source {
		return schema.Source{System: "ekuaibao", Account: account, Stream: stream}
	}
	long := strings.Repeat("长", 60)
	tests := []struct {
		source schema.Source
		dead   bool
		want   string
	}{
		{source("hq", "MC_bill"), false, "delivery.event.ekuaibao.hq.MC_bill"},
		{source("hq", "MC_bill"), true, "delivery.deadletter.ekuaibao.hq.MC_bill"},
		{source("", ""), false, "delivery.event.ekuaibao._._"},
		{source("a.b", "*"), false, "delivery.event.ekuaibao.a%2Eb.%2A"},
		{source(">", "$JS.API"), false, "delivery.event.ekuaibao.%3E.%24JS%2EAPI"},
		{source("a$", "100%"), false, "delivery.event.ekuaibao.a$.100%25"},
		{source("a b\t", "中文"), false, "delivery.event.ekuaibao.a%20b%09.中文"},
		{source("a\u3000b\u0085", "\xff"), false, "delivery.event.ekuaibao.a%E3%80%80b%C2%85.%FF"},
		{source("\ufffd", "x"), false, "delivery.event.ekuaibao.%EF%BF%BD.x"},
		{source(long, "x"), false, "delivery.event.ekuaibao." + strings.Repeat("长", 37) + "~9f944da2ebeff1e4.x"},
	}
	for _, tt := range tests {
		if got := subject("delivery", tt.source, tt.dead); got != tt.want {
			t.Errorf("%+v: got %s, want %s", tt.source, got, tt.want)
		}
	}
}

func FuzzToken(f *testing.F) {
	for _, s := range []string{"", "a.b", "*", ">", "$SYS", " ", "\x00", "长", "\xff\xfe", "%2E", strings.Repeat(".", 200), "\ufffd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := token(s)
		if got == "" || len(got) > maxToken || !utf8.ValidString(got) {
			t.Errorf("token(%q): got %q, want 1 to %d bytes of text", s, got, maxToken)
		}
		if strings.ContainsAny(got, ".*> \t\r\n\x00") || got[0] == '$' {
			t.Errorf("token(%q): got %q, which is not one literal token", s, got)
		}
		if s != "" && len(got) < maxToken-20 && decodeValue(got) != s {
			t.Errorf("token(%q): got %q, which reads back as %q", s, got, decodeValue(got))
		}
	})
}

func TestEncodeValue(t *testing.T) {
	tests := []struct{ value, want string }{
		{"", ""},
		{"plain/~!x_1", "plain/~!x_1"},
		{"Euro € 😀", "Euro%20%E2%82%AC%20%F0%9F%98%80"}, // the example of the HTTP binding
		{`a"b%c`, "a%22b%25c"},
		{"\x00\r\n\x7f", "%00%0D%0A%7F"},
		{"\xff", "%FF"},
	}
	for _, tt := range tests {
		got := encodeValue(tt.value)
		if got != tt.want {
			t.Errorf("encodeValue(%q): got %q, want %q", tt.value, got, tt.want)
		}
		if back := decodeValue(got); back != tt.value {
			t.Errorf("decodeValue(%q): got %q, want %q", got, back, tt.value)
		}
	}
	for _, raw := range []string{"100%", "%zz", "a%2"} {
		if got := decodeValue(raw); got != raw {
			t.Errorf("decodeValue(%q): got %q, want it unchanged", raw, got)
		}
	}
}

func FuzzValue(f *testing.F) {
	for _, s := range []string{"", "€", "%", "\r\n", "\xff", "+", "a b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := encodeValue(s)
		if strings.ContainsFunc(got, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("encodeValue(%q): got %q, want printable ASCII", s, got)
		}
		if back := decodeValue(got); back != s {
			t.Errorf("got %q back, want %q", back, s)
		}
		decodeValue(s) // must not panic
	})
}

// TestWireFormat reads what is stored without this package.
func TestWireFormat(t *testing.T) {
	e := startEmbedded(t, t.TempDir())
	p := newPublisher(t, testConfig(), e.URL(), quiet())
	m := events(0, 1, 1, 10)[0]
	m.RecordID = `单 "1"`
	if err := p.Publish(t.Context(), []schema.Message{m}, nil); err != nil {
		t.Fatal(err)
	}
	s, err := jetStream(t, e.URL()).Stream(t.Context(), "DELIVERY")
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if got.Subject != "delivery.event.submail.acct.sms" || string(got.Data) != string(m.Body) {
		t.Errorf("got %s %s, want delivery.event.submail.acct.sms %s", got.Subject, got.Data, m.Body)
	}
	want := natsio.Header{
		"ce-specversion": {"1.0"}, "ce-id": {m.ID}, "ce-source": {"/submail/acct/sms"}, "ce-type": {"delivery.sms.delivered"},
		"ce-subject": {"%E5%8D%95%20%221%22"}, "ce-time": {"2026-03-29T01:59:59Z"}, "ce-dataschema": {schema.DataSchema},
		"ce-datacontenttype": {"application/json"}, jetstream.MsgIDHeader: {m.ID}, jetstream.ExpectedStreamHeader: {"DELIVERY"},
	}
	replay := m
	replay.Replay = "r1"
	if got := encode("delivery", "DELIVERY", &replay, false).Header; got.Get(jetstream.MsgIDHeader) != m.ID+"/r1" || got.Get("ce-id") != m.ID || got.Get("ce-replayid") != "r1" {
		t.Errorf("replay: got headers %v, want another message id with the same event id", got)
	}
	for name, values := range want {
		if got := got.Header[name]; len(got) != 1 || got[0] != values[0] {
			t.Errorf("header %s: got %q, want %q", name, got, values)
		}
	}
	if len(got.Header) != len(want) {
		t.Errorf("got headers %v, want %v", got.Header, want)
	}
}

// TestStructuredWireFormat has the same message in the two ways to publish.
func TestStructuredWireFormat(t *testing.T) {
	m := events(0, 1, 1, 10)[0]
	m.Replay = "r1"
	m.Structure()
	batch := newEncoder(&Config{SubjectPrefix: "delivery"}, place{}, false)
	batch.begin("b")
	batch.message(&events(1, 1, 1, 10)[0], false) // in binary mode, which must leave nothing behind
	for name, tt := range map[string]struct {
		msg  *natsio.Msg
		want natsio.Header
	}{
		"alone": {encode("delivery", "DELIVERY", &m, false), natsio.Header{
			"content-type": {"application/cloudevents+json"}, jetstream.MsgIDHeader: {m.ID + "/r1"}, jetstream.ExpectedStreamHeader: {"DELIVERY"},
		}},
		"in a batch": {batch.message(&m, false), natsio.Header{
			"content-type": {"application/cloudevents+json"}, batchHeader: {"b"}, batchSequenceHeader: {"2"},
		}},
	} {
		if got := tt.msg; got.Subject != "delivery.event.submail.acct.sms" || string(got.Data) != string(m.Body) || !maps.EqualFunc(got.Header, tt.want, slices.Equal) {
			t.Errorf("%s: got %s %v %s, want headers %v", name, got.Subject, got.Header, got.Data, tt.want)
		}
	}
	batch.begin("c")
	batch.message(&m, false)
	if got := batch.entry(&checkpoint.Entry{Key: "k"}).Header.Get("content-type"); got != "" {
		t.Errorf("an entry of state after it has content type %q", got)
	}
}

func TestHeaderBytes(t *testing.T) {
	m := events(0, 1, 1, 10)[0]
	msg := encode("delivery", "DELIVERY", &m, false)
	// nats.go counts the headers into the size of a message.
	if got, want := headerBytes(msg.Header), msg.Size()-len(msg.Subject)-len(msg.Reply)-len(msg.Data); got != want {
		t.Errorf("got %d bytes, want %d", got, want)
	}
}
