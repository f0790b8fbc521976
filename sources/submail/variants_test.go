package submail

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"connector/internal/fault"
	"connector/schema"
	"connector/sources"
)

// TestSpellings checks that an answer gives the same rows however it spells them, as far as the documentation and the
// provider's own clients leave open.
func TestSpellings(t *testing.T) {
	const (
		head  = `{"status":"success","appid":"10000","count":1,"start_row":1,"end_row":1,"results":[`
		whole = `"sms":{"recipient":"138","text":"m & <n>","signature":"【S】","template":"P","sentAt":"2015-01-19T07:21:28Z","length":56,"credits":1},` +
			`"submail":{"api":"message/xsend","send_date":"2015-01-19 15:21:27","sent_date":"2015-01-19 15:21:28"}`
		row = `"sendID":"7","project":"P","recipient":"138","message":"m & <n>","signature":"【S】","result_status":"sending","api":"message/xsend",` +
			`"send_date":"2015-01-19 15:21:27","sent_date":"2015-01-19 15:21:28"`
		xmlRow = `<sendID>7</sendID><project>P</project><recipient>138</recipient><message>m &amp; &lt;n&gt;</message><signature>【S】</signature>` +
			`<result_status>sending</result_status><api>message/xsend</api><send_date>2015-01-19 15:21:27</send_date><sent_date>2015-01-19 15:21:28</sent_date>`
		xmlEnd = `</result></results></xml>`
	)
	asXML := func(members, fields string) string { return `<xml>` + members + `<results><result>` + fields + xmlEnd }
	const success = `<status>success</status>`
	small := func(sms, own string) string {
		return `"sms":{` + sms + `},"submail":{"send_date":"2015-01-19 15:21:27"` + own + `}`
	}
	const id, smallXML = `"sendID":"7","send_date":"2015-01-19 15:21:27"`, `<sendID>7</sendID><send_date>2015-01-19 15:21:27</send_date>`
	inJSON := func(fields string) string { return head + `{` + id + fields + `}]}` }
	inXML := func(fields string) string { return asXML(success, smallXML+fields) }

	tests := []struct{ name, body, want string }{
		{"as documented", head + `{` + row + `,"length":56,"credit":1}]}`, whole},
		{"as documented", asXML(success, xmlRow+`<length>56</length><credit>1</credit>`), whole},
		{"numbers as strings", strings.NewReplacer(`:1,`, `:"1",`).Replace(head) + `{` + row + `,"length":"56","credit":" 1 "}]}`, whole},
		{"strings as numbers", strings.NewReplacer(`"10000"`, `10000`).Replace(head) + `{` + strings.NewReplacer(`"7"`, `7`, `"138"`, `138`).Replace(row) + `,"length":56.0,"credit":1}]}`, whole},
		{"spaces", strings.ReplaceAll(asXML("<appid>10000</appid>"+success+`<count>1</count>`, xmlRow+`<length>56</length><credit>1</credit>`), `<`, " \r\n\t<"), ""},
		{"padded text", strings.NewReplacer(`</`, ` </`, `>7`, "> \n7", `>success`, `> success`, `>5`, `> 5`, `>sending`, `>  Sending`).Replace(
			asXML(success+`<appid>10000</appid><count>1</count>`, xmlRow+`<length>56</length><credit>1</credit>`)), whole},
		{"byte order mark", "\ufeff" + head + `{` + row + `,"length":56,"credit":1}]}`, whole},
		{"byte order mark", "\ufeff<?xml version=\"1.0\" encoding=\"utf-8\"?>\n" + asXML(success, xmlRow+`<length>56</length><credit>1</credit>`), whole},
		{"CDATA, comments, attributes", asXML(success, strings.Replace(xmlRow, `m &amp; &lt;n&gt;`, `<![CDATA[m & <n>]]>`, 1)+`<!-- x --><length unit="1">56</length><credit>1</credit>`), whole},
		{"escapes", head + `{` + strings.NewReplacer(`/`, `\/`, `&`, `\u0026`, `【`, `\u3010`).Replace(row) + `,"length":56,"credit":1}]}`, whole},
		{"members after the rows, in any case", `{"results":[{` + row + `,"length":56,"credit":1}],"status":" SUCCESS "}`, whole},
		{"members after the rows", `<xml><results><result>` + xmlRow + `<length>56</length><credit>1</credit></result></results>` + success + `</xml>`, whole},

		{"status in another case", inJSON(`,"result_status":"DELIVERED"`), small(``, ``)},
		{"status in another case", inXML(`<result_status>DELIVERED</result_status>`), small(``, ``)},
		{"status misspelled", inJSON(`,"result_status":"` + statusMisspelled + `"`), small(``, ``)},
		{"status misspelled", inXML(`<result_status>` + statusMisspelled + `</result_status>`), small(``, ``)},
		{"new status", inJSON(`,"result_status":"read"`), small(``, ``)},
		{"new status", inXML(`<result_status>read</result_status>`), small(``, ``)},
		{"status as a number", inJSON(`,"result_status":3`), small(``, ``)},

		{"unknown fields", inJSON(`,"fee":0.050,"ok":true,"big":9007199254740993,"o":{"a":[1,{}]},"l":[ 1, "x" ]`),
			small(``, `,"big":9007199254740993,"fee":0.050,"l":[1,"x"],"o":{"a":[1,{}]},"ok":true`)},
		{"unknown fields", inXML(`<fee>0.050</fee><ok>true</ok><o><a>1</a> <b>2</b></o><none/>`), small(``, `,"fee":"0.050","none":"","o":"1 2","ok":"true"`)},
		{"null fields", inJSON(`,"project":null,"recipient":null,"message":null,"signature":null,"result_status":null,"api":null,"sent_date":null,"length":null,"credit":null,"x":null`), small(``, ``)},
		{"empty fields", inJSON(`,"project":"","length":"","credit":" ","sent_date":"","recipient":" "`), small(``, `,"sent_date":""`)},
		{"empty fields", inXML(`<project/><length></length><credit> </credit><sent_date/><recipient> </recipient>`), small(``, `,"sent_date":""`)},
		{"names given twice: the last counts", inJSON(`,"credit":1,"project":"a","x":1,"credit":2,"project":"b","x":2`), small(`"template":"b","credits":2`, `,"x":2`)},
		{"names given twice: the last counts", inXML(`<credit>1</credit><project>a</project><x>1</x><credit>2</credit><project>b</project><x>2</x>`), small(`"template":"b","credits":2`, `,"x":"2"`)},
		{"members given twice: the last counts", `{"status":"error","code":"101","status":"success","results":[{` + id + `}]}`, small(``, ``)},
		{"fractions", inJSON(`,"credit":1.5,"length":"7e1"`), small(`"length":70,"credits":1.5`, ``)},
		{"fractions", inXML(`<credit>1.5</credit><length>7e1</length>`), small(`"length":70,"credits":1.5`, ``)},
		{"no status, no code, an unset sent_date", inJSON(`,"sent_date":"0000-00-00 00:00:00"`), small(``, `,"sent_date":"0000-00-00 00:00:00"`)},
	}
	for _, tt := range tests {
		if tt.want == "" {
			tt.want = whole
		}
		s := answers(t, func(c *Config) { c.Format = formatOf(tt.body) }, text(tt.body))
		records, proven, err := read(t.Context(), s, seedSpan)
		if err != nil || proven != seedSpan || len(records) != 1 {
			t.Errorf("%s: got %d records, proven %v, %v, of %s", tt.name, len(records), proven, err, tt.body)
			continue
		}
		if got := sections(t, s, records[0]); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s\n  of %s", tt.name, got, tt.want, tt.body)
		}
	}
}

