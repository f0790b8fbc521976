package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connector/internal/apisim"
	"connector/internal/testkafka"
	"connector/schema"
	"connector/schema/schematest"
	"connector/sinks"
)

// letters runs deadletter list and returns its lines.
func letters(t *testing.T, vars []string, flags ...string) (list []deadLetter) {
	t.Helper()
	code, stdout, stderr := command(t.Context(), vars, append([]string{"deadletter", "list", "--output", "json"}, flags...)...)
	if code != exitOK {
		t.Fatalf("deadletter list: got code %d; stderr:\n%s", code, stderr)
	}
	for line := range strings.Lines(stdout) {
		var l deadLetter
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		list = append(list, l)
	}
	return list
}

// classes counts dead letters by class.
func classes(list []deadLetter) map[string]int {
	count := map[string]int{}
	for _, l := range list {
		count[l.Class]++
	}
	return count
}

// retried runs deadletter retry and returns its summary.
func retried(t *testing.T, vars []string, flags ...string) (s retrySummary) {
	t.Helper()
	code, stdout, stderr := command(t.Context(), vars, append([]string{"deadletter", "retry", "--yes", "--output", "json"}, flags...)...)
	if code != exitOK {
		t.Fatalf("deadletter retry: got code %d; stderr:\n%s", code, stderr)
	}
	if err := json.Unmarshal(lastLine(stdout), &s); err != nil || !s.Summary {
		t.Fatalf("%s: %v", stdout, err)
	}
	return s
}

// poisonedHistory serves rows of which some are larger than the limit set, and
// some can never be read.
func poisonedHistory(t *testing.T) []string {
	t.Helper()
	_, _, vars := history(t, apisim.Population{
		Seed: 11, Start: time.Now().Add(-50 * time.Minute), Every: 20 * time.Second, Limit: 60, Poison: 0.3, PoisonBytes: 6 << 10,
	})
	return with(vars, "CONNECTOR_START=1h", "HQ_MAX_ROW_BYTES=4KiB", "OTP_MAX_ROW_BYTES=4KiB")
}

func TestDeadLettersAreRetried(t *testing.T) {
	t.Parallel()
	kafka := []string{
		"CONNECTOR_SINK=kafka", "KAFKA_BROKERS=" + strings.Join(testkafka.Brokers(t), ","), "KAFKA_PARTITIONS=2",
	}
	for name, sink := range map[string][]string{
		"file":  {"CONNECTOR_SINK=file", "FILE_PATH=" + filepath.Join(t.TempDir(), "events.ndjson")},
		"nats":  {"CONNECTOR_SINK=nats"},
		"kafka": kafka, "kafka transactional": append(kafka[:len(kafka):len(kafka)], "KAFKA_DELIVERY=transactional"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vars := with(poisonedHistory(t), sink...)
			if strings.HasPrefix(name, "kafka") {
				vars = with(vars, "KAFKA_TOPIC="+testkafka.Topic(t), "KAFKA_DEADLETTER_TOPIC="+testkafka.Topic(t), "KAFKA_CHECKPOINT_TOPIC="+testkafka.Topic(t))
			}
			runOnce(t, vars)
			events, _ := deadAndEvents(t, vars)
			all := letters(t, vars)
			large := classes(all)["too_large"]
			if large < 5 || len(all) < 3*large {
				t.Fatalf("got dead letters %v, want some of each kind", classes(all))
			}
			if s := retried(t, vars); s.Failing != len(all) || s.Published != 0 {
				t.Errorf("nothing mended: got %+v, want %d failing", s, len(all))
			}
			vars = with(vars, "HQ_MAX_ROW_BYTES=1MiB", "OTP_MAX_ROW_BYTES=1MiB")
			if s := retried(t, vars, "--dry-run"); s.Published != large || !s.Dry || s.Failing != len(all)-large {
				t.Errorf("dry: got %+v, want %d published", s, large)
			}
			one := letters(t, vars, "--class", "too_large")[0]
			if s := retried(t, vars, one.ID[:10]); s.Published != 1 || s.Failing != 0 {
				t.Errorf("one: got %+v, want it published", s)
			}
			if s := retried(t, vars, one.ID); s.Published != 0 || !s.Complete {
				t.Errorf("one again: got %+v, want nothing to do", s)
			}
			if s := retried(t, vars, "--class", "too_large"); s.Published != large-1 {
				t.Errorf("the rest: got %+v, want %d published", s, large-1)
			}
			if s := retried(t, vars, "--class", "too_large"); s.Published != 0 || !s.Complete {
				t.Errorf("again: got %+v, want nothing to do", s)
			}
			runOnce(t, vars)
			after, resolutions := deadAndEvents(t, vars)
			if len(after) != len(events)+large || resolutions != large {
				t.Errorf("got %d events and %d resolutions, want %d and %d", len(after), resolutions, len(events)+large, large)
			}
			left := letters(t, vars)
			if len(left) != len(all)-large || classes(left)["too_large"] != 0 {
				t.Errorf("got %v unresolved, want all but too_large of %v", classes(left), classes(all))
			}
			if got := letters(t, vars, "--all"); len(got) != len(all) {
				t.Errorf("list --all: got %d, want %d", len(got), len(all))
			}
			showsLetter(t, vars, one)
		})
	}
}

