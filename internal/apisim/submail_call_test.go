package apisim

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// smsAnswer is an answer of sms/log.
type smsAnswer struct {
	Status, Code, Msg string
	Start             int `json:"start_date"`
	End               int `json:"end_date"`
	Total             int
	Offset            int
	Results           int
	Data              []map[string]any
}

// readSMS asks sms/log for rows of the last day.
func readSMS(t *testing.T, base string, params map[string]string) smsAnswer {
	t.Helper()
	body, err := post(t, base+SubmailSMSLogPath+".json", params)
	if err != nil {
		t.Fatal(err)
	}
	return decode[smsAnswer](t, body)
}

// TestSMSLogRows has a row of each kind, with the names and types that the vendor documents.
func TestSMSLogRows(t *testing.T) {
	sim, base := newSubmail(t, SubmailConfig{})
	sent := noon.Add(-time.Hour)
	row := func(id string, at time.Time, f Fields) Row {
		f["recipient"], f["project"], f["message"], f["signature"], f["api"], f["length"] = "138", "P", "text", "【S】", "message/xsend", 4
		return Row{ID: id, Created: at, Versions: []RowVersion{{Fields: f}}}
	}
	mustAdd(t, sim.Add,
		row("a", sent, Fields{"sent_date": local(sent.Add(time.Second), sim.zone)}), row("b", sent.Add(time.Minute), Fields{"result_status": "dropped"}),
		row("c", sent.Add(2*time.Minute), Fields{"result_status": "sending", "sent_date": "", "fee": 2, "location": "上海"}))
	got := readSMS(t, base, nil)
	at := func(d time.Duration) float64 { return float64(sent.Add(d).Unix()) }
	common := func(f map[string]any) map[string]any {
		f["to"], f["appid"], f["template_id"], f["sms_signature"], f["sms_content"] = "138", DefaultSubmailID, "P", "【S】", "text"
		f["mobile_type"], f["ip_address"] = "中国移动", "192.0.2.1"
		return f
	}
	want := smsAnswer{
		Status: "success", Start: int(noon.AddDate(0, 0, -1).Unix()), End: int(noon.Unix()), Total: 3, Results: 50,
		Data: []map[string]any{
			common(map[string]any{"sendID": "a", "status": "delivered", "report_state": "DELIVRD", "location": "广东 广州", "send_at": at(0), "sent_at": at(time.Second), "report_at": at(0)}),
			common(map[string]any{
				"sendID": "b", "status": "dropped", "report_state": "mk:0012", "dropped_reason": "空号/停机", "location": "广东 广州",
				"send_at": at(time.Minute), "sent_at": at(time.Minute), "report_at": at(time.Minute),
			}),
			common(map[string]any{"sendID": "c", "status": "sending", "report_state": "pending", "location": "上海", "send_at": at(2 * time.Minute), "sent_at": 0.0, "report_at": 0.0, "fee": 2.0}),
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	sim.Switches.Set(func(s *SubmailSwitches) { s.Pending = true })
	if got := readSMS(t, base, nil).Data[2]["status"]; got != "pending" {
		t.Errorf("got status %v, want pending", got)
	}
	wantEqual(t, "filtered", ids(readSMS(t, base, map[string]string{"to": "138", "status": "dropped"}).Data, "sendID"), []string{"b"})
	wantEqual(t, "by id", ids(readSMS(t, base, map[string]string{"send_id": "c"}).Data, "sendID"), []string{"c"})
	wantEqual(t, "served", versions(sim.Served()), []string{"a@delivered", "b@dropped", "c@sending"})

	body, err := post(t, base+SubmailSMSLogPath+".xml", nil)
	if err != nil {
		t.Fatal(err)
	}
	var x struct {
		Total int `xml:"total"`
		Data  []struct {
			ID   string `xml:"sendID"`
			Sent int    `xml:"sent_at"`
		} `xml:"data>item"`
	}
	if err := xml.Unmarshal([]byte(body), &x); err != nil || x.Total != 3 || len(x.Data) != 3 || x.Data[0].ID != "a" || x.Data[0].Sent != int(sent.Unix())+1 {
		t.Errorf("got %+v, %v of %s", x, err, body)
	}
}

func TestSMSLogPages(t *testing.T) {
	sim, base := newSubmail(t, SubmailConfig{})
	var want []string
	for i := range 120 {
		want = append(want, fmt.Sprintf("r%03d", i))
		mustAdd(t, sim.Add, Row{ID: want[i], Created: noon.Add(time.Duration(i-120) * time.Second)})
	}
	page := func(rows, offset string) smsAnswer {
		return readSMS(t, base, map[string]string{"rows": rows, "offset": offset})
	}
	for _, tt := range []struct {
		rows, offset   string
		from, to, size int
	}{{"", "", 0, 50, 50}, {"50", "1", 1, 51, 50}, {"100", "100", 100, 120, 100}, {"10", "120", 120, 120, 10}} {
		got := page(tt.rows, tt.offset)
		wantEqual(t, "rows "+tt.rows+" offset "+tt.offset, ids(got.Data, "sendID"), want[tt.from:tt.to])
		wantEqual(t, "echo", []int{got.Offset, got.Total, got.Results}, []int{tt.from, 120, tt.size})
	}
	sim.Switches.Set(func(s *SubmailSwitches) { s.Unordered, s.ClampRows = true, true })
	mixed := page("1000", "")
	wantEqual(t, "clamped", []int{len(mixed.Data), mixed.Total, mixed.Results}, []int{50, 120, 50})
	all := slices.Concat(ids(mixed.Data, "sendID"), ids(page("", "50").Data, "sendID"), ids(page("", "100").Data, "sendID"))
	if slices.IsSorted(all) {
		t.Error("the rows are in order")
	}
	slices.Sort(all)
	wantEqual(t, "all, sorted", all, want)
	sim.Switches.Set(func(s *SubmailSwitches) { *s = SubmailSwitches{Descending: true} })
	slices.Reverse(want)
	wantEqual(t, "descending", ids(page("1000", "").Data, "sendID"), want)
}

// TestSMSLogFold has two times with the same local time.
func TestSMSLogFold(t *testing.T) {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	fold := time.Date(2025, 11, 2, 6, 30, 0, 0, time.UTC)
	sim, base := newSubmail(t, SubmailConfig{Zone: zone, Clock: func() time.Time { return fold.Add(time.Hour) }})
	mustAdd(t, sim.Add, Row{ID: "first", Created: fold.Add(-time.Hour)}, Row{ID: "second", Created: fold})
	for i, row := range readSMS(t, base, nil).Data {
		if want := float64(fold.Unix() - 3600 + int64(i)*3600); row["send_at"] != want || row["sent_at"] != want {
			t.Errorf("got %v, want %v", row, want)
		}
	}
}

func TestSMSLogUnknown(t *testing.T) {
	sim, base := newSubmail(t, SubmailConfig{Switches: SubmailSwitches{UnknownMethod: SubmailSMSLogPath, MinInterval: time.Minute}})
	mustAdd(t, sim.Add, Row{ID: "a", Created: noon.Add(-time.Hour)})
	if got := readSMS(t, base, nil); got.Status != "error" || got.Msg != "Unknown method" {
		t.Errorf("got %+v", got)
	}
	wantEqual(t, "the other call", ids(readPage(t, base, nil).Results, "sendID"), []string{"a"})
	sim.Switches.Set(func(s *SubmailSwitches) { s.UnknownMethod, s.ErrorStatus = "", 400 })
	foreign := readSMS(t, base, map[string]string{"start_date": strconv.FormatInt(noon.Unix(), 10)})
	wantEqual(t, "cached", ids(foreign.Data, "sendID"), []string{"a"})
	if foreign.Start == int(noon.Unix()) {
		t.Error("a cached answer repeats the dates of another request")
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+SubmailSMSLogPath, strings.NewReader("appid=x"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if got, err := do(http.DefaultClient, req); err != nil || got.status != http.StatusBadRequest || !strings.Contains(got.body, `"code":"101"`) {
		t.Errorf("got %+v, %v, want status 400", got, err)
	}
}
