package apisim

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// seedJSON is the example answer of the API document.
const seedJSON = `{
    "status":"success", "appid":"your_app_id", "count":2, "start_row":1, "end_row":2,
    "start_date":"2014-11-24 00:35:14", "end_date":"2015-04-02 16:00:00",
    "results":[{
               "sendID":"7ac69ff98e48c9b3b0f49afa5a0788c7",
               "project":"Gy1CR1",
               "recipient":"138xxxxxxxx",
               "message":"\u5982\u9700\u91cd\u7f6e\u60a8\u7684 SUBMAIL \u8d26\u6237\u5bc6\u7801\uff0c\u8bf7\u5728\u91cd\u7f6e\u9875\u9762\u8f93\u5165\u6b64\u9a8c\u8bc1\u7801\uff1a1425 \uff0c\u5e76\u8f93\u5165\u65b0\u7684\u5bc6\u7801\u3002",
               "signature":"\u3010SUBMAIL\u3011",
               "result_status":"delivered",
               "api":"message\/xsend",
               "send_date":"2015-01-19 15:21:27",
               "sent_date":"2015-01-19 15:21:27",
               "length":56,
               "credit":1
               },{
               "sendID":"e5c77f9a1c6728140c06824196eaa480",
               "project":"Gy1CR1",
               "recipient":"138xxxxxxxx",
               "message":"\u5982\u9700\u91cd\u7f6e\u60a8\u7684 SUBMAIL \u8d26\u6237\u5bc6\u7801\uff0c\u8bf7\u5728\u91cd\u7f6e\u9875\u9762\u8f93\u5165\u6b64\u9a8c\u8bc1\u7801\uff1a1325 \uff0c\u5e76\u8f93\u5165\u65b0\u7684\u5bc6\u7801\u3002",
               "signature":"\u3010SUBMAIL\u3011",
               "result_status":"sending",
               "api":"message\/xsend",
               "send_date":"2015-01-19 15:20:52",
               "sent_date":"2015-01-19 15:20:53",
               "length":56,
               "credit":1
               }]}`

func newSubmail(t *testing.T, c SubmailConfig) (*Submail, string) {
	t.Helper()
	if c.Clock == nil {
		c.Clock, _ = stopped(noon)
	}
	sim := NewSubmail(c)
	return sim, start(t, sim)
}

// post sends a form with the default credentials, unless params name others.
func post(t *testing.T, addr string, params map[string]string) (string, error) {
	t.Helper()
	form := url.Values{"appid": {DefaultSubmailID}, "signature": {DefaultSubmailKey}}
	for name, value := range params {
		form.Set(name, value)
	}
	return postBody(t, addr, "application/x-www-form-urlencoded", form.Encode())
}

func postBody(t *testing.T, addr, contentType, body string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, addr, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := do(http.DefaultClient, req)
	return resp.body, err
}

// logAnswer is an answer of log/message, JSON or XML.
type logAnswer struct {
	Status    string
	Code      string
	AppID     string
	Count     int
	StartRow  int    `json:"start_row"`
	EndRow    int    `json:"end_row"`
	StartDate string `json:"start_date"`
	EndDate   string `json:"end_date"`
	Results   []map[string]any
}

// readPage asks for rows of the last day and the next.
func readPage(t *testing.T, base string, params map[string]string) logAnswer {
	t.Helper()
	all := map[string]string{
		"start_date": strconv.FormatInt(noon.AddDate(0, 0, -1).Unix(), 10), "end_date": strconv.FormatInt(noon.AddDate(0, 0, 1).Unix(), 10),
		"order_by": "asc",
	}
	maps.Copy(all, params)
	body, err := post(t, base+SubmailLogPath+".json", all)
	if err != nil {
		t.Fatal(err)
	}
	a := decode[logAnswer](t, body)
	if a.Status != "success" {
		t.Fatalf("got %s", body)
	}
	return a
}

