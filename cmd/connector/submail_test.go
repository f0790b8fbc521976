package main

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"connector/internal/apisim"
)

// TestAnotherCallOrFormat reads one log into one checkpoint by both calls and in both formats: what is read after the first of
// them is known. What sms/log calls pending and log/message sending or unknown does not go backwards.
func TestAnotherCallOrFormat(t *testing.T) {
	t.Parallel()
	began := time.Now().Add(-time.Hour).Truncate(time.Second)
	_, sim, vars := history(t, apisim.Population{Seed: 5, Start: began, Every: 10 * time.Second, Limit: 200, Change: 0.5, MaxChange: 20 * time.Second})
	sim.Switches.Set(func(s *apisim.SubmailSwitches) { s.Pending = true })
	for _, status := range []string{"sending", "pending"} {
		if err := sim.Add(apisim.Row{ID: status, Created: began, Versions: []apisim.RowVersion{{Fields: apisim.Fields{"result_status": status}}}}); err != nil {
			t.Fatal(err)
		}
	}
	vars = with(drop(vars, "HQ_"), "CONNECTOR_SOURCES=otp=submail", "CONNECTOR_SINK=file", "FILE_PATH="+filepath.Join(t.TempDir(), "events.ndjson"),
		"CONNECTOR_START=2h", "OTP_ROWS=60")
	all, alike := 0, 0 // rows, and those whose status both calls name alike
	for _, v := range sim.Current("sms") {
		all++
		if v.Version != "sending" && v.Version != "unknown" {
			alike++
		}
	}
	for _, tt := range []struct {
		call, format string
		current      int // rows that are shown as they were published
	}{{"log/message", "json", all}, {"log/message", "xml", all}, {"sms/log", "json", alike}, {"sms/log", "xml", alike}, {"log/message", "json", all}} {
		vars = with(vars, "OTP_API="+tt.call, "OTP_FORMAT="+tt.format)
		if code, _, stderr := command(t.Context(), vars, "run", "--once"); code != exitOK {
			t.Fatalf("%s.%s: run --once: got code %d; stderr:\n%s", tt.call, tt.format, code, stderr)
		}
		code, stdout, stderr := command(t.Context(), vars, "replay", "--from", "90m", "--to", "0s", "--output", "json")
		if code != exitOK {
			t.Fatalf("%s.%s: replay: got code %d; stderr:\n%s", tt.call, tt.format, code, stderr)
		}
		var summary struct{ EventsAgain, EventsNew int }
		if err := json.Unmarshal(lastLine(stdout), &summary); err != nil {
			t.Fatalf("%s: %v", stdout, err)
		}
		first, _ := tailed(t, vars)
		if len(first) != all || alike == all || summary.EventsAgain != tt.current || summary.EventsNew != 0 {
			t.Errorf("%s.%s: got %d events, in a replay %d again and %d new, want %d, %d and 0", tt.call, tt.format,
				len(first), summary.EventsAgain, summary.EventsNew, all, tt.current)
		}
		if path := "/" + tt.call + "." + tt.format; sim.Stats().Requests[path] == 0 {
			t.Errorf("got no request of %s", path)
		}
	}
}
