package submail

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connector/internal/apisim"
	"connector/internal/fault"
	"connector/sources"
	"connector/sources/scan"
)

// day returns the dates of the n-th day, by the given distance off.
func day(n int, off time.Duration) dates {
	from := time.Date(2025, 3, 1+n, 0, 0, 0, 0, time.UTC).Add(off)
	return dates{from.Format(time.DateTime), from.Add(24*time.Hour - time.Second).Format(time.DateTime)}
}

// TestRepeats checks what is made of the dates of answers in a row.
func TestRepeats(t *testing.T) {
	other := dates{"2014-11-24 00:35:14", "2015-04-02 16:00:00"}
	odd := dates{"1416760514", "soon"}
	type step struct {
		asked, got dates
		want       verdict
	}
	tests := map[string][]step{
		"they match, then not": {
			{day(0, 0), day(0, 0), own}, {day(1, 0), day(0, 0), foreign}, {day(1, 0), day(0, 0), foreign}, {day(1, 0), day(0, 0), foreign},
			{day(1, 0), other, foreign}, {day(1, 0), day(1, -8*time.Hour), foreign}, {day(2, 0), day(2, -8*time.Hour), foreign},
			{day(3, 0), day(3, 0), own},
		},
		"a cache first": {{day(0, 0), other, foreign}, {day(0, 0), day(0, 0), own}, {day(1, 0), other, foreign}},
		"a cache of the request before": {
			{day(0, 0), other, foreign}, {day(1, 0), day(0, 0), foreign}, {day(1, 0), day(0, 0), foreign}, {day(1, 0), other, foreign},
			{day(1, 0), other, foreign}, {day(1, 0), day(1, 0), own},
		},
		"never the request's": {
			{day(0, 0), other, foreign}, {day(0, 0), other, foreign}, {day(0, 0), other, mute}, {day(1, 0), other, mute},
			{day(2, 0), day(2, 0), own}, {day(3, 0), other, foreign},
		},
		"no times": {{day(0, 0), odd, foreign}, {day(1, 0), odd, foreign}, {day(2, 0), odd, mute}, {day(3, 0), odd, mute}},
		"proven wrong after giving up": {
			{day(0, 0), other, foreign}, {day(0, 0), other, foreign}, {day(0, 0), other, mute}, {day(1, 0), day(0, 0), foreign}, {day(1, 0), other, foreign},
		},
		"another zone": {
			{day(0, 0), day(0, -8*time.Hour), foreign}, {day(0, 0), day(0, -8*time.Hour), foreign}, {day(1, 0), day(1, -8*time.Hour), shifted},
			{day(1, 0), day(1, -8*time.Hour), shifted}, {day(2, 0), day(1, -8*time.Hour), foreign}, {day(2, 0), day(2, -8*time.Hour), foreign},
			{day(3, 0), day(3, -8*time.Hour), shifted},
		},
		"another zone whose clocks change": {
			{day(0, 0), day(0, -7*time.Hour), foreign}, {day(1, 0), day(1, -7*time.Hour), shifted}, {day(2, 0), day(2, -8*time.Hour), foreign},
			{day(3, 0), day(3, -8*time.Hour), shifted},
		},
		"another program 20 s ahead is no zone": {
			{day(0, 0), day(0, 20*time.Second), foreign}, {day(1, 0), day(1, 20*time.Second), foreign}, {day(2, 0), day(2, 0), own},
		},
	}
	for name, steps := range tests {
		var r repeats
		for i, st := range steps {
			if got := r.judge(st.asked, st.asked, st.got); got != st.want {
				t.Errorf("%s, step %d: got %d, want %d", name, i, got, st.want)
			}
		}
	}
}

// The zone of the account changes its clocks and that of the repeated dates
// does not: answers to requests before and after the change take turns.
func TestRepeatsAcrossChange(t *testing.T) {
	zone, change := location("America/New_York"), time.Date(2025, 11, 2, 6, 0, 0, 0, time.UTC)
	var r repeats
	for i := range 10 {
		from := change.Add(time.Duration(i+1) * time.Hour)
		if i%2 == 1 {
			from = change.Add(-12 * time.Hour)
		}
		span := sources.Span{From: from, To: from.Add(time.Minute)}
		utc := datesOf(span, time.UTC)
		want := shifted
		if i == 0 {
			want = foreign
		}
		if got := r.judge(datesOf(span, zone), utc, utc); got != want {
			t.Errorf("answer %d: got %d, want %d", i, got, want)
		}
	}
}

// repeating answers with an empty list that repeats the dates of the request in a zone.
func repeating(t *testing.T, zone string) http.HandlerFunc {
	t.Helper()
	return func(w http.ResponseWriter, r *http.Request) {
		var local [2]string
		for i, name := range []string{"start_date", "end_date"} {
			var sec int64
			if _, err := fmt.Sscan(r.FormValue(name), &sec); err != nil {
				t.Error(err)
			}
			local[i] = time.Unix(sec, 0).In(location(zone)).Format(time.DateTime)
		}
		fmt.Fprintf(w, `{"status":"success","count":0,"start_date":"%s","end_date":" %s ","results":[]}`, local[0], local[1])
	}
}

