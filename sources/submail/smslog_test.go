package submail

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"connector/internal/apisim"
	"connector/internal/fault"
	"connector/schema"
	"connector/sources"
	"connector/sources/jsonrows"
	"connector/sources/scan"
)

// smsRow is a row as the vendor documents it, that of goodRow in the other call.
const smsRow = `{"sendID":"a","to":"138","appid":"10000","template_id":"Gy1CR1","sms_signature":"【S】","sms_content":"text","status":"dropped",` +
	`"report_state":"mk:0012","dropped_reason":"空号/停机","location":"上海 上海","mobile_type":"中国移动","ip_address":"192.0.2.1",` +
	`"send_at":1421652087,"sent_at":1421652088,"report_at":1421652090}`

func TestSMSEvent(t *testing.T) {
	s := answers(t, smsLog, text(`{"status":"success","start_date":1416760513,"end_date":1427961601,"total":1,"offset":0,"results":1000,"data":[`+smsRow+`]}`))
	records, proven, err := read(t.Context(), s, seedSpan)
	if err != nil || proven != seedSpan || len(records) != 1 {
		t.Fatalf("got %d records, proven %v, %v", len(records), proven, err)
	}
	r, created := records[0], time.Date(2015, 1, 19, 7, 21, 27, 0, time.UTC)
	if r.ID != "a" || !r.Created.Equal(created) || r.Rank != 5 || !r.Terminal || string(r.Raw) != smsRow {
		t.Errorf("got %+v", r)
	}
	e, err := s.Normalize(s.Streams()[0], r)
	if err != nil || e.Status != schema.Failed || e.ProviderStatus != "dropped" || !e.UpdatedAt.Equal(created.Add(3*time.Second)) {
		t.Errorf("got %+v, %v", e, err)
	}
	want := `"sms":{"recipient":"138","text":"text","signature":"【S】","template":"Gy1CR1","sentAt":"2015-01-19T07:21:28Z","reportedAt":"2015-01-19T07:21:30Z",` +
		`"carrierStatus":"mk:0012","failureReason":"空号/停机","carrier":"中国移动","region":"上海 上海"},` +
		`"submail":{"appid":"10000","ip_address":"192.0.2.1"}}`
	if got := event(t, s, r); !sameEnd(t, got, want+"}") {
		t.Errorf("got %s\nwant …%s", got, want)
	}
}

// sameEnd reports whether an event, formatted in any way, ends as want does.
func sameEnd(t *testing.T, event []byte, want string) bool {
	t.Helper()
	v := jsontext.Value(event).Clone()
	if err := v.Compact(); err != nil {
		t.Fatal(err)
	}
	return strings.HasSuffix(string(v), want)
}

func TestSMSNormalize(t *testing.T) {
	s := answers(t, smsLog, text(""))
	tests := []struct {
		name, row, want string
		updated         int64 // 0: not said
	}{
		{"only an id", `{"sendID":"a"}`, `{},"submail":{}`, 0},
		{"numbers as text", `{"sendID":1,"fee":"1.50","send_at":" 1421652087 ","sent_at":"1421652088"}`,
			`{"sentAt":"2015-01-19T07:21:28Z","credits":1.5},"submail":{}`, 1421652088},
		{"not sent", `{"sent_at":0,"report_at":0,"fee":""}`, `{},"submail":{}`, 0},
		{"not reported", `{"sent_at":1421652088,"report_at":"","report_state":"pending","status":"pending"}`,
			`{"sentAt":"2015-01-19T07:21:28Z","carrierStatus":"pending"},"submail":{}`, 1421652088},
		{"no time", `{"sent_at":"soon","report_at":"pending"}`, `{},"submail":{"sent_at":"soon","report_at":"pending"}`, 0},
		{"milliseconds", `{"sent_at":1421652088000}`, `{},"submail":{"sent_at":"1421652088000"}`, 0},
		{"local times", `{"sent_at":"2015-01-19 15:21:27","report_at":"2015-01-19 15:21:28"}`,
			`{"sentAt":"2015-01-19T07:21:27Z","reportedAt":"2015-01-19T07:21:28Z"},"submail":{"sent_at":"2015-01-19 15:21:27","report_at":"2015-01-19 15:21:28"}`, 1421652088},
		{"unknown fields", `{"sendID":"a","channel":{"x":1},"sendId":"b","project":"p","gone":null,"tag":"t"}`, `{},"submail":{"channel":{"x":1},"project":"p","sendId":"b","tag":"t"}`, 0},
	}
	for _, tt := range tests {
		e, err := s.Normalize(s.Streams()[0], sources.Record{ID: "a", Created: noon, Raw: []byte(tt.row)})
		if err != nil || (tt.updated == 0) != e.UpdatedAt.IsZero() || tt.updated != 0 && e.UpdatedAt.Unix() != tt.updated {
			t.Errorf("%s: got %+v, %v", tt.name, e, err)
			continue
		}
		if m, err := e.Message(schema.Format{}); err != nil || !sameEnd(t, m.Body, `"sms":`+tt.want+`}`) {
			t.Errorf("%s:\n got %s, %v\nwant …%s", tt.name, m.Body, err, tt.want)
		}
	}
	for field, row := range map[string]string{"fee": `{"fee":"private"}`, "sms_content": `{"sms_content":{"private":1}}`} {
		_, err := s.Normalize(s.Streams()[0], sources.Record{ID: "a", Created: noon, Raw: []byte(row)})
		if class, _ := fault.Class(err); class != "decode" || !strings.Contains(err.Error(), field) || strings.Contains(err.Error(), "private") {
			t.Errorf("%s: got %v, want a rejection that names the field and not the value", field, err)
		}
	}
}

