package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"connector/checkpoint"
	"connector/sinks/nats"
	"connector/sources"
)

// readOnce reads an hour of SUBMAIL's log into a file, and returns the variables.
func readOnce(t *testing.T) []string {
	t.Helper()
	vars := drop(with(halfDay(t), "CONNECTOR_SOURCES=otp=submail"), "HQ_")
	vars = with(vars, "CONNECTOR_START=3h")
	if code, _, stderr := command(t.Context(), vars, "run", "--once"); code != exitOK {
		t.Fatalf("run --once: got code %d; stderr:\n%s", code, stderr)
	}
	return vars
}

// TestRewindPublishesNothingNew goes back to the beginning and reads everything again
// (invariant 12).
func TestRewindPublishesNothingNew(t *testing.T) {
	t.Parallel()
	vars := readOnce(t)
	settled := time.Now().Add(-time.Minute) // rows go on to be created
	if code, _, stderr := command(t.Context(), vars, "backfill", "--from", "6h", "--to", "2h"); code != exitOK {
		t.Fatalf("backfill: got code %d; stderr:\n%s", code, stderr)
	}
	before := written(t, vars, ever, settled)
	code, stdout, stderr := command(t.Context(), vars, "checkpoint", "rewind", "--to", "0s")
	if code != exitUsage {
		t.Errorf("without a terminal: got code %d, want 2", code)
	}
	wantLines(t, "plan", stdout, "otp/sms: to the savepoint of", "which reopens 6h")
	wantLines(t, "refusal", stderr, "nothing was changed", "--yes")
	if _, stdout, _ := command(t.Context(), vars, "checkpoint", "list"); !strings.Contains(stdout, " 0s ") {
		t.Errorf("refused: got\n%s\nwant nothing unread", stdout)
	}
	code, stdout, stderr = command(t.Context(), vars, "checkpoint", "rewind", "--to", "0s", "--yes", "--output", "json")
	if code != exitOK {
		t.Fatalf("rewind: got code %d; stderr:\n%s", code, stderr)
	}
	wantLines(t, "rewind", stdout, `"done":true`)
	_, stdout, _ = command(t.Context(), vars, "checkpoint", "show")
	wantLines(t, "after rewinding", stdout, "b backfill: ", "backfill ", "savepoints: 2")
	_, saved, _ := strings.Cut(stdout, "savepoints:")
	if got := strings.Count(saved, "T"); got != 2 {
		t.Errorf("got %d savepoints, want the first and the one made before rewinding:\n%s", got, stdout)
	}
	if code, _, stderr := command(t.Context(), vars, "run", "--once"); code != exitOK {
		t.Fatalf("run --once: got code %d; stderr:\n%s", code, stderr)
	}
	after := written(t, vars, ever, settled)
	if len(before) < 80 || !slices.Equal(before, after) {
		t.Errorf("got %d events, want the %d there were", len(after), len(before))
	}
	_, stdout, _ = command(t.Context(), vars, "checkpoint", "show")
	if strings.Contains(stdout, "backfill ") {
		t.Errorf("after reading again: got\n%s\nwant no backfill left", stdout)
	}
}

func TestCheckpointShowsWhatIsStored(t *testing.T) {
	t.Parallel()
	vars := readOnce(t)
	vars = with(vars, "CONNECTOR_SOURCES=") // shown although no account is configured
	vars = drop(vars, "OTP_")
	code, stdout, stderr := command(t.Context(), vars, "checkpoint", "list")
	if code != exitOK {
		t.Fatalf("list: got code %d; stderr:\n%s", code, stderr)
	}
	wantLines(t, "list", stdout, "frontier", "otp/sms", "owner: ", fmt.Sprintf(" pid %d ", os.Getpid()), "(took over at term 1, last commit at ")
	_, stdout, _ = command(t.Context(), vars, "checkpoint", "list", "--output", "json")
	var line struct {
		Account, Stream string
		Records         int
		Frontier, End   time.Time
		UnreadSeconds   *int
		BackfillSeconds *int
		Gaps            *int
		Fence           struct {
			Owner         string
			Term, Commits int
			LastCommit    time.Time
		}
	}
	if err := json.Unmarshal([]byte(stdout), &line); err != nil || line.Account != "otp" || line.Stream != "sms" || line.Records < 40 || line.Frontier.IsZero() || !line.End.Equal(line.Frontier) || line.UnreadSeconds == nil || *line.UnreadSeconds != 0 || line.BackfillSeconds == nil || line.Gaps == nil ||
		line.Fence.Owner == "" || line.Fence.Term != 1 || line.Fence.Commits < 2 || time.Since(line.Fence.LastCommit) > time.Hour {
		t.Errorf("list as JSON: got %s, %v", stdout, err)
	}
	_, stdout, _ = command(t.Context(), vars, "checkpoint", "show", "--account", "otp", "--stream", "sms")
	wantLines(t, "show", stdout, "otp/sms  from ", "a column is", "|w", "y young: ", "young ", "savepoints: ")
	_, stdout, _ = command(t.Context(), vars, "checkpoint", "show", "--output", "json")
	wantLines(t, "show as JSON", stdout, `"state":"watched"`, `"savepoints":["`)
}

