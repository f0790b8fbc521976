package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"connector/internal/apisim"
	"connector/pipeline"
	"connector/schema"
	"connector/schema/schematest"
	"connector/sources"
)

// told is a line of tail --output json.
type told struct {
	ID       string          `json:"id"`
	ReplayID string          `json:"replayid"`
	Data     json.RawMessage `json:"data"`
	event    schema.Event
}

// tailed reads what the sink holds, by its own reader, and checks each event
// against the schema.
func tailed(t *testing.T, vars []string) (first, again []told) {
	t.Helper()
	code, stdout, stderr := command(t.Context(), vars, "tail", "--from-start", "--follow=false", "--output=json")
	if code != exitOK {
		t.Fatalf("tail: got code %d; stderr:\n%s", code, stderr)
	}
	lines := bufio.NewScanner(strings.NewReader(stdout))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var m told
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		if err := schematest.Event(m.Data); err != nil {
			t.Errorf("invalid event %s: %v", m.Data, err)
		}
		if err := json.Unmarshal(m.Data, &m.event); err != nil {
			t.Fatal(err)
		}
		if m.event.Replay != m.ReplayID {
			t.Errorf("got replay %q in the event and %q in the attribute", m.event.Replay, m.ReplayID)
		}
		if m.ReplayID == "" {
			first = append(first, m)
		} else {
			again = append(again, m)
		}
	}
	return first, again
}

// latest lists the ids of the latest versions of the records created in a range.
func latest(events []told, from, to time.Time) []string {
	versions := map[string]told{}
	for _, m := range events {
		key := m.event.Source.String() + "/" + m.event.Record.ID
		if at := m.event.CreatedAt; !at.Before(from) && !at.After(to) && m.event.Record.Revision > versions[key].event.Record.Revision {
			versions[key] = m
		}
	}
	var list []string
	for _, m := range versions {
		list = append(list, m.ID)
	}
	slices.Sort(list)
	return list
}

func idsOf(events []told) []string {
	var list []string
	for _, m := range events {
		list = append(list, m.ID)
	}
	slices.Sort(list)
	return list
}

// TestReplayPublishesTheRangeAgain replays from both providers to a file and to
// the embedded NATS server. The same replay once more is published once more.
func TestReplayPublishesTheRangeAgain(t *testing.T) {
	t.Parallel()
	for name, sink := range map[string][]string{
		"file": {"CONNECTOR_SINK=file", "FILE_PATH=" + filepath.Join(t.TempDir(), "events.ndjson")},
		"nats": {"CONNECTOR_SINK=nats"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, vars := history(t, apisim.Population{Seed: 5, Start: time.Now().Add(-100 * time.Minute), Every: time.Minute, Limit: 95, Change: 0.3, MaxChange: 20 * time.Second})
			vars = with(with(vars, sink...), "CONNECTOR_START=2h")
			if code, _, stderr := command(t.Context(), vars, "run", "--once"); code != exitOK {
				t.Fatalf("run --once: got code %d; stderr:\n%s", code, stderr)
			}
			from, to := time.Now().Add(-80*time.Minute).UTC().Truncate(time.Second), time.Now().Add(-20*time.Minute).UTC().Truncate(time.Second)
			args := []string{"replay", "--from", from.Format(time.RFC3339), "--to", to.Format(time.RFC3339), "--id", "again-1"}
			for range 2 {
				code, stdout, stderr := command(t.Context(), vars, args...)
				if code != exitOK {
					t.Fatalf("replay: got code %d; stderr:\n%s", code, stderr)
				}
				wantLines(t, "summary", stdout, "replay again-1 of ["+from.Format(time.RFC3339), ": done", "hq/flow")
				wantLines(t, "start", stderr, "replay again-1 of")
			}
			first, again := reader(t, vars)
			want := latest(first, from, to)
			want = append(want, want...)
			slices.Sort(want)
			if got := idsOf(again); len(want) < 7*55 || !slices.Equal(got, want) {
				t.Errorf("got %d events again, want %d", len(got), len(want))
			}
			for _, m := range again {
				if m.ReplayID != "again-1" || m.event.Record.Revision == 0 {
					t.Errorf("got replay %q of revision %d, want again-1 and a revision", m.ReplayID, m.event.Record.Revision)
				}
			}
		})
	}
}

// reader is tailed, with a connector that runs meanwhile for the embedded
// NATS server that lives in it.
func reader(t *testing.T, vars []string) (first, again []told) {
	t.Helper()
	running := start(t, vars, "run")
	running.ready(t)
	defer running.interrupt(t)
	if code, _, stderr := command(t.Context(), vars, "replay", "--from", "2h", "--to", "1h"); code != exitFailed {
		t.Errorf("replay beside a running connector: got code %d, want 1; stderr:\n%s", code, stderr)
	} else {
		wantLines(t, "refusal", stderr, "held by another process; stop the connector")
	}
	return tailed(t, vars)
}

