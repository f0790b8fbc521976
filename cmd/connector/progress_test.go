package main

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connector/pipeline"
	"connector/schema"
)

func TestMeterIsHonest(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	a, b := schema.Source{Account: "a"}, schema.Source{Account: "b"}
	var list []pipeline.Progress
	m := newMeter(func() []pipeline.Progress { return list })
	tests := []struct {
		after    time.Duration
		progress []pipeline.Progress
		eta      int64 // -1: unknown
		rows     float64
	}{
		{0, []pipeline.Progress{{Source: a}, {Source: b}}, -1, 0},
		{time.Hour, []pipeline.Progress{{Source: a, Total: 100 * time.Hour}, {Source: b, Total: 10 * time.Hour}}, -1, 0}, // newer rows came first
		{time.Second, []pipeline.Progress{{Source: a, Total: 100 * time.Hour, Done: time.Hour, Rows: 10}, {Source: b, Total: 10 * time.Hour}}, -1, 0},
		{10 * time.Second, []pipeline.Progress{{Source: a, Total: 100 * time.Hour, Done: 11 * time.Hour, Rows: 110}, {Source: b, Total: 10 * time.Hour}}, -1, 10},
		{0, []pipeline.Progress{{Source: a, Total: 100 * time.Hour, Done: 11 * time.Hour, Rows: 110}, {Source: b, Total: 10 * time.Hour, Done: 10 * time.Hour}}, 89, 10},
		{0, []pipeline.Progress{{Source: a, Total: 100 * time.Hour, Done: 11 * time.Hour, Rows: 110, Stopped: true}}, 0, 10},
	}
	for i, tt := range tests {
		now, list = now.Add(tt.after), tt.progress
		got := newReport("backfill", m.measure(now))
		eta := int64(-1)
		if got.ETASeconds != nil {
			eta = *got.ETASeconds
		}
		if eta != tt.eta || got.RowsPerSecond != tt.rows {
			t.Errorf("%d: got eta %d, %v rows/s, want %d, %v", i, eta, got.RowsPerSecond, tt.eta, tt.rows)
		}
	}
}

// TestProgressWithoutTerminal prints a line every ten seconds, for people or programs.
func TestProgressWithoutTerminal(t *testing.T) {
	for output, want := range map[string]string{"text": `msg=backfill done=50% rows=7 events=6`, "json": `"rows":7`} {
		synctest.Test(t, func(t *testing.T) {
			var stdout, stderr buffer
			env := environment{stdout: &stdout, stderr: &stderr, output: output}
			stop := watchProgress(t.Context(), env, "backfill", func() []pipeline.Progress {
				return []pipeline.Progress{{Source: schema.Source{Account: "a"}, Done: time.Hour, Total: 2 * time.Hour, Rows: 7, Events: 6}}
			})
			time.Sleep(35 * time.Second)
			stop()
			lines := strings.Split(strings.TrimSpace(stdout.String()+stderr.String()), "\n")
			if len(lines) != 3 {
				t.Fatalf("%s: got %d lines, want 3:\n%s", output, len(lines), lines)
			}
			wantLines(t, output, lines[0], want)
			if output == "json" && !json.Valid([]byte(lines[0])) {
				t.Errorf("got %q, want JSON", lines[0])
			}
		})
	}
}
