package submail

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/go-json-experiment/json/jsontext"

	"connector/internal/config"
	"connector/schema"
	"connector/sources"
	"connector/sources/jsonrows"
	"connector/sources/scan"
)

// FuzzAnswerJSON reads any bytes as an answer in JSON, from the examples on.
func FuzzAnswerJSON(f *testing.F) {
	fuzzAnswer(f, APILogMessage, FormatJSON, examples(f, FormatJSON), []string{
		"\ufeff{\"results\":{},\"status\":\" Success \",\"count\":\"0\"}", `{"status":"success","results":"","appid":10000}`, `{"results":null}`,
		`{"status":"success","results":[` + goodRow + `,null,7,"row",{"sendID":{}},{"x":` + strings.Repeat("[", 99) + strings.Repeat("]", 99) + `},` + goodRow + `]}`,
		`{"status":"error","code":152,"msg":"\ud800","status":"success","count":1e9,"start_row":-1}`,
	})
}

// FuzzAnswerXML reads any bytes as an answer in XML, from the examples on.
func FuzzAnswerXML(f *testing.F) {
	fuzzAnswer(f, APILogMessage, FormatXML, examples(f, FormatXML), []string{
		"\ufeff<xml><results/><status> Success </status><count> 0 </count></xml>", `<xml><status>success</status><appid>10000</appid></xml>`,
		`<xml><status>success</status><results><result>row</result><result/><result><sendID>a</sendID><send_date>2015-01-19 15:21:27</send_date>` +
			`<m>"\&amp;&#x9;<![CDATA[<">]]></m></result><!-- x --></results></xml>`,
		"<xml><code> 152 </code><msg>\xff\x00&nbsp;</msg><start_date>2014-11-24 00:35:13</start_date><end_date>2015-04-02 16:00:01</end_date></xml>",
	})
}

// FuzzSMSAnswerJSON reads any bytes as an answer of sms/log in JSON.
func FuzzSMSAnswerJSON(f *testing.F) {
	row := strings.Replace(smsRow, "10000", "your_app_id", 1)
	fuzzAnswer(f, APISMSLog, FormatJSON, []string{
		`{"status":"success","start_date":1416760513,"end_date":1427961601,"total":1,"offset":0,"results":1000,"data":[` + row + `]}`,
	}, []string{`{"status":"success","results":"50","total":7,"data":[` + row + `,{"send_at":0},` + smsRow + `]}`, `{"status":"error","msg":"Unknown method"}`})
}

// FuzzSMSAnswerXML reads any bytes as an answer of sms/log in XML.
func FuzzSMSAnswerXML(f *testing.F) {
	fuzzAnswer(f, APISMSLog, FormatXML, []string{
		`<xml><status>success</status><total>1</total><results>1000</results><data><item><sendID>a</sendID><send_at> 1421652087 </send_at></item></data></xml>`,
	}, []string{`<xml><data><a/><b/></data></xml>`, `<xml><data><row-of-a-long-name><m>x</m></row-of-a-long-name></data><status>error</status></xml>`})
}

// examples are those of the documentation of log/message.
func examples(f *testing.F, format Format) (bodies []string) {
	f.Helper()
	for _, name := range []string{"seed.", "seed.success.", "seed.error."} {
		bodies = append(bodies, example(f, name+string(format)))
	}
	return bodies
}

// fuzzAnswer begins with whole answers, their beginnings, and others.
func fuzzAnswer(f *testing.F, api API, format Format, whole, others []string) {
	f.Helper()
	for _, body := range whole {
		others = append(others, body, body[:len(body)*2/3])
	}
	for _, body := range others {
		for _, maxRow := range []int{1999, 300, 15} {
			f.Add([]byte(body), maxRow)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, maxRow int) {
		maxRow = max(len("<result>"), maxRow%2000)
		cfg := settings("http://x", "http://x")
		cfg.API, cfg.Format, cfg.AppID, cfg.MaxRowBytes = api, format, "your_app_id", config.ByteSize(maxRow)
		s, err := New("otp", cfg, httpOptions())
		if err != nil {
			t.Fatal(err)
		}
		rows, a, broken := collect(t, s, bytes.NewReader(in))
		slowly, _, brokenSlowly := collect(t, s, iotest.OneByteReader(bytes.NewReader(in)))
		// A row that is too large and no JSON either is found to be the one or the other, whatever comes first.
		if large := maxRow < len(in); !large && ((broken == nil) != (brokenSlowly == nil) || !slices.EqualFunc(rows, slowly, sameRow)) {
			t.Fatalf("got %q, %v and, byte for byte, %q, %v", raws(rows), broken, raws(slowly), brokenSlowly)
		}
		checkRows(t, s, a, rows, maxRow, broken)
	})
}

