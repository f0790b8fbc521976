package ekuaibao

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"connector/internal/fault"
	"connector/internal/secret"
	"connector/schema"
	"connector/schema/schematest"
	"connector/sources"
	"connector/sources/httpx"
	"connector/sources/jsonrows"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// comment is how the API document explains the fields in its example, which
// has no such text within a string. An answer has none.
var comment = regexp.MustCompile(`//[^\n]*`)

// seedExample returns the answer that the API document shows.
func seedExample(tb rapid.TB) string {
	tb.Helper()
	text, err := os.ReadFile("testdata/seed.jsonc")
	if err != nil {
		tb.Fatal(err)
	}
	return string(comment.ReplaceAll(text, nil))
}

// seedRow returns its row.
func seedRow(tb rapid.TB) []byte {
	tb.Helper()
	for row, err := range jsonrows.New(strings.NewReader(seedExample(tb)), "items", 1<<20).Rows() {
		if err != nil {
			tb.Fatal(err)
		}
		return bytes.Clone(row.Raw)
	}
	return nil
}

// canned answers queries from memory.
type canned func(from, to int64) string

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	from, err1 := strconv.ParseInt(r.FormValue("startDate"), 10, 64)
	to, err2 := strconv.ParseInt(r.FormValue("endDate"), 10, 64)
	if err1 != nil || err2 != nil {
		return nil, fmt.Errorf("got %s", r.URL.Path)
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(c(from, to))), Request: r}, nil
}

// around answers the whole window with rows, and parts of it with none.
func around(rows ...string) canned {
	return func(from, to int64) string {
		if to-from < window.To.Sub(window.From).Milliseconds()+2 {
			return `{"items":[]}`
		}
		return `{"items":[` + strings.Join(rows, ",") + `]}`
	}
}

// reading returns a source that reads from memory.
func reading(tb rapid.TB, answers canned) *Source {
	tb.Helper()
	cfg := settings("http://x")
	cfg.AppKey, cfg.AppSecurity, cfg.AccessToken, cfg.Rate = secret.String{}, secret.String{}, secret.New(canaryToken), 1e6
	s, err := New("hq", cfg, httpx.Options{Transport: answers})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// eventOf returns the event of a record as it is published.
func eventOf(s *Source, st sources.Stream, r sources.Record) ([]byte, error) {
	e, err := s.Normalize(st, r)
	if err != nil {
		return nil, err
	}
	e.Record.Revision, e.ObservedAt, e.Privacy = 1, time.UnixMilli(1505372620000).UTC(), schema.PrivacyOff
	m, err := e.Message(schema.Format{})
	if err != nil {
		return nil, err
	}
	return m.Body, schematest.Event(m.Body)
}

// TestGolden reads the example of the API document, as it is and as each other
// message type.
func TestGolden(t *testing.T) {
	const golden = "testdata/seed.event.json"
	for _, messageType := range allMessageTypes {
		own := `"messageType":"` + messageType + `"`
		example := strings.Replace(seedExample(t), `"messageType":"flow"`, own, 1)
		s := reading(t, around(strings.TrimSuffix(strings.TrimPrefix(strings.Join(strings.Fields(example), ""), `{"items":[`), `]}`)))
		if messageType == "flow" {
			s = reading(t, func(from, to int64) string {
				if to-from > 1000 {
					return example
				}
				return `{"items": []}` // as the document shows an empty log
			})
		}
		st := stream(s, messageType)
		records, proven, err := read(t.Context(), s, st, window)
		if err != nil || len(records) != 1 || proven != window {
			t.Fatalf("%s: got %d records, proven %v, %v", messageType, len(records), proven, err)
		}
		body, err := eventOf(s, st, records[0])
		if err != nil {
			t.Fatalf("%s: %v", messageType, err)
		}
		got := jsontext.Value(body)
		if err := got.Indent(); err != nil {
			t.Fatal(err)
		}
		got = append(got, '\n')
		if *update && messageType == "flow" {
			if err := os.WriteFile(golden, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		want = bytes.ReplaceAll(want, []byte(`"flow"`), []byte(`"`+messageType+`"`))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: event of the document's example, %v:\n got %s\nwant %s", messageType, err, got, want)
		}
	}
}

// stream returns a stream by its name.
func stream(s *Source, name string) sources.Stream {
	list := s.Streams()
	return list[slices.IndexFunc(list, func(st sources.Stream) bool { return st.Name == name })]
}

// retyped are values of the types that JSON has.
var retyped = []string{
	`7`, `-7.5`, `9007199254740993`, `1e999`, `"text"`, `""`, `" "`, `true`, `false`, `{}`, `{"private":[1]}`, `[]`, `[null,{"private":"x"}]`,
	`{"a":1,"a":2}`, `"\ud800"`,
}

// TestAnyFields drops fields of a row, makes them null or another type: there
// is one record of it, which is an event or a dead letter, and the rows beside
// it are as they are without it.
func TestAnyFields(t *testing.T) {
	fields := seedFields(t)
	for _, messageType := range allMessageTypes {
		fields["messageType"] = `"` + messageType + `"`
		t.Run(messageType, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { checkFields(t, messageType, fields) })
		})
	}
}

