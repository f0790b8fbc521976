package submail

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"connector/internal/config"
	"connector/internal/fault"
	"connector/schema"
	"connector/sources/jsonrows"
	"connector/sources/scan"
)

// FuzzAnswerJSON reads any bytes as an answer in JSON, from the examples on.
func FuzzAnswerJSON(f *testing.F) {
	fuzzAnswer(f, FormatJSON, []string{
		"\ufeff{\"results\":{},\"status\":\" Success \",\"count\":\"0\"}", `{"status":"success","results":"","appid":10000}`, `{"results":null}`,
		`{"status":"success","results":[` + goodRow + `,null,7,"row",{"sendID":{}},{"x":` + strings.Repeat("[", 99) + strings.Repeat("]", 99) + `},` + goodRow + `]}`,
		`{"status":"error","code":152,"msg":"\ud800","status":"success","count":1e9,"start_row":-1}`,
	})
}

// FuzzAnswerXML reads any bytes as an answer in XML, from the examples on.
func FuzzAnswerXML(f *testing.F) {
	fuzzAnswer(f, FormatXML, []string{
		"\ufeff<xml><results/><status> Success </status><count> 0 </count></xml>", `<xml><status>success</status><appid>10000</appid></xml>`,
		`<xml><status>success</status><results><result>row</result><result/><result><sendID>a</sendID><send_date>2015-01-19 15:21:27</send_date>` +
			`<m>"\&amp;&#x9;<![CDATA[<">]]></m></result><!-- x --></results></xml>`,
		"<xml><code> 152 </code><msg>\xff\x00&nbsp;</msg><start_date>2014-11-24 00:35:13</start_date><end_date>2015-04-02 16:00:01</end_date></xml>",
	})
}

func fuzzAnswer(f *testing.F, format Format, more []string) {
	f.Helper()
	for _, name := range []string{"seed.", "seed.success.", "seed.error."} {
		body := example(f, name+string(format))
		more = append(more, body, body[:len(body)*2/3])
	}
	for _, body := range more {
		for _, maxRow := range []int{1999, 300, 15} {
			f.Add([]byte(body), maxRow)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, maxRow int) {
		maxRow = max(len("<result>"), maxRow%2000)
		cfg := settings("http://x", "http://x")
		cfg.Format, cfg.AppID, cfg.MaxRowBytes = format, "your_app_id", config.ByteSize(maxRow)
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
		e, err := s.Normalize(s.Streams()[0], row.Record)
		if _, rejected := fault.Class(err); rejected {
			continue
		}
		e.Record.Revision, e.ObservedAt = 1, noon
		m, encoding := e.Message()
		if err != nil || encoding != nil {
			t.Fatal(err, encoding)
		}
		if err := schema.Validate(m.Body); err != nil {
			t.Fatalf("%v: %s", err, m.Body)
		}
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
