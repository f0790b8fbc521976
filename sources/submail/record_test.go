package submail

import (
	"strings"
	"testing"
	"time"

	"connector/internal/fault"
	"connector/schema"
	"connector/sources"
	"connector/sources/jsonrows"
)

const goodRow = `{"sendID":"a","send_date":"2015-01-19 15:21:27","result_status":"delivered"}`

func TestRecords(t *testing.T) {
	created := time.Date(2015, 1, 19, 7, 21, 27, 0, time.UTC)
	tests := []struct {
		name, row string
		want      sources.Record // ID, Created, Rank (of a good row), Terminal; an ID of "sha256" stands for the row's hash
		class     string
	}{
		{"delivered", goodRow, sources.Record{ID: "a", Created: created, Rank: 5, Terminal: true}, ""},
		{"dropped", `{"sendID":"a","send_date":"2015-01-19 15:21:27","result_status":" Dropped "}`, sources.Record{ID: "a", Created: created, Rank: 5, Terminal: true}, ""},
		{"sending", `{"sendID":"a","send_date":"2015-01-19 15:21:27","result_status":"sending"}`, sources.Record{ID: "a", Created: created, Rank: 3}, ""},
		{"unknown, misspelled", `{"sendID":"a","send_date":"2015-01-19 15:21:27","result_status":"` + statusMisspelled + `"}`, sources.Record{ID: "a", Created: created, Rank: 4}, ""},
		{"new status", `{"sendID":"a","send_date":"2015-01-19 15:21:27","result_status":"read"}`, sources.Record{ID: "a", Created: created, Rank: 4}, ""},
		{"numeric id, no status", `{"sendID":17,"send_date":" 2015-01-19 15:21:27 "}`, sources.Record{ID: "17", Created: created, Rank: 4}, ""},
		{"no id", `{"send_date":"2015-01-19 15:21:27"}`, sources.Record{ID: "sha256", Created: created, Terminal: true}, "no_id"},
		{"no date", `{"sendID":"a"}`, sources.Record{ID: "a"}, "decode"},
		{"bad date", `{"sendID":"a","send_date":"yesterday"}`, sources.Record{ID: "a"}, "decode"},
		{"zero date", `{"sendID":"a","send_date":"0000-00-00 00:00:00"}`, sources.Record{ID: "a"}, "decode"},
		{"bad status", `{"sendID":"a","send_date":"2015-01-19 15:21:27","result_status":{}}`, sources.Record{ID: "a"}, "decode"},
		{"no object", `"row"`, sources.Record{ID: "sha256", Terminal: true}, "decode"},
		{"too large", `{"sendID":"a","message":"` + strings.Repeat("x", 2000) + `"}`, sources.Record{ID: "sha256", Terminal: true}, "too_large"},
	}
	for _, tt := range tests {
		s := answers(t, func(c *Config) { c.MaxRowBytes = 1000 }, text(`{"status":"success","results":[`+tt.row+`,`+goodRow+`]}`))
		records, proven, err := read(t.Context(), s, seedSpan)
		if err != nil || proven != seedSpan || len(records) != 2 || records[1].Fault != nil {
			t.Errorf("%s: got %d records, proven %v, %v", tt.name, len(records), proven, err)
			continue
		}
		got := records[0]
		if tt.class != "" {
			tt.want.Rank = sources.UnknownRank
		}
		if tt.want.ID == "sha256" {
			tt.want.ID = sources.HashID + jsonrows.Sum([]byte(tt.row))
		}
		class, _ := fault.Class(got.Fault)
		if got.ID != tt.want.ID || got.Rank != tt.want.Rank || got.Terminal != tt.want.Terminal || class != tt.class || !got.Created.Equal(tt.want.Created) {
			t.Errorf("%s: got %+v, want %+v, class %q", tt.name, got, tt.want, tt.class)
		}
	}
}