func formatOf(body string) Format {
	if strings.HasPrefix(strings.TrimLeft(body, "\ufeff \r\n\t"), "<") {
		return FormatXML
	}
	return FormatJSON
}

// sections returns the sections sms and submail of the event of a record.
func sections(t *testing.T, s *Source, r sources.Record) string {
	t.Helper()
	e, err := s.Normalize(s.Streams()[0], r)
	if err != nil {
		t.Errorf("normalizing %s: %v", r.Raw, err)
		return ""
	}
	m, err := e.Message(schema.Format{})
	if err != nil {
		t.Fatal(err)
	}
	_, fields, _ := strings.Cut(string(m.Body), `"privacy":"",`)
	return strings.TrimSuffix(fields, "}")
}

// TestSpellingsOfStatus checks what a status means in any case and with any spaces.
func TestSpellingsOfStatus(t *testing.T) {
	for given, want := range map[string]schema.Status{
		"delivered": schema.Delivered, "DELIVERED": schema.Delivered, "Dropped": schema.Failed, "request": schema.Pending, "Pending": schema.Pending,
		"sending": schema.Pending, "unknown": schema.Unknown, statusMisspelled: schema.Unknown, strings.ToUpper(statusMisspelled): schema.Unknown, "read": schema.Unknown, "": schema.Unknown,
	} {
		for _, body := range []string{
			`{"status":"success","results":[{"sendID":"7","send_date":"2015-01-19 15:21:27","result_status":" ` + given + ` "}]}`,
			`<xml><status>success</status><results><result><sendID>7</sendID><send_date>2015-01-19 15:21:27</send_date><result_status> ` + given + ` </result_status></result></results></xml>`,
		} {
			s := answers(t, func(c *Config) { c.Format = formatOf(body) }, text(body))
			records, _, err := read(t.Context(), s, seedSpan)
			if err != nil || len(records) != 1 {
				t.Fatalf("%s: got %d records, %v", body, len(records), err)
			}
			e, err := s.Normalize(s.Streams()[0], records[0])
			final := want == schema.Delivered || want == schema.Failed
			if err != nil || e.Status != want || e.ProviderStatus != given || records[0].Terminal != final {
				t.Errorf("%s: got status %s, %q, final %v, %v, want %s", body, e.Status, e.ProviderStatus, records[0].Terminal, err, want)
			}
		}
	}
}

