package main

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"connector/internal/apisim"
	"connector/schema"
)

// halfDay is a history of twelve hours, a row every four minutes in each stream.
func halfDay(t *testing.T) []string {
	t.Helper()
	_, vars := halfDayOf(t)
	return vars
}

// halfDayOf is halfDay with the simulator of ekuaibao.
func halfDayOf(t *testing.T) (*apisim.Ekuaibao, []string) {
	t.Helper()
	e, _, vars := history(t, apisim.Population{Seed: 3, Start: time.Now().Add(-12 * time.Hour), Every: 4 * time.Minute, Change: 0.3, MaxChange: 20 * time.Second})
	return e, with(vars, "CONNECTOR_SINK=file", "FILE_PATH="+filepath.Join(t.TempDir(), "events.ndjson"), "CONNECTOR_START=5m")
}

// written lists the ids of the events of a file that were created in a range, in order
// and with repetitions.
func written(t *testing.T, vars []string, from, to time.Time) []string {
	t.Helper()
	b, err := os.ReadFile(value(vars, "FILE_PATH"))
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	lines := bufio.NewScanner(strings.NewReader(string(b)))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			ID   string       `json:"id"`
			Data schema.Event `json:"data"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%s: %v", lines.Bytes(), err)
		}
		if at := line.Data.CreatedAt; !at.Before(from) && !at.After(to) {
			ids = append(ids, line.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// truth reads everything with a connector of its own, and lists what was
// created in a range.
func truth(t *testing.T, vars []string, from, to time.Time) []string {
	t.Helper()
	vars = with(vars, "CONNECTOR_START=12h", "CONNECTOR_DATA_DIR="+t.TempDir(), "FILE_PATH="+filepath.Join(t.TempDir(), "all.ndjson"))
	if code, _, stderr := command(t.Context(), vars, "run", "--once"); code != exitOK {
		t.Fatalf("run --once: got code %d; stderr:\n%s", code, stderr)
	}
	return written(t, vars, from, to)
}

// ever is before and after all rows.
var ever, never = time.Unix(0, 0), time.Now().Add(240 * time.Hour)

func TestBackfillPublishesTheRangeOnce(t *testing.T) {
	t.Parallel()
	vars := halfDay(t)
	from, to := time.Now().Add(-10*time.Hour).UTC().Truncate(time.Second), time.Now().Add(-5*time.Hour).UTC().Truncate(time.Second)
	args := []string{"backfill", "--from", from.Format(time.RFC3339), "--to", to.Format(time.RFC3339)}
	want := truth(t, vars, from, to)
	young := time.Now().Add(-time.Hour)
	for range 2 {
		code, stdout, stderr := command(t.Context(), vars, args...)
		if code != exitOK {
			t.Fatalf("got code %d; stderr:\n%s", code, stderr)
		}
		t.Log(stdout)
	}
	live := written(t, vars, young, never)
	got := slices.DeleteFunc(written(t, vars, ever, never), func(id string) bool { return slices.Contains(live, id) })
	if len(want) < 300 || !slices.Equal(got, want) {
		t.Errorf("got %d events, want %d", len(got), len(want))
	}
	code, stdout, _ := command(t.Context(), vars, append(args, "--output", "json")...)
	wantLines(t, "again", stdout, `"summary":true`, `"complete":true`, `"rows":0`)
	if code != exitOK {
		t.Errorf("again: got code %d, want 0", code)
	}
}

// unanswered keeps e from answering what it is asked of one stream, and of a time more than an hour ago.
func unanswered(e *apisim.Ekuaibao) {
	recent := time.Now().Add(-time.Hour).UnixMilli()
	e.Faults.Hook(func(r *http.Request) apisim.Fault {
		asked := r.URL.Query()
		if from, _ := strconv.ParseInt(asked.Get("startDate"), 10, 64); asked.Get("messageType") == "flow" && from < recent {
			<-r.Context().Done()
		}
		return apisim.Fault{}
	})
}

// TestBackfillAfterKill kills the process in the middle, while one stream waits for an answer: the same command goes on
// where it stood. A crash between publishing to a file and saving the checkpoint
// repeats events, with the same ids: those count once here.
func TestBackfillAfterKill(t *testing.T) {
	t.Parallel()
	for _, verb := range [][]string{{"backfill", "--from", "10h", "--to", "2h"}, {"run", "--once"}} {
		t.Run(verb[0], func(t *testing.T) {
			t.Parallel()
			e, vars := halfDayOf(t)
			from, to := time.Now().Add(-9*time.Hour), time.Now().Add(-3*time.Hour)
			want := truth(t, vars, from, to)
			unanswered(e)
			slow := with(vars, "HQ_RATE=40", "OTP_MIN_INTERVAL=25ms")
			c := start(t, slow, "backfill", "--from", "10h", "--to", "2h")
			c.until(t, "a part of the events", func() bool {
				b, _ := os.ReadFile(value(vars, "FILE_PATH"))
				return strings.Count(string(b), "\n") > len(want)/4
			})
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			<-c.ended
			e.Faults.Hook(nil)
			before := len(slices.Compact(written(t, vars, from, to)))
			if before == len(want) {
				t.Fatalf("killed too late: all %d events were there", len(want))
			}
			code, stdout, stderr := command(t.Context(), vars, verb...)
			if code != exitOK {
				t.Fatalf("%s: got code %d; stderr:\n%s", verb, code, stderr)
			}
			all := written(t, vars, from, to)
			got := slices.Compact(slices.Clone(all))
			if !slices.Equal(got, want) {
				t.Errorf("got %d distinct events, want %d", len(got), len(want))
			}
			t.Logf("%d of %d events before the kill, %d repeated; %s", before, len(want), len(all)-len(got), stdout)
		})
	}
}

// TestBackfillIntoStdout keeps events apart from what is said of them.
func TestBackfillIntoStdout(t *testing.T) {
	t.Parallel()
	vars := with(halfDay(t), "CONNECTOR_SINK=stdout", "FILE_PATH=")
	code, stdout, stderr := command(t.Context(), vars, "backfill", "--from", "3h", "--to", "2h", "--account", "otp", "--output", "json")
	if code != exitOK {
		t.Fatalf("got code %d; stderr:\n%s", code, stderr)
	}
	wantLines(t, "stderr", stderr, `"summary":true`)
	if got := len(published(t, stdout)); got < 15 {
		t.Errorf("got %d events on the standard output, want those of an hour", got)
	}
}

func TestBackfillMarkOnly(t *testing.T) {
	t.Parallel()
	vars := halfDay(t)
	code, stdout, stderr := command(t.Context(), vars, "backfill", "--from", "10h", "--to", "2h", "--mark-only", "--account", "otp")
	if code != exitOK {
		t.Fatalf("got code %d; stderr:\n%s", code, stderr)
	}
	wantLines(t, "stdout", stdout, `8h of time marked in 1 stream(s)`)
	if got := written(t, vars, ever, never); len(got) != 0 {
		t.Errorf("got %d events, want none", len(got))
	}
}

func TestBackfillRefusedBesideRun(t *testing.T) {
	t.Parallel()
	vars := halfDay(t)
	c := start(t, vars, "run")
	c.ready(t)
	code, stdout, stderr := command(t.Context(), vars, "backfill", "--from", "10h", "--to", "2h")
	if code != exitFailed {
		t.Errorf("got code %d, want 1; stdout:\n%s", code, stdout)
	}
	wantLines(t, "stderr", stderr, "held by another process", "stop the connector that runs with CONNECTOR_DATA_DIR="+value(vars, "CONNECTOR_DATA_DIR"))
}

func TestBackfillArguments(t *testing.T) {
	t.Parallel()
	_, _, vars := simulators(t, 1)
	tests := []struct {
		name, args string
		vars       []string
		want       []string
	}{
		{"nothing", "", vars, []string{"2 faults", "--from: is missing", "--to: is missing", "2026-01-31"}},
		{"no times", "--from yesterday --to -5h", vars, []string{`--from: "yesterday" is no time`, `--to: "-5h" is no time`}},
		{"swapped", "--from 24h --to 48h", vars, []string{"--from: 24h lies after --to 48h"}},
		{"future", "--from 24h --to 2100-01-01", vars, []string{"--to: 2100-01-01 lies in the future"}},
		{"all at once", "--from x --to 2100-01-01 --account nope --stream nix", vars, []string{"4 faults", "--from:", "--to:", `no account "nope"; use one of hq, otp`, `no stream "nix"; use one of`, "sms"}},
		{"stream of another account", "--from 48h --to 24h --account otp --stream flow", vars, []string{`no stream "flow"; use one of sms`}},
		{"with faults of the configuration", "--from x --to 1h", with(vars, "HQ_LAG=soon"), []string{"HQ_LAG", "--from:"}},
		{"format", "--from 2h --output yaml", vars, []string{"2 faults", "--to: is missing", `--output "yaml": use text or json`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := command(t.Context(), tt.vars, append([]string{"backfill"}, strings.Fields(tt.args)...)...)
			if code != exitUsage || stdout != "" {
				t.Errorf("got code %d, stdout %q; want 2 and nothing", code, stdout)
			}
			wantLines(t, "stderr", stderr, tt.want...)
			if _, err := os.Stat(filepath.Join(value(tt.vars, "CONNECTOR_DATA_DIR"), "checkpoint")); err == nil {
				t.Error("a checkpoint was made")
			}
		})
	}
}

func TestParsePast(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tests := map[string]string{
		"2026-01-31":                "2026-01-31T00:00:00Z",
		"2026-01-31T08:00:00+08:00": "2026-01-31T00:00:00Z",
		"24h":                       "2026-02-28T12:00:00Z",
		"0s":                        "2026-03-01T12:00:00Z",
	}
	for value, want := range tests {
		got, err := parsePast(value, now)
		if err != nil || got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%q: got %v, %v, want %s", value, got, err, want)
		}
	}
}

func TestDays(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", 90 * time.Second: "1m30s", 2 * time.Hour: "2h", 36 * time.Hour: "1d12h", day - time.Millisecond: "1d",
		7*day - time.Second: "7d", 25*time.Hour + 10*time.Minute: "1d1h10m",
	} {
		if got := days(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}