func location(name string) *time.Location { return zone(name).Location }

// TestDates checks errors and warnings of a source.
func TestDates(t *testing.T) {
	never := text(`{"status":"success","start_date":"2014-11-24 00:35:14","end_date":"2015-04-02 16:00:00"}`)
	tests := []struct {
		name    string
		handler http.HandlerFunc
		refused int    // of 5 scans, the first ones
		hint    string // in the errors
		warning string
	}{
		{"repeated", repeating(t, "Asia/Shanghai"), 0, "", ""},
		{"in UTC", repeating(t, "UTC"), 1, "if that repeats, check OTP_TIME_ZONE=Asia/Shanghai", "OTP_TIME_ZONE"},
		{"never the request's", never, patience - 1, "2014-11-24 00:35:14 to 2015-04-02 16:00:00", "prove nothing"},
	}
	for _, tt := range tests {
		var logged bytes.Buffer
		s := answers(t, nil, tt.handler)
		s.log = slog.New(slog.NewTextHandler(&logged, nil))
		for i := range 5 {
			window := sources.Span{From: noon, To: noon.Add(time.Duration(i) * time.Minute)}
			_, proven, err := read(t.Context(), s, window)
			if i >= tt.refused {
				if err != nil || proven != window {
					t.Errorf("%s, %d: got proven %v, %v", tt.name, i, proven, err)
				}
				continue
			}
			if !errors.Is(err, scan.ErrOther) || fault.IsFatal(err) || !strings.Contains(err.Error(), tt.hint) || proven == window {
				t.Errorf("%s, %d: got proven %v, %v, want a transient ErrOther and %q", tt.name, i, proven, err, tt.hint)
			}
		}
		if got := strings.Count(logged.String(), "WARN"); (got == 1) != (tt.warning != "") || !strings.Contains(logged.String(), tt.warning) {
			t.Errorf("%s: got log %s, want %q once", tt.name, logged.String(), tt.warning)
		}
	}
}

// TestCache has a provider that answers who asks too soon with the answer to the query before, here an empty one: by another
// program, before the first request of this one or later.
func TestCache(t *testing.T) {
	for _, first := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			cfg := apisim.SubmailConfig{Switches: apisim.SubmailSwitches{MinInterval: time.Minute}}
			s, sim := inBubble(t, cfg, func(c *Config) { c.MinInterval = time.Minute })
			now, rows := time.Now(), len(sim.Current(streamName))
			quiet := sources.Span{From: now.Add(-30 * time.Second), To: now.Add(-20 * time.Second)}
			hour := sources.Span{From: now.Add(-time.Hour), To: now}
			if !first {
				if _, _, err := read(t.Context(), s, quiet); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
			}
			form := url.Values{"appid": {"10000"}, "signature": {canaryKey}, "start_date": {fmt.Sprint(quiet.From.Unix())}, "end_date": {fmt.Sprint(quiet.To.Unix())}}
			r := httptest.NewRequest(http.MethodPost, "/log/message.json", strings.NewReader(form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			sim.ServeHTTP(httptest.NewRecorder(), r) // another program
			if _, proven, err := read(t.Context(), s, hour); !errors.Is(err, scan.ErrOther) || proven == hour {
				t.Errorf("first %v: got proven %v, %v of a cached answer, want ErrOther", first, proven, err)
			}
			if records, proven, err := read(t.Context(), s, hour); err != nil || proven != hour || len(records) < rows {
				t.Errorf("first %v: got %d records, proven %v, %v a minute later", first, len(records), proven, err)
			}
		})
	}
}

// TestSMSCache has a provider that answers who asks too soon with the rows of the query before.
func TestSMSCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := apisim.SubmailConfig{Switches: apisim.SubmailSwitches{MinInterval: time.Minute}}
		s, _ := inBubble(t, cfg, func(c *Config) { c.API, c.MinInterval = APISMSLog, time.Second })
		now := time.Now()
		windows := []sources.Span{{From: now.Add(-30 * time.Second), To: now.Add(-20 * time.Second)}, {From: now.Add(-time.Hour), To: now}}
		if _, proven, err := read(t.Context(), s, windows[0]); err != nil || proven != windows[0] {
			t.Errorf("got proven %v, %v", proven, err)
		}
		if _, proven, err := read(t.Context(), s, windows[1]); !errors.Is(err, scan.ErrOther) || proven == windows[1] {
			t.Errorf("got proven %v, %v of a cached answer, want ErrOther", proven, err)
		}
		time.Sleep(time.Minute)
		if _, proven, err := read(t.Context(), s, windows[1]); err != nil || proven != windows[1] {
			t.Errorf("got proven %v, %v a minute later", proven, err)
		}
	})
}