func TestCheckpointMistakes(t *testing.T) {
	t.Parallel()
	_, _, empty := simulators(t, 1)
	_, _, checked := simulators(t, 1)
	if code, _, stderr := command(t.Context(), checked, "check"); code != exitOK {
		t.Fatalf("check: got code %d; stderr:\n%s", code, stderr)
	}
	read := readOnce(t)
	tests := []struct {
		name, args string
		vars       []string
		code       int
		want       []string
	}{
		{"no checkpoint", "list", empty, exitFailed, []string{"there is no checkpoint in", "CONNECTOR_DATA_DIR"}},
		{"nothing to rewind", "rewind --to 1h", empty, exitFailed, []string{"there is no checkpoint in"}},
		{"only checked", "list", checked, exitFailed, []string{"there is no checkpoint in sink nats"}},
		{"unknown verb", "shwo", read, exitUsage, []string{`unknown verb "shwo"`, "connector checkpoint --help"}},
		{"unknown stream", "show --stream nope", read, exitUsage, []string{"no such stream", "otp/sms"}},
		{"all faults", "rewind --to 2100-01-01 --account nope", read, exitUsage, []string{"2 faults", "--to: ", "use one of otp"}},
		{"no time", "rewind", read, exitUsage, []string{"--to: is missing"}},
		{"too old", "rewind --to 24h --yes", read, exitOK, []string{"otp/sms: no savepoint that old", "nothing to go back to"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := command(t.Context(), tt.vars, append([]string{"checkpoint"}, strings.Fields(tt.args)...)...)
			if code != tt.code {
				t.Errorf("got code %d, want %d", code, tt.code)
			}
			wantLines(t, "output", stdout+stderr, tt.want...)
		})
	}
}

// TestCheckpointBesideRun says whom to ask instead.
func TestCheckpointBesideRun(t *testing.T) {
	t.Parallel()
	vars := readOnce(t)
	c := start(t, vars, "run")
	c.ready(t)
	for _, args := range [][]string{{"list"}, {"rewind", "--to", "1h", "--yes"}} {
		code, _, stderr := command(t.Context(), vars, append([]string{"checkpoint"}, args...)...)
		if code != exitFailed {
			t.Errorf("%s: got code %d, want 1", args, code)
		}
		wantLines(t, args[0], stderr, "held by another process", "stop the connector", "GET /readyz")
	}
}

// TestCheckpointOfTheEmbeddedServer looks at it beside the connector that it lives in, and
// without one. Going back is refused while one runs.
func TestCheckpointOfTheEmbeddedServer(t *testing.T) {
	t.Parallel()
	_, _, vars := simulators(t, 30)
	if code, stdout, stderr := command(t.Context(), vars, "checkpoint", "list"); code != exitFailed || !strings.Contains(stderr, "there is no checkpoint in sink nats") {
		t.Errorf("before a start: got code %d, %s%s", code, stdout, stderr)
	}
	if _, err := os.Stat(nats.EmbeddedDir(value(vars, "CONNECTOR_DATA_DIR"))); err == nil {
		t.Error("a folder was made by looking")
	}
	if code, _, stderr := command(t.Context(), vars, "run", "--once"); code != exitOK {
		t.Fatalf("run --once: got code %d; stderr:\n%s", code, stderr)
	}
	back := []string{"checkpoint", "rewind", "--to", "0s", "--yes"}
	c := start(t, vars, "run")
	c.ready(t)
	for _, shown := range []string{"beside a connector", "without one"} {
		code, stdout, stderr := command(t.Context(), vars, "checkpoint", "list")
		if code != exitOK {
			t.Errorf("list %s: got code %d; stderr:\n%s", shown, code, stderr)
		}
		wantLines(t, "list "+shown, stdout, "hq/flow", "otp/sms", "owner: ")
		code, stdout, stderr = command(t.Context(), vars, back...)
		if c.ProcessState != nil {
			if code != exitOK || !strings.Contains(stdout, "done; ") {
				t.Errorf("rewind %s: got code %d, %s; stderr:\n%s", shown, code, stdout, stderr)
			}
			continue
		}
		if code != exitFailed {
			t.Errorf("rewind %s: got code %d, want 1; stdout:\n%s", shown, code, stdout)
		}
		wantLines(t, "rewind "+shown, stderr, "held by another process", "stop the connector")
		if code := c.interrupt(t); code != exitOK {
			t.Errorf("SIGTERM: got code %d; stderr:\n%s", code, c.stderr.String())
		}
	}
}

// TestTimelineShowsTheLeastKnown must not hide a short gap in a long line.
func TestTimelineShowsTheLeastKnown(t *testing.T) {
	t.Parallel()
	at := func(h int) time.Time { return time.Unix(1_700_000_000, 0).Add(time.Duration(h) * time.Hour) }
	stretchOf := func(from, to int, s checkpoint.State) stretch {
		return stretch{Span: sources.Span{From: at(from), To: at(to).Add(-time.Second)}, rank: rankOf(s.String())}
	}
	line, column := timeline([]stretch{stretchOf(0, 500, checkpoint.Sealed), stretchOf(500, 501, checkpoint.Gap), stretchOf(501, 720, checkpoint.Watched)})
	var got strings.Builder
	for _, rank := range line {
		got.WriteByte(coverStates[rank].letter)
	}
	want := strings.Repeat("s", 50) + "G" + strings.Repeat("w", 21)
	if got.String() != want || column.Round(time.Hour) != 10*time.Hour {
		t.Errorf("got  %s, a column is %v\nwant %s, 10h", got.String(), column, want)
	}
	for s := checkpoint.Unread; s <= checkpoint.Sealed; s++ {
		if coverStates[rankOf(s.String())].word != s.String() {
			t.Errorf("%v has no letter", s)
		}
	}
}