func runOnce(t *testing.T, vars []string) {
	t.Helper()
	if code, _, stderr := command(t.Context(), vars, "run", "--once"); code != exitOK {
		t.Fatalf("run --once: got code %d; stderr:\n%s", code, stderr)
	}
}

// deadAndEvents reads the whole sink: the events by id, each once, and how many
// resolutions there are.
func deadAndEvents(t *testing.T, vars []string) (events map[string]bool, resolutions int) {
	t.Helper()
	code, stdout, stderr := command(t.Context(), vars, "tail", "--from-start", "--follow=false", "--dead", "--output=json")
	if code != exitOK {
		t.Fatalf("tail: got code %d; stderr:\n%s", code, stderr)
	}
	events = map[string]bool{}
	ids := map[string]bool{}
	for line := range strings.Lines(stdout) {
		var m struct {
			ID, Type string
			Data     json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		check := schematest.Event
		if schema.IsDeadLetter(m.Type) {
			check = func(body []byte) error { return schematest.Dead(m.Type, body) }
		} else {
			events[m.ID] = true
		}
		if err := check(m.Data); err != nil {
			t.Errorf("%v: %s", err, m.Data)
		}
		if m.Type == schema.ResolutionType {
			resolutions++
		}
		if ids[m.ID] {
			t.Errorf("%s %s is there twice", m.Type, m.ID)
		}
		ids[m.ID] = true
	}
	return events, resolutions
}

// showsLetter looks at one resolved dead letter, as people and programs do.
func showsLetter(t *testing.T, vars []string, l deadLetter) {
	t.Helper()
	code, stdout, stderr := command(t.Context(), vars, "deadletter", "show", l.ID[:12])
	if code != exitOK {
		t.Fatalf("deadletter show: got code %d; stderr:\n%s", code, stderr)
	}
	wantLines(t, "show", stdout, l.ID, "class       too_large", "position ", "first seen ", "published 2", "row         ", " bytes, digest ")
	_, stdout, _ = command(t.Context(), vars, "deadletter", "show", l.ID, "--output", "json")
	var all struct {
		deadLetter
		Data schema.DeadLetter
	}
	if err := json.Unmarshal([]byte(stdout), &all); err != nil || all.ID != l.ID || all.State != resolvedAs || all.EventID == "" || all.Data.Raw == "" || all.Data.RecordID != l.RecordID {
		t.Errorf("show as JSON: got %.300s, %v", stdout, err)
	}
	_, stdout, _ = command(t.Context(), vars, "deadletter", "list", "--all")
	wantLines(t, "list", stdout, "id            stream", l.ID[:12], " unresolved, ", " resolved")
}

func TestDeadLetterMistakes(t *testing.T) {
	t.Parallel()
	vars := with(poisonedHistory(t), "CONNECTOR_SINK=file", "FILE_PATH="+filepath.Join(t.TempDir(), "events.ndjson"))
	runOnce(t, vars)
	for _, tt := range []struct {
		vars []string
		args string
		code int
		want []string
	}{
		{vars, "show", exitUsage, []string{"name one dead letter", "connector deadletter show --help"}},
		{vars, "show zz", exitUsage, []string{"there is no dead letter zz", "list --all"}},
		{vars, "list more", exitUsage, []string{`unknown argument "more"`}},
		{vars, "list --output yaml", exitUsage, []string{"use text or json"}},
		{vars, "retry", exitUsage, []string{"hq/flow: ", " of class too_large", "not confirmed, nothing was changed", "--yes"}},
		{vars, "retry zz yy --yes", exitUsage, []string{"2 faults", `"zz" is no dead letter`}},
		{vars, "retry --account nobody --yes", exitUsage, []string{`--account: there is no account "nobody"`}},
		{vars, "retry --class too-large --yes", exitOK, []string{"nothing to retry", "the flags leave out decode, no_id, too_large"}},
		{vars, "list --class too-large", exitOK, []string{"no such dead letter is unresolved; the flags leave out decode, no_id, too_large"}},
		{vars, "list --all --account nobody", exitOK, []string{"there is no such dead letter; the flags leave out hq/InternalMessage, hq/dataLink, hq/flow, "}},
		{with(vars, "CONNECTOR_SINK=stdout", "FILE_PATH="), "list", exitUsage, []string{"sink stdout cannot be read"}},
		{with(vars, "FILE_PATH=/nowhere/events"), "list", exitFailed, []string{"check FILE_PATH"}},
	} {
		code, stdout, stderr := command(t.Context(), tt.vars, append([]string{"deadletter"}, strings.Fields(tt.args)...)...)
		if code != tt.code {
			t.Errorf("%s: got code %d, want %d", tt.args, code, tt.code)
		}
		wantLines(t, tt.args, stdout+stderr, tt.want...)
	}
	c := start(t, vars, "run")
	c.ready(t)
	code, _, stderr := command(t.Context(), vars, "deadletter", "retry", "--yes")
	if code != exitFailed {
		t.Errorf("beside a connector: got code %d, want 1", code)
	}
	wantLines(t, "beside a connector", stderr, "held by another process", "stop the connector")
	if got := letters(t, vars); len(got) == 0 {
		t.Error("list beside a connector: got nothing")
	}
}

// TestFold reads messages as they may lie beside the dead letters.
func TestFold(t *testing.T) {
	t.Parallel()
	source := schema.Source{System: "x", Account: "a", Stream: "s"}
	dead := func(id, record, replay string, at int64) received {
		d := schema.DeadLetter{Source: source, RecordID: record, Class: "decode", ObservedAt: time.Unix(at, 0), Replay: replay}
		return received{id, schema.DeadLetterType, d}
	}
	resolution := func(record, letter string) received {
		return received{"r" + record, schema.ResolutionType, schema.Resolution{Source: source, RecordID: record, DeadLetterID: letter, Outcome: schema.Published, EventID: "e"}}
	}
	for _, tt := range []struct {
		name     string
		flags    deadLetterFlags
		messages []received
		want     string
	}{
		{"once", deadLetterFlags{}, []received{dead("1", "r", "", 5)}, "1 unresolved 5-5"},
		{"a replay", deadLetterFlags{}, []received{dead("1", "r", "", 5), dead("1", "r", "x", 9)}, "1 unresolved 5-9"},
		{"resolved", deadLetterFlags{}, []received{dead("1", "r", "", 5), resolution("r", "1")}, "1 published 5-5"},
		{"two of a record", deadLetterFlags{}, []received{dead("1", "r", "", 5), dead("2", "r", "", 6), resolution("r", "2")}, "1 superseded 5-5, 2 published 6-6"},
		{"by itself", deadLetterFlags{}, []received{dead("1", "r", "", 5), dead("2", "q", "", 6), resolution("r", "")}, "1 published 5-5, 2 unresolved 6-6"},
		{"later again", deadLetterFlags{}, []received{dead("1", "r", "", 5), resolution("r", "1"), dead("2", "r", "", 7)}, "1 published 5-5, 2 unresolved 7-7"},
		{"the same again", deadLetterFlags{}, []received{dead("1", "r", "", 5), resolution("r", "1"), dead("1", "r", "x", 7)}, "1 unresolved 5-7"},
		{"resolution alone", deadLetterFlags{}, []received{resolution("r", "1"), dead("2", "r", "", 7)}, "2 unresolved 7-7"},
		{"another class", deadLetterFlags{class: "no_id"}, []received{dead("1", "r", "", 5)}, ""},
		{"another stream", deadLetterFlags{spanFlags: spanFlags{stream: "t"}}, []received{dead("1", "r", "", 5)}, ""},
	} {
		all, open := newFold(tt.flags, true), newFold(tt.flags, false)
		for _, m := range tt.messages {
			for _, f := range []*fold{all, open} {
				if err := f.add(m.of(t)); err != nil {
					t.Fatal(err)
				}
			}
		}
		var got []string
		unresolvedOnes := 0
		for _, l := range all.list() {
			state := l.State
			if state == resolvedAs {
				state = string(l.Outcome)
			} else {
				unresolvedOnes++
			}
			got = append(got, fmt.Sprintf("%s %s %d-%d", l.ID, state, l.FirstSeen.Unix(), l.LastSeen.Unix()))
		}
		if got := strings.Join(got, ", "); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
		if got := len(open.list()); got != unresolvedOnes || len(open.byID) != unresolvedOnes {
			t.Errorf("%s: got %d held, want the %d unresolved", tt.name, got, unresolvedOnes)
		}
	}
}

// TestLettersOf names the replay that wrote a dead letter last, by which its resolution is told apart.
func TestLettersOf(t *testing.T) {
	t.Parallel()
	f := newFold(deadLetterFlags{}, false)
	for _, replay := range []string{"", "r1", "r2"} {
		m := received{"1", schema.DeadLetterType, schema.DeadLetter{RecordID: "r", Replay: replay}}
		if err := f.add(m.of(t)); err != nil {
			t.Fatal(err)
		}
	}
	if got := lettersOf(f.list()); len(got) != 1 || got[0].Replay != "r2" {
		t.Errorf("got %+v, want one that replay r2 wrote last", got)
	}
}

// received is a message with its body.
type received struct {
	id, messageType string
	body            any
}

func (r received) of(t *testing.T) sinks.Received {
	t.Helper()
	body, err := json.Marshal(r.body)
	if err != nil {
		t.Fatal(err)
	}
	return sinks.Received{Dead: true, Attributes: []schema.Attribute{{Name: "id", Value: r.id}, {Name: "type", Value: r.messageType}}, Body: body}
}

// TestDeadLetterIsNoCommand shows nothing that a terminal would obey.
func TestDeadLetterIsNoCommand(t *testing.T) {
	t.Parallel()
	var out buffer
	data, err := json.Marshal(schema.DeadLetter{Raw: "a\x1b[2Jb\u009b2Jc"})
	if err != nil {
		t.Fatal(err)
	}
	shown := shownLetter{&deadLetter{RecordID: "1\x1b]0;x\a", Reason: "no\u009b2J\nid", State: unresolved}, data}
	if err := shown.print(newView(environment{stdout: &out})); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.ContainsAny(got, "\x1b\a\u009b") || !strings.Contains(got, "no 2J id") {
		t.Errorf("got %q", got)
	}
	if got := shorten("a\u009b2J\n", 10); got != "a 2J " {
		t.Errorf("got %q", got)
	}
}

// TestFoldOfPrefixes holds only what ids begin with.
func TestFoldOfPrefixes(t *testing.T) {
	t.Parallel()
	f := newFold(deadLetterFlags{}, true)
	f.begin = []string{"ab", "c"}
	for _, id := range []string{"abc", "bbc", "cd"} {
		if err := f.add(sinks.Received{Attributes: []schema.Attribute{{Name: "id", Value: id}}, Body: []byte(`{"recordId":"` + id + `"}`)}); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(f.byID); got != 2 || f.byID["bbc"] != nil {
		t.Errorf("got %v", f.byID)
	}
}
