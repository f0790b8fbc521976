package submail

import (
	"bytes"
	"errors"
	"flag"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"connector/internal/fault"
	"connector/schema"
	"connector/schema/schematest"
	"connector/sources"
	"connector/sources/scan"
)

var update = flag.Bool("update", false, "rewrite the golden files, and fail: a person reads the difference")

// The files testdata/seed.* are the provider's own examples of answers, to the byte; seed.events.json holds the events that they
// stand for, in the JSON format of CloudEvents.

func example(t testing.TB, name string) string {
	t.Helper()
	body, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// golden compares got with a golden file.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if want := example(t, name); string(got) == want {
		return
	} else if !*update {
		t.Errorf("%s differs:\n got %s\nwant %s", name, got, want)
		return
	}
	if err := os.WriteFile("testdata/"+name, got, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Errorf("%s is rewritten: read the difference, then test again", name)
}

// event returns the event of a record, which keeps the schema, as the pipeline makes it, read at a fixed time and published
// for the first time: the attributes of CloudEvents and, as data, the body.
func event(t *testing.T, s *Source, r sources.Record) []byte {
	t.Helper()
	e, err := s.Normalize(s.Streams()[0], r)
	if err != nil {
		t.Fatal(err)
	}
	e.Record.Revision, e.ObservedAt, e.Privacy = 1, time.Date(2015, 4, 2, 8, 0, 0, 0, time.UTC), schema.PrivacyOff
	e.ID = schema.EventID(s.account, streamName, r.ID, r.Print)
	m, err := e.Message(schema.Format{})
	if err != nil {
		t.Fatal(err)
	}
	if err := schematest.Event(m.Body); err != nil {
		t.Errorf("%v: %s", err, m.Body)
	}
	v := jsontext.Value(`{`)
	for _, a := range m.Attributes() {
		v, _ = jsontext.AppendQuote(v, a.Name)
		v, _ = jsontext.AppendQuote(append(v, ':'), a.Value)
		v = append(v, ',')
	}
	v = append(append(append(v, `"data":`...), m.Body...), '}')
	if err := v.Indent(); err != nil {
		t.Fatal(err)
	}
	return append(v, '\n')
}

// events returns the events of a scan of window that proves it.
func events(t *testing.T, s *Source, window sources.Span) []byte {
	t.Helper()
	records, proven, err := read(t.Context(), s, window)
	if err != nil || proven != window {
		t.Fatalf("got %d records, proven %v, %v", len(records), proven, err)
	}
	var all []byte
	for _, r := range records {
		all = append(all, event(t, s, r)...)
	}
	return all
}

// exampleSource answers with body for the appid of the examples.
func exampleSource(t *testing.T, format Format, body string) *Source {
	t.Helper()
	return answers(t, func(c *Config) { c.Format, c.AppID = format, "your_app_id" }, text(body))
}

// TestGolden gives both examples of an answer with rows and wants the same events from both. Their dates are those asked for.
func TestGolden(t *testing.T) {
	window := sources.Span{From: seedSpan.From.Add(tick), To: seedSpan.To.Add(-tick)}
	for _, format := range []Format{FormatJSON, FormatXML} {
		golden(t, "seed.events.json", events(t, exampleSource(t, format, example(t, "seed."+string(format))), window))
	}
}

// TestGoldenOfOtherDates asks for an hour. The dates of the examples are others, as far as the documentation goes for no reason:
// after some answers they prove nothing, which is warned of, and the same events come.
func TestGoldenOfOtherDates(t *testing.T) {
	window := sources.Span{From: time.Date(2015, 1, 19, 7, 0, 0, 0, time.UTC), To: time.Date(2015, 1, 19, 8, 0, 0, 0, time.UTC)}
	for _, format := range []Format{FormatJSON, FormatXML} {
		s := exampleSource(t, format, example(t, "seed."+string(format)))
		var logged bytes.Buffer
		s.log = slog.New(slog.NewTextHandler(&logged, nil))
		for i := range patience - 1 {
			if records, _, err := read(t.Context(), s, window); len(records) > 0 || !errors.Is(err, scan.ErrOther) || fault.IsFatal(err) {
				t.Errorf("%s, answer %d: got %d records, %v, want a transient ErrOther", format, i, len(records), err)
			}
		}
		golden(t, "seed.events.json", events(t, s, window))
		if !strings.Contains(logged.String(), "prove nothing") {
			t.Errorf("%s: got log %q, want a warning", format, logged.String())
		}
	}
}

// TestGoldenWithoutRows gives the examples of answers that hold a status only.
func TestGoldenWithoutRows(t *testing.T) {
	for _, format := range []Format{FormatJSON, FormatXML} {
		if got := events(t, exampleSource(t, format, example(t, "seed.success."+string(format))), seedSpan); len(got) > 0 {
			t.Errorf("success in %s: got events %s", format, got)
		}
		_, proven, err := read(t.Context(), exampleSource(t, format, example(t, "seed.error."+string(format))), seedSpan)
		if want := `SUBMAIL answered with error 1xx: "error message"`; err == nil || err.Error() != want || proven == seedSpan || fault.IsFatal(err) {
			t.Errorf("error in %s: got proven %v, %v, want a transient error: %s", format, proven, err, want)
		}
	}
}

// TestGoldenUnknownFields adds a number of an unknown name to each row: JSON keeps the number; in XML, which has no types, it is a string.
func TestGoldenUnknownFields(t *testing.T) {
	window := sources.Span{From: seedSpan.From.Add(tick), To: seedSpan.To.Add(-tick)}
	wanted := func(operator string) []byte {
		var all []byte
		for part := range strings.SplitAfterSeq(example(t, "seed.events.json"), "\n}\n") {
			if part != "" {
				all = append(all, strings.Replace(part, "\n\t\t}\n\t}\n}\n", ",\n\t\t\t\"operator\": "+operator+"\n\t\t}\n\t}\n}\n", 1)...)
			}
		}
		return all
	}
	inJSON := strings.ReplaceAll(example(t, "seed.json"), `"credit":1`, `"operator":46000, "credit":1`)
	inXML := strings.ReplaceAll(example(t, "seed.xml"), `<credit>`, `<operator> 46000 </operator><credit>`)
	for format, body := range map[Format]string{FormatJSON: inJSON, FormatXML: inXML} {
		want := wanted(map[Format]string{FormatJSON: `46000`, FormatXML: `"46000"`}[format])
		if got := events(t, exampleSource(t, format, body), window); !bytes.Equal(got, want) || bytes.Count(got, []byte("operator")) != 2 {
			t.Errorf("%s:\n got %s\nwant %s", format, got, want)
		}
	}
}