// TestWithoutRows checks what counts as an answer without rows, and what as none.
func TestWithoutRows(t *testing.T) {
	lists := map[string]bool{
		`,"results":[]`: true, `,"results":null`: true, ``: true, `,"results":{}`: true, `,"results":""`: true, `,"results":" "`: true,
		`,"results":{"0":{}}`: false, `,"results":"none"`: false, `,"results":false`: false, `,"results":0`: false,
		`<results></results>`: true, `<results/>`: true, `<results> </results>`: true, `<results><!-- none --></results>`: true,
		`<results>none</results>`: false, `<results><row/></results>`: false,
	}
	for list, none := range lists {
		for count, counted := range map[string]bool{"": false, "0": false, `"0"`: false, "7": true} {
			if count != "" {
				count = `,"count":` + count
			}
			bodies := []string{`{"status":"success"` + count + list + `}`, `{"status":"success"` + list + count + `}`}
			if strings.HasPrefix(list, "<") {
				count = strings.NewReplacer(`,"count":`, "", `"`, " ").Replace(count)
				bodies = []string{`<xml><status>success</status><count>` + count + `</count>` + list + `</xml>`}
			}
			for _, body := range bodies {
				s := answers(t, func(c *Config) { c.Format = formatOf(body) }, text(body))
				records, proven, err := read(t.Context(), s, seedSpan)
				if good := none && !counted; len(records) > 0 || good != (err == nil) || good != (proven == seedSpan) || fault.IsFatal(err) {
					t.Errorf("%s: got %d records, proven %v, %v, want it proven: %v", body, len(records), proven, err, good)
				}
			}
		}
	}
}