// placeSeed puts the rows of the document's example into a simulator.
func placeSeed(t *testing.T, sim *Submail) (params map[string]string) {
	t.Helper()
	at := func(s string) time.Time {
		when, err := time.ParseInLocation(time.DateTime, s, shanghai())
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	fields := func(code, status string) Fields {
		return Fields{
			"project": "Gy1CR1", "recipient": "138xxxxxxxx", "signature": "【SUBMAIL】", "result_status": status,
			"message": "如需重置您的 SUBMAIL 账户密码，请在重置页面输入此验证码：" + code + " ，并输入新的密码。", "api": "message/xsend", "length": 56,
		}
	}
	second := fields("1325", "sending")
	second["sent_date"] = "2015-01-19 15:20:53"
	mustAdd(t, sim.Add,
		Row{ID: "e5c77f9a1c6728140c06824196eaa480", Created: at("2015-01-19 15:20:52"), Versions: []RowVersion{{Fields: second}}},
		Row{ID: "7ac69ff98e48c9b3b0f49afa5a0788c7", Created: at("2015-01-19 15:21:27"), Versions: []RowVersion{{Fields: fields("1425", "delivered")}}},
	)
	return map[string]string{
		"appid": "your_app_id", "start_date": fmt.Sprint(at("2014-11-24 00:35:14").Unix()), "end_date": fmt.Sprint(at("2015-04-02 16:00:00").Unix()),
	}
}

func TestSubmailSeedExample(t *testing.T) {
	sim, base := newSubmail(t, SubmailConfig{AppID: "your_app_id"})
	params := placeSeed(t, sim)
	body, err := post(t, base+SubmailLogPath, params)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := decode[any](t, body), decode[any](t, seedJSON); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	for _, spelling := range []string{`message\/xsend`, `\u3010SUBMAIL\u3011`} {
		if !strings.Contains(body, spelling) {
			t.Errorf("answer does not spell %s", spelling)
		}
	}
	wantEqual(t, "served", sim.Served(), []Version{
		{"submail", "sms", "7ac69ff98e48c9b3b0f49afa5a0788c7", "delivered"},
		{"submail", "sms", "e5c77f9a1c6728140c06824196eaa480", "sending"},
	})
}

func TestSubmailSeedExampleXML(t *testing.T) {
	sim, base := newSubmail(t, SubmailConfig{AppID: "your_app_id"})
	params := placeSeed(t, sim)
	var want struct{ Results []map[string]any }
	if err := json.Unmarshal([]byte(seedJSON), &want); err != nil {
		t.Fatal(err)
	}
	for _, padded := range []bool{false, true} {
		sim.Switches.Set(func(s *SubmailSwitches) { s.Padded = padded })
		body, err := post(t, base+SubmailLogPath+".xml", params)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(body, "<sendID> "); got != padded {
			t.Errorf("padding: got %t, want %t", got, padded)
		}
		type element struct {
			XMLName xml.Name
			Text    string `xml:",chardata"`
		}
		var got struct {
			Count  string `xml:"count"`
			End    string `xml:"end_date"`
			Result []struct {
				Fields []element `xml:",any"`
			} `xml:"results>result"`
		}
		if err := xml.Unmarshal([]byte(body), &got); err != nil {
			t.Fatalf("decoding %s: %v", body, err)
		}
		if strings.TrimSpace(got.Count) != "2" || strings.TrimSpace(got.End) != "2015-04-02 16:00:00" || len(got.Result) != 2 {
			t.Errorf("got %s", body)
		}
		for i, row := range got.Result {
			fields := map[string]any{}
			for _, f := range row.Fields {
				fields[f.XMLName.Local] = strings.TrimSpace(f.Text)
			}
			for name, value := range want.Results[i] {
				want.Results[i][name] = fmt.Sprint(value)
			}
			if !reflect.DeepEqual(fields, want.Results[i]) {
				t.Errorf("got %v\nwant %v", fields, want.Results[i])
			}
		}
	}
}

func TestSubmailTimestamp(t *testing.T) {
	_, base := newSubmail(t, SubmailConfig{Clock: func() time.Time { return time.Unix(1414253462, 999) }})
	for suffix, want := range map[string]string{
		"": `{"timestamp":1414253462}`, ".json": `{"timestamp":1414253462}`,
		".xml": xmlHeader + "<xml>\n    <timestamp>1414253462</timestamp>\n</xml>",
	} {
		resp, err := get(t, http.DefaultClient, base+SubmailTimestampPath+suffix)
		if err != nil || resp.body != want {
			t.Errorf("%q: got %q, %v, want %q", suffix, resp.body, err, want)
		}
	}
}

func TestSubmailPages(t *testing.T) {
	sim, base := newSubmail(t, SubmailConfig{})
	var want []string
	for i := range 120 {
		id := fmt.Sprintf("r%03d", i)
		want = append(want, id)
		mustAdd(t, sim.Add, Row{ID: id, Created: noon.Add(time.Duration(i/4-120) * time.Second)}) // ties of four
	}
	page := func(params map[string]string) logAnswer { return readPage(t, base, params) }
	for _, tt := range []struct {
		rows, offset     string
		from, to         int
		startRow, endRow int
	}{
		{"", "", 0, 50, 1, 50}, {"", "2", 100, 120, 101, 120}, {"50", "1", 50, 100, 51, 100}, {"10", "3", 30, 40, 31, 40},
		{"1000", "0", 0, 120, 1, 120}, {"1001", "0", 0, 50, 1, 50}, {"9", "", 0, 50, 1, 50}, {"many", "x", 0, 50, 1, 50}, {"100", "9", 0, 0, 901, 900},
	} {
		got := page(map[string]string{"rows": tt.rows, "offset": tt.offset})
		wantEqual(t, "rows "+tt.rows+" offset "+tt.offset, ids(got.Results, "sendID"), want[tt.from:tt.to])
		wantEqual(t, "echo", []int{got.StartRow, got.EndRow, got.Count}, []int{tt.startRow, tt.endRow, tt.to - tt.from})
	}
	slices.Reverse(want)
	wantEqual(t, "desc", ids(page(map[string]string{"order_by": "", "rows": "1000"}).Results, "sendID"), want)
	sim.Switches.Set(func(s *SubmailSwitches) { s.ClampRows, s.CountTotal, s.ShuffleTies = true, true, true })
	clamped := page(map[string]string{"rows": "1000"})
	wantEqual(t, "clamped", []int{len(clamped.Results), clamped.Count, clamped.EndRow}, []int{50, 120, 50})
	again := page(map[string]string{"rows": "1000"})
	if reflect.DeepEqual(ids(clamped.Results, "sendID"), ids(again.Results, "sendID")) {
		t.Error("ties come in the same order again")
	}
	wantEqual(t, "dates", ids(clamped.Results, "send_date"), ids(again.Results, "send_date"))
}

func TestSubmailFilters(t *testing.T) {
	sim, base := newSubmail(t, SubmailConfig{})
	row := func(id, recipient, project, status string) Row {
		return Row{ID: id, Created: noon, Versions: []RowVersion{{Fields: Fields{"recipient": recipient, "project": project, "result_status": status}}}}
	}
	mustAdd(t, sim.Add, row("a", "13800000001", "P", "delivered"), row("b", "13800000002", "P", "dropped"), row("c", "13800000001", "Q", "sending"))
	for _, tt := range []struct {
		params map[string]string
		want   []string
	}{
		{map[string]string{"recipient": "13800000001"}, []string{"a", "c"}},
		{map[string]string{"project": "P"}, []string{"a", "b"}},
		{map[string]string{"result_status": "dropped", "project": "P"}, []string{"b"}},
		{map[string]string{"start_date": strconv.FormatInt(noon.Unix()+1, 10)}, nil},
		{map[string]string{"end_date": strconv.FormatInt(noon.Unix()-1, 10)}, nil},
	} {
		wantEqual(t, fmt.Sprint(tt.params), ids(readPage(t, base, tt.params).Results, "sendID"), tt.want)
	}
}

func TestSubmailZoneAndDefaultDates(t *testing.T) {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	fold := time.Date(2025, 11, 2, 6, 30, 0, 0, time.UTC) // the second 01:30 of that day
	sim, base := newSubmail(t, SubmailConfig{Zone: zone, Clock: func() time.Time { return fold.Add(time.Hour) }})
	mustAdd(t, sim.Add, Row{ID: "first", Created: fold.Add(-time.Hour)}, Row{ID: "second", Created: fold}, Row{ID: "day before", Created: fold.Add(-3 * time.Hour)})
	a := readPage(t, base, map[string]string{"start_date": "", "end_date": ""})
	wantEqual(t, "ids", ids(a.Results, "sendID"), []string{"first", "second"})
	wantEqual(t, "dates", ids(a.Results, "send_date"), []string{"2025-11-02 01:30:00", "2025-11-02 01:30:00"})
	wantEqual(t, "echo", []string{a.StartDate, a.EndDate}, []string{"2025-11-02 00:00:00", "2025-11-02 23:59:59"})
}

func TestSubmailMinInterval(t *testing.T) {
	clock, set := stopped(noon)
	sim, base := newSubmail(t, SubmailConfig{Clock: clock, Switches: SubmailSwitches{MinInterval: time.Minute}})
	mustAdd(t, sim.Add, Row{ID: "a", Created: noon.Add(-time.Hour)})
	sim.Faults.Queue(Fault{Kind: Truncate, After: 100})
	if _, err := post(t, base+SubmailLogPath+".json", nil); err == nil {
		t.Error("truncated answer was read")
	}
	if got := readPage(t, base, nil); len(got.Results) != 1 {
		t.Fatal("a truncated answer was cached")
	}
	mustAdd(t, sim.Add, Row{ID: "b", Created: noon})
	foreign := map[string]string{"offset": "3", "rows": "10"}
	set(noon.Add(59 * time.Second))
	got := readPage(t, base, foreign)
	wantEqual(t, "cached", ids(got.Results, "sendID"), []string{"a"})
	wantEqual(t, "foreign echo", []int{got.StartRow, got.EndRow}, []int{1, 1})
	set(noon.Add(60 * time.Second))
	wantEqual(t, "fresh", ids(readPage(t, base, nil).Results, "sendID"), []string{"a", "b"})
	wantEqual(t, "served", versions(sim.Served()), []string{"a@delivered", "b@delivered"})
}

func TestSubmailSpellings(t *testing.T) {
	sim, base := newSubmail(t, SubmailConfig{Switches: SubmailSwitches{BOM: true, Quoted: true, NumericCodes: true}})
	mustAdd(t, sim.Add, Row{ID: "a", Created: noon, Versions: []RowVersion{{Fields: Fields{"length": 56, "message": "🚚 <b>"}}}})
	body, err := post(t, base+SubmailLogPath+".json", map[string]string{"end_date": strconv.FormatInt(noon.Unix(), 10)})
	if err != nil {
		t.Fatal(err)
	}
	for _, spelling := range []string{"\ufeff{", `"length":"56"`, `"count":"1"`, `\ud83d\ude9a <b>`} {
		if !strings.Contains(body, spelling) {
			t.Errorf("answer %q does not spell %q", body, spelling)
		}
	}
	body, err = post(t, base+SubmailLogPath+".json", map[string]string{"appid": "x"})
	if err != nil || !strings.Contains(body, `"code":101,`) {
		t.Errorf("got %q, %v", body, err)
	}
}