func TestSMSAnswers(t *testing.T) {
	const dates = `"start_date":1416760513,"end_date":1427961601,`
	page := func(members, rows string) string { return `{"status":"success",` + members + `"data":[` + rows + `]}` }
	row := func(at int64) string { return fmt.Sprintf(`{"sendID":"1","send_at":%d}`, at) }
	tests := []struct {
		name, body string
		want       string // part of the error; empty: none
		is         error
	}{
		{"no rows", page(dates+`"total":0,"offset":0,"results":1000,`, ""), "", nil},
		{"no rows, counted", page(`"total":0,"offset":0,"results":0,`, ""), "", nil},
		{"data null", `{"status":"success","total":"0","data":null}`, "", nil},
		{"data absent", `{"status":"success"}`, "", nil},
		{"a total and no rows", page(`"total":5,`, ""), "counts 5 rows and has none", nil},
		{"a row", page(dates+`"total":1,"offset":0,"results":1000,`, smsRow), "", nil},
		{"as text", page(`"start_date":"1416760513","end_date":" 1427961601","total":"1","offset":"0","results":" 1000 ",`, smsRow), "", nil},
		{"results of the page", page(`"total":1,"offset":0,"results":1,`, smsRow), "", nil},
		{"smaller pages", page(`"total":2,"offset":0,"results":1,`, smsRow), "asked for 1000, got 1; set OTP_ROWS", ErrRows},
		{"smaller pages, without a total", page(`"results":1,`, smsRow), "asked for 1000, got 1; set OTP_ROWS", ErrRows},
		{"no rows, results of the page", page(`"results":0,`, ""), "", nil},
		{"smaller pages, said only", page(`"total":1,"offset":0,"results":50,`, smsRow), "asked for 1000, got 50; set OTP_ROWS", ErrRows},
		{"another offset", page(`"total":2000,"offset":1000,"results":1000,`, smsRow), "asked for rows from 1, got them from 1001", scan.ErrOther},
		{"another window", page(`"start_date":1416760513,"end_date":1427961000,"total":1,"offset":0,"results":1000,`, smsRow), "got an answer for", scan.ErrOther},
		{"row of another application", page("", strings.Replace(smsRow, "10000", "20000", 1)), "asked for appid 10000, got 20000", scan.ErrOther},
		{"appid as a number", page("", strings.Replace(smsRow, `"10000"`, "10000", 1)), "", nil},
		{"before the window", page("", row(seedSpan.From.Unix()-3)), "got send_at 2014-11-23T16:35:11Z", scan.ErrOutside},
		{"after the window", page("", row(seedSpan.To.Unix()+3)), "outside", scan.ErrOutside},
		{"local time", page("", `{"sendID":"1","send_at":"2015-01-19 15:21:27"}`), "", nil},
		{"cut", `{"status":"success","data":[`, "unexpected EOF", io.ErrUnexpectedEOF},
		{"error", `{"status":"error","code":"108","msg":"Invalid signature"}`, "check OTP_APP_KEY", nil},
	}
	for _, tt := range tests {
		s := answers(t, smsLog, text(tt.body))
		records, proven, err := read(t.Context(), s, seedSpan)
		if tt.want == "" {
			if err != nil || proven != seedSpan || len(records) > 0 && records[0].Fault != nil {
				t.Errorf("%s: got %+v, proven %v, %v, want the window", tt.name, records, proven, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || proven == seedSpan || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%s: got proven %v, %v, want nothing proven and %q", tt.name, proven, err, tt.want)
		}
	}
	for _, at := range []string{`0`, `""`, `"soon"`, `null`, `1421652087000`, `-5`} {
		s := answers(t, smsLog, text(page("", `{"sendID":"1","send_at":`+at+`}`)))
		records, _, err := read(t.Context(), s, seedSpan)
		if err != nil || len(records) != 1 || records[0].Fault == nil || !strings.Contains(records[0].Fault.Error(), `field "send_at" is no time`) {
			t.Errorf("send_at %s: got %+v, %v, want a rejected row", at, records, err)
		}
	}
}

func TestSMSParameters(t *testing.T) {
	got := make(chan string, 1)
	s := answers(t, func(c *Config) {
		c.API, c.Recipient, c.ResultStatus, c.SignType = APISMSLog, "138", "dropped", SignNormal
	},
		func(w http.ResponseWriter, r *http.Request) {
			_ = r.ParseForm()
			got <- r.URL.Path + "?" + r.PostForm.Encode()
			fmt.Fprint(w, `{"status":"success","data":[]}`)
		})
	for offset, want := range map[int]string{0: "0", 3: "300"} {
		if _, err := s.page(t.Context(), query{span: seedSpan, rows: 100, offset: offset}); err != nil {
			t.Fatal(err)
		}
		want = "/sms/log.json?appid=10000&end_date=1427961600&offset=" + want + "&rows=100&signature=" + canaryKey + "&start_date=1416760514&status=dropped&to=138"
		if r := <-got; r != want {
			t.Errorf("got %s, want %s", r, want)
		}
	}
}

// TestSMSRequest reads with every way to sign and to write a request.
func TestSMSRequest(t *testing.T) {
	sim := simulator(time.Second)
	base := serve(t, sim)
	span := sources.Span{From: noon.Add(-time.Hour), To: noon.Add(-59 * time.Minute)}
	for _, sign := range []SignType{SignNormal, SignMD5, SignSHA1} {
		for _, content := range []ContentType{ContentForm, ContentMultipart, ContentJSON} {
			cfg := settings(base, base)
			cfg.API, cfg.SignType, cfg.ContentType = APISMSLog, sign, content
			if records, proven, err := read(t.Context(), newSource(t, cfg), span); err != nil || proven != span || len(records) < 60 {
				t.Errorf("%s, %s: got %d rows, proven %v, %v", sign, content, len(records), proven, err)
			}
		}
	}
}

// TestSameRecords reads the same rows by both calls and in both formats.
func TestSameRecords(t *testing.T) {
	sim := simulator(time.Second)
	base := serve(t, sim)
	span := sources.Span{From: noon.Add(-time.Hour), To: noon.Add(-50 * time.Minute)}
	var want map[string]sources.Record
	for _, kind := range [][2]string{{"log/message", "json"}, {"log/message", "xml"}, {"sms/log", "json"}, {"sms/log", "xml"}} {
		cfg := settings(base, base)
		cfg.API, cfg.Format = API(kind[0]), Format(kind[1])
		s := newSource(t, cfg)
		records, _, err := read(t.Context(), s, span)
		if err != nil || len(records) < 595 {
			t.Fatalf("%v: got %d records, %v", kind, len(records), err)
		}
		got := map[string]sources.Record{}
		for _, r := range records {
			event(t, s, r)
			r.Raw, r.Size = nil, 0
			got[r.ID] = r
		}
		if want == nil {
			want = got
		}
		for id, r := range got {
			if w := want[id]; r.Print != w.Print || !r.Created.Equal(w.Created) || r.Rank != w.Rank || r.Terminal != w.Terminal || r.Fault != nil {
				t.Errorf("%v: got %+v, want %+v", kind, r, w)
			}
		}
	}
	if a, b := newSource(t, settings(base, base)).Streams()[0], newSource(t, func() Config { c := settings(base, base); c.API = APISMSLog; return c }()).Streams()[0]; fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("got streams %v and %v, want the same", a, b)
	}
}

// TestSMSZone has the print of a row that is read in two zones.
func TestSMSZone(t *testing.T) {
	print := func(row, name string) string {
		k, err := smsKeys([]byte(row), location(name))
		if err != nil {
			t.Fatal(err)
		}
		return k.print()
	}
	message, err := messageKeys([]byte(`{"result_status":"dropped","sent_date":"2015-01-19 15:21:28"}`), nil)
	if err != nil || print(smsRow, "Asia/Shanghai") != message.print() || print(smsRow, "UTC") == message.print() {
		t.Errorf("the print is not that of the local time, %v", err)
	}
	if print(`{"sent_at":0}`, "UTC") != print(`{}`, "Asia/Shanghai") || print(`{"sent_at":null}`, "UTC") != print(`{"sent_at":""}`, "UTC") {
		t.Error("the print of a message that was not sent differs")
	}
}

// TestSMSFold has a time whose local time has passed an hour before, too.
func TestSMSFold(t *testing.T) {
	second, zone := time.Date(2025, 11, 2, 6, 30, 0, 0, time.UTC), location("America/New_York")
	given := jsonrows.Text(strconv.FormatInt(second.Unix(), 10))
	m := seconds(&given, zone)
	if got, err := m.within(zone, sources.Span{}); err != nil || !got.Equal(second) || m.local != "2025-11-02 01:30:00" {
		t.Errorf("got %v, %v of %+v, want %v", got, err, m, second)
	}
}

// TestRanks has the words of both calls: none that one uses for a message under way outranks a later one of the other.
func TestRanks(t *testing.T) {
	order := []string{"request", "pending", "sending", "unknown", "delivered"}
	for i, status := range order[1:] {
		if rank(order[i]) >= rank(status) {
			t.Errorf("%s does not rank before %s", order[i], status)
		}
	}
}

// TestSMSRequests counts the requests for 1,500 rows, 25 a page, in each order the API may have.
func TestSMSRequests(t *testing.T) {
	const rows, page = 1500, 25
	for name, tt := range map[string]struct {
		switches apisim.SubmailSwitches
		most     int
	}{
		"ascending":  {apisim.SubmailSwitches{}, rows/page + 3},
		"descending": {apisim.SubmailSwitches{Descending: true}, 4 * rows / page},
		"unordered":  {apisim.SubmailSwitches{Unordered: true}, 4 * rows / page},
	} {
		sim := apisim.NewSubmail(apisim.SubmailConfig{
			AppKey: canaryKey, Clock: func() time.Time { return noon }, Switches: tt.switches,
			Population: apisim.Population{Seed: 1, Start: noon.Add(-6 * time.Hour), Every: 12 * time.Second, Limit: rows},
		})
		base := serve(t, sim)
		cfg := settings(base, base)
		cfg.API, cfg.Rows = APISMSLog, page
		span := sources.Span{From: noon.Add(-6 * time.Hour), To: noon}
		records, proven, err := read(t.Context(), newSource(t, cfg), span)
		seen := map[string]bool{}
		for _, r := range records {
			seen[r.ID] = true
		}
		got := sim.Stats().Requests["/sms/log.json"]
		if err != nil || proven != span || len(seen) != rows || got > tt.most {
			t.Errorf("%s: got %d rows in %d requests, proven %v, %v, want %d rows in at most %d", name, len(seen), got, proven, err, rows, tt.most)
		}
		t.Logf("%s: %d requests for %d rows, %d a page", name, got, rows, page)
	}
}

// TestSMSClamped has an API that gives 50 rows a page whatever is asked for, and says so.
func TestSMSClamped(t *testing.T) {
	sim := simulator(time.Second)
	sim.Switches.Set(func(s *apisim.SubmailSwitches) { s.ClampRows = true })
	cfg := settings(serve(t, sim), "")
	cfg.API = APISMSLog
	span := sources.Span{From: noon.Add(-time.Hour), To: noon.Add(-50 * time.Minute)}
	if _, _, err := read(t.Context(), newSource(t, cfg), span); !errors.Is(err, ErrRows) {
		t.Errorf("got %v, want ErrRows", err)
	}
	cfg.Rows = 50
	if records, proven, err := read(t.Context(), newSource(t, cfg), span); err != nil || proven != span || len(records) < 595 {
		t.Errorf("got %d records, proven %v, %v", len(records), proven, err)
	}
}