// TestPoison has one malformed row among good ones: it is a dead letter, and the others are events.
func TestPoison(t *testing.T) {
	const at = `"send_date":"2015-01-19 15:21:27"`
	tests := []struct{ name, row, class string }{
		{"no object", `"row"`, "decode"},
		{"null", `null`, "decode"},
		{"a list", `[{"sendID":"b",` + at + `}]`, "decode"},
		{"no id", `{` + at + `}`, "no_id"},
		{"blank id", `{"sendID":" ",` + at + `}`, "no_id"},
		{"id of another kind", `{"sendID":{},` + at + `}`, "decode"},
		{"no date", `{"sendID":"b"}`, "decode"},
		{"date of another kind", `{"sendID":"b","send_date":[]}`, "decode"},
		{"no such date", `{"sendID":"b","send_date":"2015-02-30 00:00:00"}`, "decode"},
		{"a date in seconds", `{"sendID":"b","send_date":1421652087}`, "decode"},
		{"length that is no number", `{"sendID":"b",` + at + `,"length":"long"}`, "decode"},
		{"credit that is no number", `{"sendID":"b",` + at + `,"credit":{}}`, "decode"},
		{"credit that is too large", `{"sendID":"b",` + at + `,"credit":1e400}`, "decode"},
		{"field of the other call of another kind", `{"sendID":"b",` + at + `,"appid":{}}`, "decode"},
		{"message of another kind", `{"sendID":"b",` + at + `,"message":["x"]}`, "decode"},
		{"too deep", `{"sendID":"b",` + at + `,"x":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`, "decode"},
		{"too large", `{"sendID":"b",` + at + `,"x":"` + strings.Repeat("x", 40_000) + `"}`, "too_large"},
		{"id too large", `{"sendID":"` + strings.Repeat("b", 513) + `",` + at + `}`, "too_large"},

		{"text", `<result>row</result>`, "decode"},
		{"empty", `<result/>`, "decode"},
		{"no id", `<result><send_date>2015-01-19 15:21:27</send_date></result>`, "no_id"},
		{"no such date", `<result><sendID>b</sendID><send_date>0000-00-00 00:00:00</send_date></result>`, "decode"},
		{"length that is no number", `<result><sendID>b</sendID><send_date>2015-01-19 15:21:27</send_date><length>5 6</length></result>`, "decode"},
		{"too large", `<result><sendID>b</sendID><x>` + strings.Repeat("x", 40_000) + `</x></result>`, "too_large"},
	}
	for _, tt := range tests {
		body := `{"status":"success","count":3,"results":[{"sendID":"a",` + at + `},` + tt.row + `,{"sendID":"c",` + at + `}]}`
		if strings.HasPrefix(tt.row, "<") {
			good := func(id string) string {
				return fmt.Sprintf(`<result><sendID>%s</sendID><send_date>2015-01-19 15:21:27</send_date></result>`, id)
			}
			body = `<xml><status>success</status><count>3</count><results>` + good("a") + tt.row + good("c") + `</results></xml>`
		}
		s := answers(t, func(c *Config) { c.Format, c.MaxRowBytes = formatOf(body), 30_000 }, text(body))
		records, proven, err := read(t.Context(), s, seedSpan)
		if err != nil || proven != seedSpan || len(records) != 3 {
			t.Errorf("%s: got %d records, proven %v, %v", tt.name, len(records), proven, err)
			continue
		}
		var good []string
		for i, r := range records {
			switch _, err := s.Normalize(s.Streams()[0], r); {
			case err == nil:
				good = append(good, r.ID)
			case i == 1 && r.ID != "" && r.Print != "":
				if class, _ := fault.Class(err); class != tt.class {
					t.Errorf("%s: got class %q, want %q: %v", tt.name, class, tt.class, err)
				}
			default:
				t.Errorf("%s: row %d is rejected: %v", tt.name, i, err)
			}
		}
		if want := []string{"a", "c"}; !slices.Equal(good, want) {
			t.Errorf("%s: got events of %q, want %q", tt.name, good, want)
		}
	}
}