// seedFields returns the fields of the document, all with a value.
func seedFields(t *testing.T) map[string]string {
	t.Helper()
	fields := map[string]string{}
	var given map[string]jsontext.Value
	if err := jsonrows.Decode(seedRow(t), &given); err != nil {
		t.Fatal(err)
	}
	for name, value := range given {
		if fields[name] = string(value); fields[name] == "null" || fields[name] == `""` {
			fields[name] = `"` + name + `"`
		}
	}
	if len(fields) != 19 {
		t.Fatalf("got %d fields of the document, want 19", len(fields))
	}
	return fields
}

func checkFields(t *rapid.T, messageType string, fields map[string]string) {
	beside := func(id string) string { return object(with(fields, "id", `"`+id+`"`)) }
	row := drawRow(t, fields)
	alone, s := reading(t, around(beside("1"), beside("3"))), reading(t, around(beside("1"), object(row), beside("3")))
	st := stream(s, messageType)
	want, _, err := read(context.Background(), alone, st, window)
	if err != nil || len(want) != 2 {
		t.Fatalf("got %d good rows, %v", len(want), err)
	}
	got, proven, err := read(context.Background(), s, st, window)
	if err != nil || proven != window || len(got) != 3 {
		t.Fatalf("%s: got %d records, proven %v, %v", object(row), len(got), proven, err)
	}
	for i, good := range want {
		if !reflect.DeepEqual(got[2*i], good) {
			t.Errorf("%s: the row beside it is %+v, want %+v", object(row), got[2*i], good)
		}
		if _, err := eventOf(s, st, got[2*i]); err != nil {
			t.Errorf("%s: the row beside it is no event: %v", object(row), err)
		}
	}
	body, err := eventOf(s, st, got[1])
	if err != nil {
		if class, rejected := fault.Class(err); !rejected || class == "" || strings.Contains(err.Error(), "private") {
			t.Errorf("%s: got %v, want a rejection that shows no value", object(row), err)
		}
		return
	}
	checkSections(t, row, fields, body)
}

// inWebhook are the names of the webhook section of fields that an event shows as they are given. Of keptElsewhere it shows what
// they stand for.
var (
	inWebhook = map[string]string{
		"messageId": "configurationId", "name": "configurationName", "nodeId": "nodeId", "nodeName": "nodeName", "request": "request", "response": "response",
	}
	keptElsewhere = []string{"id", "version", "state", "createTime", "updateTime"}
)

// checkSections checks that the fields that were left as they were are in the event, once.
func checkSections(t *rapid.T, row, fields map[string]string, body []byte) {
	var event struct {
		Webhook map[string]jsontext.Value `json:"webhook"`
		Section map[string]jsontext.Value `json:"ekuaibao"`
	}
	if err := jsonrows.Decode(body, &event); err != nil {
		t.Fatal(err)
	}
	for name, value := range row {
		own := event.Section[name]
		shown := string(own)
		if field, mapped := inWebhook[name]; mapped {
			shown = string(event.Webhook[field])
		}
		if elsewhere := slices.Contains(keptElsewhere, name); elsewhere || inWebhook[name] != "" {
			if own != nil {
				t.Errorf("%s: the event repeats %s", object(row), name)
			}
			if elsewhere {
				continue
			}
		}
		if value == "null" && shown != "" || value == fields[name] && shown != compact(value) {
			t.Errorf("%s: the event has %s %s", object(row), name, shown)
		}
	}
}

