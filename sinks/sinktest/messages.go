package sinktest

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"connector/schema"
)

// maxBatch bounds the largest commit, whatever the limit.
const maxBatch = 5000

// recordsPerBatch is how many records the versions of a batch belong to.
const recordsPerBatch = 100

var created = time.Date(2026, 3, 29, 1, 59, 59, 123456789, time.UTC)

// message returns version n of a record. Its body fills the message up to
// size bytes, body and attributes together, where it fits.
func (r *run) message(stream, record string, n, size int) schema.Message {
	m := schema.Message{
		ID:   schema.EventID("kit", stream, record, r.nonce+strconv.Itoa(n)),
		Type: "delivery.webhook.failed", Source: schema.Source{System: "sinktest", Account: "kit", Stream: stream},
		RecordID: record, Time: created.Add(time.Duration(n) * time.Second), DataSchema: schema.DataSchema,
	}
	head, tail := fmt.Sprintf(`{"n":%d,"fill":"`, n), `"}`
	fill := max(0, size-sizeOf(&m)-len(head)-len(tail))
	m.Body = []byte(head + strings.Repeat("x", fill) + tail)
	return m
}

// structured returns a message in structured mode of so many bytes.
func (r *run) structured(stream, record string, size int) schema.Message {
	m := r.message(stream, record, 0, 0)
	least := sizeOf(&m)
	m.Structure()
	m = r.message(stream, record, 0, least+size-len(m.Body))
	m.Structure()
	return m
}

// sizeOf returns the bytes of the body, attribute names and attribute values.
func sizeOf(m *schema.Message) int {
	n := len(m.Body)
	for _, a := range m.Attributes() {
		n += len(a.Name) + len(a.Value)
	}
	return n
}

// messages returns n messages of n records.
func (r *run) messages(stream string, n, size int) []schema.Message {
	all := make([]schema.Message, n)
	for i := range all {
		all[i] = r.message(stream, fmt.Sprintf("%s %d", stream, i), i, size)
	}
	return all
}

// versions returns n messages of fewer records, in version order.
func (r *run) versions(stream string, n int) []schema.Message {
	all := make([]schema.Message, n)
	for i := range all {
		all[i] = r.message(stream, fmt.Sprintf("record %d", i%recordsPerBatch), i, 500)
	}
	return all
}

func (r *run) deadLetter(stream, record string, n int) schema.Message {
	m := r.message(stream, record, n, 400)
	m.ID = schema.EventID("kit dead letter", stream, record, r.nonce+strconv.Itoa(n))
	m.Type, m.DataSchema = schema.DeadLetterType, schema.DeadLetterSchema
	return m
}

// awkward returns messages whose attributes and bodies break careless
// encodings, each with another account, stream and record.
func (r *run) awkward() []schema.Message {
	names := []string{
		"plain", "失败消息 中文", `quote " and ' and \`, "100%", "%41%zz%", " spaces  around ", "a.b.c", ".", "..", "*", ">",
		"a.*.>", "$JS.API", "$SYS", "tab\tnewline\r\nnul\x00end", "a/b/../c?x=1&y=2#z", "Nats-Msg-Id: 1", "emoji 😀 \u202e rtl",
		"é and e\u0301", "+1 (555) 010", "~!@^&()_+{}|:<>", strings.Repeat("long ", 60), strings.Repeat("长", 200), strings.Repeat("x", 3000),
	}
	bodies := []string{
		`{}`, `"text"`, `[1, 2,  3]`, `{"text":"验证码 \"123456\" 100%\n<&>"}`, `{"escaped":"\u9a8c\ud83d\ude00\u0000\/"}`,
		`{"number":12345678901234567890.12345678901234567890e-7,"b":1,"a":2}`, "{\n  \"pretty\": true\n}\n", `{"data":null}`, `null`,
	}
	all := make([]schema.Message, len(names))
	for i, name := range names {
		m := r.message("awkward", name, i, 0)
		m.Source.Account, m.Source.Stream = names[(i+1)%len(names)], names[(i+2)%len(names)]
		m.Body = []byte(bodies[i%len(bodies)])
		all[i] = m
	}
	return all
}