// collect reads an answer; nothing may be yielded after an error.
func collect(t *testing.T, s *Source, in io.Reader) (rows []jsonrows.Row, a answer, broken error) {
	t.Helper()
	a = s.answer(in)
	for row, err := range a.Rows() {
		if broken != nil {
			t.Fatalf("got %q, %v after %v", row.Raw, err, broken)
		}
		if broken = err; err == nil {
			row.Raw = bytes.Clone(row.Raw)
			rows = append(rows, row)
		}
	}
	return rows, a, broken
}

func sameRow(a, b jsonrows.Row) bool {
	return bytes.Equal(a.Raw, b.Raw) && a.Size == b.Size && a.SHA256 == b.SHA256 && a.TooDeep == b.TooDeep
}

// checkRows checks the size of each row, and that it becomes an event that keeps the schema, or is rejected.
func checkRows(t *testing.T, s *Source, a answer, given []jsonrows.Row, maxRow int, broken error) {
	t.Helper()
	q := query{span: seedSpan, rows: 1000}
	var rows []scan.Row
	for _, given := range given {
		largest := maxRow
		if s.cfg.Format == FormatXML {
			largest *= 2 // of the element: a quotation mark takes two bytes in JSON
		}
		if given.SHA256 != "" {
			largest = schema.MaxDeadLetterRaw
		}
		if len(given.Raw) > largest {
			t.Fatalf("got a row of %d bytes at limit %d", len(given.Raw), maxRow)
		}
		row, err := s.record(q, given)
		if errors.Is(err, scan.ErrOther) {
			return
		}
		if err != nil || row.ID == "" || row.Print == "" {
			t.Fatalf("got %+v, %v of %q", row, err, given.Raw)
		}
		rows = append(rows, row)
		checkRecord(t, s, row.Record)
	}
	if members := a.Members(); len(members) > maxMembers {
		t.Fatalf("got %d members", len(members))
	}
	if broken != nil {
		return
	}
	if full, err := s.check(q, a, rows); full && err != nil {
		t.Fatalf("got a full page and %v", err)
	}
}

// FuzzRecord checks that any row becomes an event that keeps the schema, or a rejected record, and never panics.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(goodRow))
	f.Add([]byte(`{"sendID":9007199254740993,"send_date":"2015-01-19 15:21:27","message":"\ud800","length":"","credit":1e2,"x":{"a":1,"a":2}}`))
	s, err := New("otp", settings("http://x", "http://x"), httpOptions())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !jsontext.Value(raw).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
			return
		}
		r, err := s.record(query{span: seedSpan}, jsonrows.Row{Raw: raw, Size: int64(len(raw))})
		if err != nil || r.ID == "" || r.Print == "" {
			t.Fatalf("got %+v, %v", r, err)
		}
		checkRecord(t, s, r.Record)
	})
}

// FuzzSMSRecord is FuzzRecord for rows of sms/log.
func FuzzSMSRecord(f *testing.F) {
	f.Add([]byte(smsRow))
	f.Add([]byte(`{"sendID":9007199254740993,"send_at":"1421652087.0","sent_at":1e9,"report_at":"\ud800","fee":1e2,"location":{"a":1,"a":2}}`))
	cfg := settings("http://x", "http://x")
	cfg.API = APISMSLog
	s, err := New("otp", cfg, httpOptions())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !jsontext.Value(raw).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
			return
		}
		r, err := s.record(query{span: seedSpan}, jsonrows.Row{Raw: raw, Size: int64(len(raw))})
		if err != nil {
			if !errors.Is(err, scan.ErrOther) {
				t.Fatal(err)
			}
			return
		}
		checkRecord(t, s, r.Record)
	})
}

// checkRecord checks that a record becomes an event that keeps the schema, or is rejected.
func checkRecord(t *testing.T, s *Source, r sources.Record) {
	t.Helper()
	if r.ID == "" || r.Print == "" {
		t.Fatalf("got %+v", r)
	}
	checkValid(t, s, r)
}
