package submail

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"connector/internal/apisim"
	"connector/internal/fault"
	"connector/sources"
	"connector/sources/httpx"
	"connector/sources/scan"
)

// page returns an answer with n rows, one a second from the beginning of seedSpan.
func page(n int, members string) string {
	var rows []string
	for i := range n {
		at := seedSpan.From.Add(time.Duration(i) * time.Second).In(zone("Asia/Shanghai").Location).Format(time.DateTime)
		rows = append(rows, fmt.Sprintf(`{"sendID":"%d","result_status":"delivered","send_date":"%s"}`, i, at))
	}
	return `{"status":"success",` + members + `"results":[` + strings.Join(rows, ",") + `]}`
}

func TestAnswers(t *testing.T) {
	at := func(local string) string {
		return `{"status":"success","results":[{"sendID":"1","send_date":"` + local + `"}]}`
	}
	tests := []struct {
		name, body string
		want       string // part of the error; empty: none
		is         error
	}{
		{"no rows", `{"status":"success","count":0,"results":[]}`, "", nil},
		{"results null", `{"status":"success","count":"0","results":null}`, "", nil},
		{"results absent", `{"status":"success"}`, "", nil},
		{"empty list and a count", `{"status":"success","count":5,"start_row":1,"end_row":5,"results":[]}`, "counts 5 rows and has none", nil},
		{"results missing", `{"status":"success","count":2}`, "counts 2 rows and has none", nil},
		{"padded status", `{"status":" SUCCESS ","results":[]}`, "", nil},
		{"no status", `{"results":[]}`, `status ""`, nil},
		{"odd status", `{"status":"` + canaryKey + `"}`, `status "****"`, nil},
		{"status behind the rows", `{"results":[],"status":"error","code":"999","msg":"x"}`, "error 999", nil},
		{"appid of another", `{"status":"success","appid":"20000","results":[]}`, "asked for appid 10000, got 20000", scan.ErrOther},
		{"appid as a number", `{"status":"success","appid":10000,"results":[]}`, "", nil},
		{"cut", `{"status":"success","results":[`, "unexpected EOF", io.ErrUnexpectedEOF},
		{"empty", ``, "unexpected EOF", io.ErrUnexpectedEOF},
		{"web page", `<html>`, "check OTP_BASE_URL", httpx.ErrHTML},
		{"results of another kind", `{"status":"success","results":{"0":{}}}`, "not an array", nil},
		{"rows and echo", page(3, `"count":3,"start_row":1,"end_row":3,`), "", nil},
		{"echo as text", page(3, `"count":"3","start_row":"1","end_row":" 3 ",`), "", nil},
		{"echo of another page", page(3, `"start_row":1001,"end_row":1003,`), "asked for rows from 1, got them from 1001", scan.ErrOther},
		{"echo of more rows", page(3, `"start_row":1,"end_row":4,`), "rows 1 to 4", nil},
		{"count of fewer rows", page(3, `"count":2,`), "of 2, and holds 3", nil},
		{"more rows than asked for", page(1001, ``), "OTP_ROWS", ErrRows},
		{"50 of more rows", page(50, `"count":77,"start_row":1,"end_row":50,`), "asked for 1000, got 50; set OTP_ROWS", ErrRows},
		{"before the window", at("2014-11-24 00:35:11"), "outside", scan.ErrOutside},
		{"two seconds before the window", at("2014-11-24 00:35:12"), "", nil},
		{"after the window", at("2015-04-02 16:00:03"), "outside", scan.ErrOutside},
	}
	for _, tt := range tests {
		s := answers(t, nil, text(tt.body))
		_, proven, err := read(t.Context(), s, seedSpan)
		if tt.want == "" {
			if err != nil || proven != seedSpan {
				t.Errorf("%s: got proven %v, %v, want the window", tt.name, proven, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || proven == seedSpan || fault.IsFatal(err) || leaks(err.Error()) {
			t.Errorf("%s: got proven %v, %v, want nothing proven and %q", tt.name, proven, err, tt.want)
		}
		if tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%s: got %v, want it to be %v", tt.name, err, tt.is)
		}
	}
}

// TestExactly50 has exactly as many rows as the API gives by default: that is no error.
func TestExactly50(t *testing.T) {
	s := answers(t, nil, func(w http.ResponseWriter, r *http.Request) {
		n := 50
		if r.FormValue("start_date") != fmt.Sprint(seedSpan.From.Add(-tick).Unix()) {
			fmt.Fprint(w, strings.Replace(page(50, ""), page(48, "")[:len(page(48, ""))-2]+",", `{"status":"success","results":[`, 1)) // the last two
			return
		}
		fmt.Fprint(w, page(n, `"count":50,"start_row":1,"end_row":50,`))
	})
	records, proven, err := read(t.Context(), s, seedSpan)
	if err != nil || proven != seedSpan || len(records) != 52 {
		t.Errorf("got %d records, proven %v, %v", len(records), proven, err)
	}
}

// TestCount has a page that is short but says that there are more rows: one of both is wrong.
func TestCount(t *testing.T) {
	calls := 0
	s := answers(t, nil, func(w http.ResponseWriter, r *http.Request) {
		calls++
		if r.FormValue("offset") != "0" {
			fmt.Fprint(w, page(0, `"count":9,`))
			return
		}
		fmt.Fprint(w, page(1, `"count":9,`))
	})
	window := sources.Span{From: seedSpan.From, To: seedSpan.From}
	_, proven, err := read(t.Context(), s, window)
	if gap, ok := errors.AsType[*sources.GapError](err); !ok || gap.Span != window || !strings.Contains(err.Error(), "has 1 rows") || proven == window || calls != 3 {
		t.Errorf("got proven %v, %v in %d requests, want a gap in 3", proven, err, calls)
	}
}

// TestTie has a second with more rows than a page: it is proven if the API counts them and they keep their places.
func TestTie(t *testing.T) {
	tests := []struct {
		name     string
		switches apisim.SubmailSwitches
		proven   bool
	}{
		{"count is of the page", apisim.SubmailSwitches{}, false},
		{"count is the total", apisim.SubmailSwitches{CountTotal: true}, true},
		{"count is the total, places change", apisim.SubmailSwitches{CountTotal: true, ShuffleTies: true}, false},
	}
	for _, tt := range tests {
		sim := apisim.NewSubmail(apisim.SubmailConfig{AppKey: canaryKey, Clock: func() time.Time { return noon }, Switches: tt.switches})
		for i := range 250 {
			if err := sim.Add(apisim.Row{ID: fmt.Sprint(i), Created: noon.Add(-time.Minute)}); err != nil {
				t.Fatal(err)
			}
		}
		base := serve(t, sim)
		cfg := settings(base, base)
		cfg.Rows = 100
		window := sources.Span{From: noon.Add(-2 * time.Minute), To: noon.Add(-30 * time.Second)}
		records, proven, err := read(t.Context(), newSource(t, cfg), window)
		seen := map[string]bool{}
		for _, r := range records {
			seen[r.ID] = true
		}
		_, gap := errors.AsType[*sources.GapError](err)
		if proven == window != tt.proven || gap == tt.proven || !tt.switches.ShuffleTies && len(seen) != 250 {
			t.Errorf("%s: got %d rows, proven %v, %v, want it proven: %v", tt.name, len(seen), proven, err, tt.proven)
		}
	}
}

// TestSentDate has an API that selects and orders by sent_date.
func TestSentDate(t *testing.T) {
	local := func(at time.Time) string { return at.In(zone("Asia/Shanghai").Location).Format(time.DateTime) }
	sim := apisim.NewSubmail(apisim.SubmailConfig{AppKey: canaryKey, Clock: func() time.Time { return noon }})
	for i := range 300 { // placed by sent_date; send_date is up to 5 minutes earlier
		sent := noon.Add(time.Duration(i-600) * time.Second)
		fields := apisim.Fields{"send_date": local(sent.Add(-time.Duration(i*37%300) * time.Second)), "sent_date": local(sent)}
		if err := sim.Add(apisim.Row{ID: fmt.Sprint(i), Created: sent, Versions: []apisim.RowVersion{{Fields: fields}}}); err != nil {
			t.Fatal(err)
		}
	}
	base := serve(t, sim)
	cfg := settings(base, base)
	cfg.Rows = 20
	window := sources.Span{From: noon.Add(-10 * time.Minute), To: noon.Add(-time.Minute)}
	records, proven, err := read(t.Context(), newSource(t, cfg), window)
	seen := map[string]bool{}
	for _, r := range records {
		seen[r.ID] = true
	}
	if err != nil || proven != window || len(seen) != 300 || len(records) > 400 {
		t.Errorf("got %d rows, %d of them once, proven %v, %v", len(records), len(seen), proven, err)
	}
}

// TestTieBehind50 has a second with more rows than a page while the API gives 50 a page: its page index counts others.
func TestTieBehind50(t *testing.T) {
	sim := apisim.NewSubmail(apisim.SubmailConfig{AppKey: canaryKey, Clock: func() time.Time { return noon }, Switches: apisim.SubmailSwitches{ClampRows: true}})
	for i := range 120 {
		if err := sim.Add(apisim.Row{ID: fmt.Sprint(i), Created: noon.Add(-time.Minute)}); err != nil {
			t.Fatal(err)
		}
	}
	base := serve(t, sim)
	window := sources.Span{From: noon.Add(-time.Minute), To: noon.Add(-30 * time.Second)}
	_, proven, err := read(t.Context(), newSource(t, settings(base, base)), window)
	if !errors.Is(err, ErrRows) || proven.Contains(window.From) {
		t.Errorf("got proven %v, %v, want ErrRows", proven, err)
	}
}

func TestZoneHint(t *testing.T) {
	window := sources.Span{From: noon, To: noon.Add(10 * time.Minute)}
	for local, hint := range map[string]bool{
		"2025-03-01 04:05:00": true,  // UTC
		"2025-03-01 09:35:00": true,  // India
		"2025-03-01 12:25:00": false, // 15 minutes late
		"2025-02-27 12:05:00": false, // days ago
	} {
		s := answers(t, nil, text(`{"status":"success","results":[{"sendID":"1","send_date":"`+local+`"}]}`))
		_, _, err := read(t.Context(), s, window)
		if !errors.Is(err, scan.ErrOutside) || strings.Contains(err.Error(), "OTP_TIME_ZONE=Asia/Shanghai") != hint {
			t.Errorf("%s: got %v, want a hint at the zone %v", local, err, hint)
		}
	}
}