func TestReplayWithNewIDs(t *testing.T) {
	t.Parallel()
	_, _, vars := history(t, apisim.Population{Seed: 5, Start: time.Now().Add(-time.Hour), Every: time.Minute, Limit: 50})
	vars = with(vars, "CONNECTOR_SINK=file", "FILE_PATH="+filepath.Join(t.TempDir(), "events.ndjson"), "CONNECTOR_START=2h")
	if code, _, stderr := command(t.Context(), vars, "run", "--once"); code != exitOK {
		t.Fatalf("run --once: got code %d; stderr:\n%s", code, stderr)
	}
	code, stdout, stderr := command(t.Context(), vars, "replay", "--from", "5h", "--to", "5m", "--account", "otp", "--new-ids", "--output", "json")
	if code != exitOK {
		t.Fatalf("got code %d; stderr:\n%s", code, stderr)
	}
	var summary struct {
		Complete               bool
		ID                     string
		EventsAgain, EventsNew int
		Streams                []struct {
			Unread []struct{ From, To time.Time }
		}
	}
	if err := json.Unmarshal(lastLine(stdout), &summary); err != nil {
		t.Fatalf("%s: %v", stdout, err)
	}
	if !summary.Complete || summary.EventsAgain != 50 || summary.EventsNew != 0 || !regexp.MustCompile(`^\d{8}T\d{6}Z-[a-z2-7]{4}$`).MatchString(summary.ID) {
		t.Errorf("got summary %s, want 50 events again", stdout)
	}
	if len(summary.Streams) != 1 || len(summary.Streams[0].Unread) != 1 {
		t.Errorf("got summary %s, want one stream with the time before its start skipped", stdout)
	}
	first, again := tailed(t, vars)
	ids := idsOf(first)
	for _, m := range again {
		if slices.Contains(ids, m.ID) || m.ReplayID != summary.ID || m.event.Source.Account != "otp" {
			t.Errorf("got id %s, replay %s of %s, want a new id", m.ID, m.ReplayID, m.event.Source)
		}
	}
	_, human, _ := command(t.Context(), vars, "tail", "--from-start", "--follow=false")
	if got := strings.Count(human, "  replay "+summary.ID); got != 50 {
		t.Errorf("tail: got %d lines with the replay, want 50", got)
	}
}

func TestReplayRefusesWrongFlags(t *testing.T) {
	t.Parallel()
	_, _, vars := simulators(t, 5)
	for _, tt := range []struct{ args, want string }{
		{"", "--from: is missing"},
		{"--from 2h --to 3h", "swap them"},
		{"--from 2h --to 1h --account nobody", `no account "nobody"`},
		{"--from 2h --to 1h --stream none", `no stream "none"`},
		{"--from 2h --to 1h --id a/b", `--id: "a/b" is no id`},
	} {
		code, _, stderr := command(t.Context(), vars, append([]string{"replay"}, strings.Fields(tt.args)...)...)
		if code != exitUsage || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: got code %d, %s, want 2 and %q", tt.args, code, stderr, tt.want)
		}
	}
	if _, err := os.Stat(filepath.Join(value(vars, "CONNECTOR_DATA_DIR"), "checkpoint")); err == nil {
		t.Error("a wrong command line started something")
	}
}

func TestReplaySummary(t *testing.T) {
	t.Parallel()
	span := sources.Span{From: time.Unix(0, 0).UTC(), To: time.Unix(3600, 0).UTC()}
	flow := pipeline.Replayed{Source: schema.Source{System: "ekuaibao", Account: "hq", Stream: "flow"}, Rows: 12, Again: 7, News: 2, Dead: 1}
	gap := flow
	gap.Gaps, gap.Unread = []sources.Span{span}, []sources.Span{span}
	ended, end := context.WithCancel(t.Context())
	end()
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		ctx     context.Context
		results []pipeline.Replayed
		err     error
		lines   []string
		failure string
	}{
		"done":    {t.Context(), []pipeline.Replayed{flow}, nil, []string{"r1 of [1970-01-01T00:00:00Z, 1970-01-01T01:00:00Z]: done", "hq/flow  12         7             2           1             0"}, ""},
		"gap":     {t.Context(), []pipeline.Replayed{flow, gap}, nil, []string{": incomplete", "all      24         14            4           2             1", "hq/flow: skipped [1970", "hq/flow: rows may be missing in [1970"}, "1 gap(s)"},
		"stopped": {ended, []pipeline.Replayed{flow}, context.Canceled, []string{": incomplete"}, "--id r1"},
		"failed":  {t.Context(), []pipeline.Replayed{flow}, broken, []string{": incomplete"}, "broken"},
	} {
		s := newReplaySummary(pipeline.Replay{ID: "r1", Span: span}, tt.results, tt.err == nil)
		var out buffer
		if err := s.write(environment{stdout: &out}); err != nil {
			t.Fatal(err)
		}
		wantLines(t, name, out.String(), tt.lines...)
		if err := s.failure(tt.ctx, tt.err); (err == nil) != (tt.failure == "") || err != nil && !strings.Contains(err.Error(), tt.failure) {
			t.Errorf("%s: got %v, want %q", name, err, tt.failure)
		}
	}
}