// TestPrint checks which fields change the print, and that spelling does not.
func TestPrint(t *testing.T) {
	printOf := func(row string) string {
		k, err := messageKeys([]byte(row), time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		return k.print()
	}
	base := printOf(`{"sendID":"a","result_status":"unknown","sent_date":"2015-01-19 15:21:27","credit":1}`)
	for row, same := range map[string]bool{
		`{"sendID":"a","result_status":"` + statusMisspelled + `","sent_date":"2015-01-19 15:21:27","credit":1}`: true,
		`{"credit":"1","sent_date":" 2015-01-19 15:21:27 ","result_status":"UNKNOWN","sendID":"a"}`:              true,
		`{"sendID":"a","result_status":"unknown","sent_date":"2015-01-19 15:21:27","credit":2,"message":"text"}`: true,
		`{"sendID":"a","result_status":"dropped","sent_date":"2015-01-19 15:21:27","credit":1}`:                  false,
		`{"sendID":"a","result_status":"unknown","sent_date":"2015-01-19 15:21:28","credit":1}`:                  false,
		`{"sendID":"a","result_status":"unknown","sent_date":"","credit":1}`:                                     false,
	} {
		if got := printOf(row) == base; got != same {
			t.Errorf("%s: got the same print %v, want %v", row, got, same)
		}
	}
	unset := printOf(`{"sendID":"a"}`)
	for _, row := range []string{
		`{"sent_date":null,"credit":null,"result_status":null}`, `{"sent_date":"","credit":"","result_status":""}`, `{"sent_date":"0000-00-00 00:00:00"}`,
	} {
		if printOf(row) != unset {
			t.Errorf("%s: got another print than for absent fields", row)
		}
	}
}

func TestNormalize(t *testing.T) {
	s := answers(t, nil, text(""))
	tests := []struct {
		name, row, want string
		status          schema.Status
	}{
		{"only an id", `{"sendID":"a"}`, `{},"submail":{}`, schema.Unknown},
		{"empty numbers", `{"sendID":"a","length":"","credit":"","project":""}`, `{},"submail":{}`, schema.Unknown},
		{"mixed types", `{"sendID":1,"length":"56","credit":"1.50","recipient":13800000000,"result_status":"request"}`,
			`{"recipient":"13800000000","length":56,"credits":1.5},"submail":{}`, schema.Pending},
		{"unknown fields", `{"sendID":"a","report":{"x":1},"sendId":"b","gone":null,"result_status":"pending"}`,
			`{},"submail":{"report":{"x":1},"sendId":"b"}`, schema.Pending},
		{"sending", `{"result_status":"sending"}`, `{},"submail":{}`, schema.Pending},
		{"dropped", `{"result_status":"dropped"}`, `{},"submail":{}`, schema.Failed},
		{"misspelled", `{"result_status":"` + statusMisspelled + `"}`, `{},"submail":{}`, schema.Unknown},
		{"new", `{"result_status":"read"}`, `{},"submail":{}`, schema.Unknown},
	}
	for _, tt := range tests {
		e, err := s.Normalize(s.Streams()[0], sources.Record{ID: "a", Created: noon, Raw: []byte(tt.row)})
		if err != nil || e.Status != tt.status || !e.UpdatedAt.IsZero() {
			t.Errorf("%s: got %+v, %v, want status %s", tt.name, e, err, tt.status)
			continue
		}
		m, err := e.Message(schema.Format{})
		if want := `"sms":` + tt.want + `}`; err != nil || !strings.HasSuffix(string(m.Body), want) {
			t.Errorf("%s:\n got %s, %v\nwant …%s", tt.name, m.Body, err, want)
		}
	}
	for field, row := range map[string]string{
		"length": `{"length":"private"}`, "credit": `{"credit":"private"}`, "message": `{"message":{"private":1}}`, "extra": `{"extra":{"private":1,"private":2}}`,
	} {
		_, err := s.Normalize(s.Streams()[0], sources.Record{ID: "a", Created: noon, Raw: []byte(row)})
		if class, _ := fault.Class(err); class != "decode" || !strings.Contains(err.Error(), field) || strings.Contains(err.Error(), "private") {
			t.Errorf("%s: got %v, want a rejection that names the field and not the value", field, err)
		}
	}
}