// drawRow returns a copy of a row with some fields absent, null or of another type.
func drawRow(t *rapid.T, fields map[string]string) map[string]string {
	row := map[string]string{}
	for _, name := range sorted(fields) {
		switch rapid.IntRange(0, 5).Draw(t, name) {
		case 0:
			continue
		case 1:
			row[name] = "null"
		case 2:
			row[name] = rapid.SampledFrom(retyped).Draw(t, "type")
			text, number := strings.HasPrefix(row[name], `"`), strings.Trim(row[name], "-.e0123456789") == ""
			if name == "corporationId" && text || name == "createTime" && number && row[name] != "9007199254740993" {
				row[name] = fields[name] // another company, or from outside the window: that is no other type
			}
		default:
			row[name] = fields[name]
		}
	}
	return row
}

func with(fields map[string]string, name, value string) map[string]string {
	more := map[string]string{name: value}
	for n, v := range fields {
		if n != name {
			more[n] = v
		}
	}
	return more
}

func sorted(fields map[string]string) []string {
	var names []string
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func object(fields map[string]string) string {
	var parts []string
	for _, name := range sorted(fields) {
		parts = append(parts, `"`+name+`":`+fields[name])
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func compact(value string) string {
	v := jsontext.Value(value)
	_ = v.Compact() // of a test's own value
	return string(v)
}

// TestAnyJSON wants request and response as they were given, to the last digit.
func TestAnyJSON(t *testing.T) {
	for _, value := range []string{
		`{}`, `[]`, `"text"`, `""`, `true`, `false`, `0`, `-0`, `-0.0`, `1.50`, `1E+2`, `1e400`, `9007199254740993`, `-9223372036854775809`,
		`1234567890123456789012345678901234567890.10`, `"9007199254740993"`, `"<b>&\u4e2d\ud83d\ude00\u0000\\\/"`, `{"":{"a b":[1,[2,[]]]},"id":null}`,
		nested(9_000), `"` + strings.Repeat("x", 1<<20) + `"`, `[` + strings.Repeat(`{"n":9007199254740993},`, 50_000) + `1]`,
	} {
		checkJSON(t, value)
	}
	rapid.Check(t, func(t *rapid.T) { checkJSON(t, schematest.JSON(4).Draw(t, "value")) })
}

// checkJSON compares what an event shows of a value with the value, by another
// decoder that keeps numbers as they are written.
func checkJSON(t rapid.TB, value string) {
	t.Helper()
	s := reading(t, around(`{"id":"1","createTime":1505372614157,"request":`+value+`,"response":`+value+`}`))
	records, _, err := read(context.Background(), s, flow(s), window)
	if err != nil || len(records) != 1 {
		t.Fatalf("%.100s: got %d records, %v", value, len(records), err)
	}
	body, err := eventOf(s, flow(s), records[0])
	if err != nil {
		t.Fatalf("%.100s: %v", value, err)
	}
	var event struct {
		Section struct{ Request, Response json.RawMessage } `json:"webhook"`
	}
	if err := json.Unmarshal(body, &event); err != nil {
		t.Fatal(err)
	}
	for _, got := range []json.RawMessage{event.Section.Request, event.Section.Response} {
		if !reflect.DeepEqual(exactly(t, string(got)), exactly(t, value)) || value == compact(value) && !strings.Contains(value, `\`) && string(got) != value {
			t.Errorf("got %.100s, want %.100s", got, value)
		}
	}
}

// exactly decodes a value with its numbers as they are written.
func exactly(t rapid.TB, value string) (v any) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(value))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("decoding %.100s: %v", value, err)
	}
	return v
}
