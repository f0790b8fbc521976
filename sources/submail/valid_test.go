package submail

import (
	"reflect"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"connector/internal/fault"
	"connector/schema"
	"connector/schema/schematest"
	"connector/sources"
	"connector/sources/jsonrows"
)

// messageRow is a row of log/message with all its fields.
const messageRow = `{"sendID":"7","project":"P","recipient":"138","message":"m","signature":"【S】","result_status":"sending","api":"message/xsend",` +
	`"send_date":"2015-01-19 15:21:27","sent_date":"2015-01-19 15:21:28","length":56,"credit":1.5}`

// TestEventsAreValid wants of any row of either call an event that keeps the closed form of the schema, or a rejection.
func TestEventsAreValid(t *testing.T) {
	for api, whole := range map[API]string{APILogMessage: messageRow, APISMSLog: smsRow} {
		t.Run(string(api), func(t *testing.T) {
			var given map[string]jsontext.Value
			if err := jsonrows.Decode([]byte(whole), &given); err != nil {
				t.Fatal(err)
			}
			fields := map[string]string{}
			for name, value := range given {
				fields[name] = string(value)
			}
			s := answers(t, func(c *Config) { c.API = api }, text(""))
			events, rejected := 0, 0
			schematest.CheckRows(t, fields, func(t *rapid.T, raw string) {
				row, err := s.record(query{span: seedSpan}, jsonrows.Row{Raw: []byte(raw), Size: int64(len(raw))})
				if err != nil {
					return // of another application: no row of the answer
				}
				if checkValid(t, s, row.Record) {
					events++
				} else {
					rejected++
				}
			})
			if events < 10 || rejected < 10 {
				t.Errorf("got %d events and %d rejections, want some of both", events, rejected)
			}
		})
	}
}

// checkValid wants a record to become an event that keeps the closed form of the schema, or to be rejected. It reports which.
func checkValid(t rapid.TB, s *Source, r sources.Record) bool {
	t.Helper()
	e, err := s.Normalize(s.Streams()[0], r)
	if class, rejected := fault.Class(err); rejected && class != "" {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	e.Record.Revision, e.ObservedAt, e.Privacy = 1, noon, schema.PrivacyOff
	m, err := e.Message(schema.Format{})
	if err != nil {
		t.Fatal(err)
	}
	if err := schematest.Event(m.Body); err != nil {
		t.Fatalf("%v: %s", err, m.Body)
	}
	return true
}

// TestSectionIsTheSchemas wants the section and the schema to describe the same fields.
func TestSectionIsTheSchemas(t *testing.T) {
	if err := schematest.Section(System, reflect.TypeFor[Fields]()); err != nil {
		t.Error(err)
	}
}
