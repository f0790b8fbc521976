package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"

	"connector/internal/fault"
	"connector/pipeline"
	"connector/schema"
	"connector/sinks"
	"connector/sources"
)

// unresolved lists the dead letters without a resolution behind them, as a
// reader of the sink does.
func (m *memory) unresolved(context.Context) (list []pipeline.Letter, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return unresolved(m.dead)
}

// dropping is what is left to a reader that drops the messages of which it has
// the same already.
func dropping(messages []schema.Message, same func(*schema.Message) string) (list []schema.Message) {
	has := map[string]bool{}
	for _, msg := range messages {
		if of := same(&msg); !has[of] {
			has[of], list = true, append(list, msg)
		}
	}
	return list
}

// nothingUnresolved wants all dead letters resolved, for readers that drop no
// repetition, those within one publication, and all of an id.
func (m *memory) nothingUnresolved(t *testing.T) {
	t.Helper()
	for who, messages := range map[string][]schema.Message{
		"no repetition": m.dead,
		"publications":  dropping(m.dead, (*schema.Message).PublicationID),
		"ids":           dropping(m.dead, func(m *schema.Message) string { return m.ID }),
	} {
		if left, err := unresolved(messages); err != nil || len(left) > 0 {
			t.Errorf("a reader that drops %s: got %v unresolved, %v", who, left, err)
		}
	}
}

func unresolved(messages []schema.Message) (list []pipeline.Letter, err error) {
	for _, msg := range messages {
		if msg.Type == schema.ResolutionType {
			list = slices.DeleteFunc(list, func(l pipeline.Letter) bool { return l.Source == msg.Source && l.RecordID == msg.RecordID })
			continue
		}
		var d schema.DeadLetter
		if err := json.Unmarshal(msg.Body, &d); err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(list, func(l pipeline.Letter) bool { return l.ID == msg.ID }); i >= 0 {
			list[i].Replay = d.Replay
			continue
		}
		list = append(list, pipeline.Letter{
			ID: msg.ID, Source: d.Source, RecordID: d.RecordID, Digest: d.RawDigest, Replay: d.Replay, Position: sources.Span{From: d.Position.From, To: d.Position.To},
		})
	}
	return list, nil
}

// retry tries all unresolved dead letters and tells what became of each.
func retry(t *testing.T, opts pipeline.Options, what pipeline.Retry) string {
	t.Helper()
	what.ID = "t1"
	if what.Letters == nil {
		what.Letters = opts.Sink.(*memory).unresolved
	}
	r := pipeline.New(opts).Retry(what)
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, l := range r.Results() {
		list = append(list, l.RecordID+" "+string(l.Fate))
	}
	slices.Sort(list)
	for _, p := range r.Progress() {
		if p.Done != p.Total {
			t.Errorf("progress: got %v of %v at the end", p.Done, p.Total)
		}
	}
	return strings.Join(list, ", ")
}

// deadStory tells of each message beside the dead letters what it is.
func (m *memory) deadStory(t *testing.T) string {
	t.Helper()
	var list []string
	for _, msg := range m.dead {
		if msg.Type != schema.ResolutionType {
			list = append(list, "dead "+msg.RecordID)
			continue
		}
		var r schema.Resolution
		if err := json.Unmarshal(msg.Body, &r); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(m.events, func(e schema.Message) bool { return e.ID == r.EventID }) {
			t.Errorf("the resolution of %s names event %q, which there is not", r.RecordID, r.EventID)
		}
		if r.DeadLetterID != "" && !slices.ContainsFunc(m.dead, func(d schema.Message) bool { return d.ID == r.DeadLetterID }) {
			t.Errorf("the resolution of %s names dead letter %q, which there is not", r.RecordID, r.DeadLetterID)
		}
		list = append(list, string(r.Outcome)+" "+msg.RecordID)
	}
	return strings.Join(list, ", ")
}

// named makes the rows named unfit as long as it says so.
func named(bad map[string]bool) func(sources.Record) bool {
	return func(r sources.Record) bool { return bad[r.ID] }
}

var promises = []sinks.Guarantee{sinks.ExactlyOnce, sinks.ExactlyOnceUnlessCrash}

func TestRetryPublishesOnce(t *testing.T) {
	for _, promise := range promises {
		synctest.Test(t, func(t *testing.T) {
			bad := map[string]bool{"mended": true, "broken": true, "gone": true, "changed": true}
			p := &provider{streams: []string{"s", "other"}, unfit: named(bad), rows: map[string][]row{"s": {
				{id: "good", created: at(-2 * time.Minute)},
				{id: "mended", created: at(-2 * time.Minute)},
				{id: "broken", created: at(-time.Minute)},
				{id: "gone", created: at(-time.Minute), away: []time.Time{at(10 * time.Minute)}},
				{id: "changed", created: at(-90 * time.Minute), changes: []time.Time{at(10 * time.Minute)}},
			}}}
			sink := &memory{promise: promise}
			opts := options(p, sink)
			opts.Accounts[0].GiveUp = 24 * time.Hour
			if err := runFor(t, opts, 5*time.Minute); err != nil {
				t.Fatal(err)
			}
			wantStory(t, "run", sink.events, "good 1")
			if got := len(sink.dead); got != 4 {
				t.Fatalf("got %d dead letters, want 4", got)
			}
			if got, want := retry(t, opts, pipeline.Retry{}), "broken failing, changed failing, gone failing, mended failing"; got != want {
				t.Errorf("nothing mended: got %q, want %q", got, want)
			}
			time.Sleep(10 * time.Minute)
			bad["mended"], bad["changed"] = false, false
			before := len(sink.state)
			if got, want := retry(t, opts, pipeline.Retry{Dry: true}), "broken failing, changed superseded, gone gone, mended published"; got != want {
				t.Errorf("dry: got %q, want %q", got, want)
			}
			if len(sink.events) != 1 || len(sink.dead) != 4 || len(sink.state) != before {
				t.Errorf("dry: got %d events and %d dead letters, want 1 and 4", len(sink.events), len(sink.dead))
			}
			if got, want := retry(t, opts, pipeline.Retry{}), "broken failing, changed superseded, gone gone, mended published"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			wantStory(t, "retry", sink.events, "changed 1", "good 1", "mended 1")
			if got, want := sink.deadStory(t), "superseded changed, published mended"; !strings.HasSuffix(got, want) {
				t.Errorf("%s: got %q, want %q at its end", promise, got, want)
			}
			if got, want := retry(t, opts, pipeline.Retry{}), "broken failing, gone gone"; got != want {
				t.Errorf("again: got %q, want %q", got, want)
			}
			bad["broken"] = false
			if err := runFor(t, opts, 5*time.Minute); err != nil {
				t.Fatal(err)
			}
			wantStory(t, "run after the retry", sink.events, "changed 1", "good 1", "mended 1")
			p.rows["s"][1].changes = []time.Time{at(0)}
			if err := runFor(t, opts, 5*time.Minute); err != nil {
				t.Fatal(err)
			}
			wantStory(t, "next version", sink.events, "changed 1", "good 1", "mended 1", "mended 2")
			if got := len(sink.dead); got != 6 {
				t.Errorf("got %d dead letters and resolutions, want 4 and 2", got)
			}
		})
	}
}

// A dead version between published ones: the revisions go on.
func TestRetryRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := map[string]bool{}
		p := &provider{streams: []string{"s"}, unfit: named(bad), rows: map[string][]row{"s": {{id: "a", created: at(-time.Minute), changes: []time.Time{at(6 * time.Minute), at(30 * time.Minute)}}}}}
		sink := &memory{promise: sinks.ExactlyOnce}
		opts := options(p, sink)
		for range 2 {
			if err := runFor(t, opts, 5*time.Minute); err != nil {
				t.Fatal(err)
			}
			bad["a"] = true
		}
		bad["a"] = false
		if err := runFor(t, opts, 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		wantStory(t, "before", sink.events, "a 1")
		if got, want := retry(t, opts, pipeline.Retry{}), "a published"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		time.Sleep(20 * time.Minute)
		if err := runFor(t, opts, 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		wantStory(t, "after", sink.events, "a 1", "a 2", "a 3")
		if got, want := sink.deadStory(t), "dead a, published a"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// The event of a later version resolves the dead letter of an earlier one, also when
// both come in one commit.
func TestLaterVersionResolves(t *testing.T) {
	for _, promise := range promises {
		synctest.Test(t, func(t *testing.T) {
			first := true
			p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {
				{id: "a", created: at(-time.Minute), changes: []time.Time{at(3 * time.Minute)}}, {id: "b", created: at(-time.Minute)},
			}}}
			p.spoil = func(list []sources.Record, _ sources.Span) []sources.Record {
				var all []sources.Record
				for _, r := range list {
					if r.Print == "1" {
						old := r
						old.Fault = fault.Reject("decode", errors.New("bad"))
						all = append(all, old)
						if r.ID == "b" && first {
							r.Print, r.Rank = "2", 2
							all = append(all, r)
							r.Print, r.Rank, r.Fault = "3", 3, old.Fault
							all = append(all, r)
						}
						continue
					}
					all = append(all, r)
				}
				first = false
				return all
			}
			sink := &memory{promise: promise}
			if err := runFor(t, options(p, sink), 10*time.Minute); err != nil {
				t.Fatal(err)
			}
			wantStory(t, "run", sink.events, "a 1", "b 1")
			want := "dead a, dead b, superseded b, dead b, superseded a"
			if promise != sinks.ExactlyOnce { // a resolution behind the second dead letter would resolve that, too
				want = "dead a, dead b, dead b, superseded a"
			}
			if got := sink.deadStory(t); got != want {
				t.Errorf("%s: got %q, want %q", promise, got, want)
			}
		})
	}
}

// What the sink refuses becomes no second dead letter, and is an event once it takes it.
func TestRetryOfRefusedEvents(t *testing.T) {
	for _, promise := range promises {
		synctest.Test(t, func(t *testing.T) {
			p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {{id: "large", created: at(-time.Minute)}, {id: "refused", created: at(-time.Minute)}}}}
			sink := &memory{promise: promise}
			opts := options(p, sink)
			large, refusing := true, true
			sink.fail = func(_ int, c sinks.Commit) error {
				for i, m := range c.Events {
					if m.RecordID == "large" && large || m.RecordID == "refused" && refusing {
						return &sinks.RejectedError{Messages: []sinks.Rejection{{Index: i, Err: errors.New("no")}}}
					}
				}
				return nil
			}
			if err := runFor(t, opts, 5*time.Minute); err != nil {
				t.Fatal(err)
			}
			large = false
			for i, want := range []string{"large published, refused failing", "refused failing"} {
				if got := retry(t, opts, pipeline.Retry{}); got != want {
					t.Errorf("retry %d: got %q, want %q", i, got, want)
				}
			}
			wantStory(t, "retry", sink.events, "large 1")
			if got, want := sink.deadStory(t), "dead large, dead refused, published large"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			refusing = false
			if got, want := retry(t, opts, pipeline.Retry{}), "refused published"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if err := runFor(t, opts, 5*time.Minute); err != nil {
				t.Fatal(err)
			}
			wantStory(t, "in the end", sink.events, "large 1", "refused 1")
		})
	}
}

// Of a time that was given up, only the dead letters tell what was not published.
func TestRetryOfForgottenTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := map[string]bool{"a": true}
		p := &provider{streams: []string{"s"}, unfit: named(bad), rows: map[string][]row{"s": {{id: "a", created: at(-time.Minute)}}}}
		sink := &memory{promise: sinks.ExactlyOnce}
		opts := options(p, sink)
		if err := runFor(t, opts, 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Hour)
		if err := runFor(t, opts, 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		bad["a"] = false
		for _, want := range []string{"a published", ""} {
			if got := retry(t, opts, pipeline.Retry{}); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			wantStory(t, "retry", sink.events, "a 0 t1")
		}
	})
}

// A record that is known by the digest of its row gets an id: the row is the same.
func TestRetryOfRowsWithoutID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {{id: "a", created: at(-time.Minute)}, {id: "b", created: at(-time.Minute)}}}}
		bad := true
		p.spoil = func(list []sources.Record, _ sources.Span) []sources.Record {
			for i := range list {
				if bad {
					list[i].ID, list[i].Print, list[i].Rank, list[i].Terminal = sources.HashID+list[i].ID, list[i].ID, sources.UnknownRank, true
					list[i].Fault = fault.Reject("no_id", errors.New("no id"))
				}
			}
			return list
		}
		sink := &memory{promise: sinks.ExactlyOnce}
		opts := options(p, sink)
		if err := runFor(t, opts, 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		bad = false
		if got := retry(t, opts, pipeline.Retry{}); strings.Count(got, " published") != 2 {
			t.Errorf("got %q, want both published", got)
		}
		wantStory(t, "retry", sink.events, "a 1", "b 1")
		if err := runFor(t, opts, 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		wantStory(t, "run", sink.events, "a 1", "b 1")
		if got := sink.deadStory(t); len(sink.dead) != 4 || strings.Count(got, "published ") != 2 {
			t.Errorf("got %q, want two dead letters and their resolutions", got)
		}
	})
}

// What a run published by itself, a retry only calls resolved.
func TestRetryOfWhatIsPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := map[string]bool{"a": true}
		p := &provider{streams: []string{"s"}, unfit: named(bad), rows: map[string][]row{"s": {{id: "a", created: at(-time.Minute)}}}}
		sink := &memory{promise: sinks.OnceUnlessZombie}
		opts := options(p, sink)
		if err := runFor(t, opts, 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		bad["a"] = false
		sink.fail = func(_ int, c sinks.Commit) error { // a crash between the event and its resolution
			if len(c.Dead) > 0 {
				return fault.Fatal(errors.New("crash"), "start again")
			}
			return nil
		}
		what := pipeline.Retry{ID: "t1", Letters: sink.unresolved}
		if err := pipeline.New(opts).Retry(what).Run(t.Context()); err == nil {
			t.Fatal("got no error")
		}
		sink.fail = nil
		wantStory(t, "before the crash", sink.events, "a 1")
		if got, want := retry(t, opts, pipeline.Retry{}), "a published"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		wantStory(t, "retry", sink.events, "a 1")
		if got, want := sink.deadStory(t), "dead a, published a"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// Many at once take several commits, none larger than the sink allows.
func TestRetryInSmallCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := map[string]bool{}
		p := &provider{streams: []string{"s"}, unfit: named(bad), rows: map[string][]row{}}
		for i := range 50 {
			id := fmt.Sprint("r", i)
			bad[id] = true
			p.rows["s"] = append(p.rows["s"], row{id: id, created: at(-time.Minute), changes: []time.Time{at(20 * time.Minute)}})
		}
		sink := &memory{promise: sinks.ExactlyOnce, limits: sinks.Limits{MaxMessages: 400 + 7}}
		sink.fail = func(_ int, c sinks.Commit) error {
			if n := len(c.Events) + len(c.Dead); n > 7 {
				t.Errorf("got a commit of %d messages, want 7 at most", n)
			}
			return nil
		}
		opts := options(p, sink)
		if err := runFor(t, opts, 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			bad[fmt.Sprint("r", i)] = false
		}
		letters, _ := sink.unresolved(t.Context())
		what := pipeline.Retry{Letters: func(context.Context) ([]pipeline.Letter, error) { return letters[:20], nil }}
		if got := strings.Count(retry(t, opts, what), "published"); got != 20 || len(sink.events) != 20 {
			t.Errorf("got %d published, %d events, want 20", got, len(sink.events))
		}
		time.Sleep(20 * time.Minute)
		if err := runFor(t, opts, 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		if got, _ := sink.unresolved(t.Context()); len(got) != 0 || len(sink.events) != 70 {
			t.Errorf("got %d unresolved and %d events, want 0 and 70", len(got), len(sink.events))
		}
	})
}

// TestReplayRevives publishes what was a dead letter only, once.
func TestReplayRevives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := map[string]bool{"a": true}
		p := &provider{streams: []string{"s"}, unfit: named(bad), rows: map[string][]row{"s": {{id: "a", created: at(-time.Minute)}}}}
		sink := &memory{promise: sinks.ExactlyOnce}
		opts := options(p, sink)
		if err := runFor(t, opts, 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		bad["a"] = false
		for range 2 {
			replay(t, opts, since(time.Hour))
		}
		wantStory(t, "replays", sink.events, "a 1", "a 1 r1")
		if got, want := sink.deadStory(t), "dead a, published a"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// Replays bring a dead letter up again that was resolved, and retries resolve it again. Each
// reader comes to the same end, whichever repetitions it drops.
func TestRetryOfWhatReplaysRepeat(t *testing.T) {
	for _, promise := range promises {
		synctest.Test(t, func(t *testing.T) {
			bad := map[string]bool{"a": true}
			p := &provider{streams: []string{"s"}, unfit: named(bad), rows: map[string][]row{"s": {{id: "a", created: at(-time.Minute)}}}}
			sink := &memory{promise: promise}
			opts := options(p, sink)
			if err := runFor(t, opts, 5*time.Minute); err != nil {
				t.Fatal(err)
			}
			for _, again := range []string{"r1", "r2", "r2"} {
				bad["a"] = false
				if got, want := retry(t, opts, pipeline.Retry{}), "a published"; got != want {
					t.Errorf("before replay %s: got %q, want %q", again, got, want)
				}
				sink.nothingUnresolved(t)
				bad["a"] = true
				what := since(time.Hour)
				what.ID = again
				replay(t, opts, what)
				if left, err := sink.unresolved(t.Context()); err != nil || len(left) != 1 {
					t.Errorf("after replay %s: got %v unresolved, %v", again, left, err)
				}
			}
			bad["a"] = false
			retry(t, opts, pipeline.Retry{})
			sink.nothingUnresolved(t)
			wantStory(t, "in the end", sink.events, "a 1")
		})
	}
}

// A row that the provider shows twice in one answer, unreadable and then in order, is tried twice.
func TestRetryOfARowShownTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := map[string]bool{"a": true}
		p := &provider{streams: []string{"s"}, unfit: named(bad), rows: map[string][]row{"s": {{id: "a", created: at(-time.Minute)}}}}
		sink := &memory{promise: sinks.ExactlyOnce}
		opts := options(p, sink)
		if err := runFor(t, opts, 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		bad["a"] = false
		p.spoil = func(list []sources.Record, _ sources.Span) []sources.Record {
			if len(list) == 0 {
				return nil
			}
			torn := list[0]
			torn.Fault = fault.Reject("decode", errors.New("torn"))
			return []sources.Record{torn, list[0]}
		}
		if got, want := retry(t, opts, pipeline.Retry{}), "a published"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// A replay is shown a dead version and the next one in one answer: what the sink refuses of the
// second does not undo the first.
func TestReplayOfTwoVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := map[string]bool{"a": true}
		p := &provider{streams: []string{"s"}, unfit: named(bad), rows: map[string][]row{"s": {{id: "a", created: at(-time.Minute)}}}}
		sink := &memory{promise: sinks.ExactlyOnce}
		opts := options(p, sink)
		if err := runFor(t, opts, 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		bad["a"] = false
		p.spoil = func(list []sources.Record, _ sources.Span) []sources.Record {
			for _, r := range list {
				r.Print, r.Rank, r.Raw = "2", 2, []byte(`{"id":"a","v":2}`)
				list = append(list, r)
			}
			return list
		}
		sink.fail = func(_ int, c sinks.Commit) error {
			for i := range c.Events {
				if strings.Contains(string(c.Events[i].Body), `\"v\":2`) {
					return &sinks.RejectedError{Messages: []sinks.Rejection{{Index: i, Err: errors.New("no")}}}
				}
			}
			return nil
		}
		if err := pipeline.New(opts).Replay(since(time.Hour)).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := runFor(t, opts, 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		wantStory(t, "both", sink.events, "a 1")
		if got, want := sink.deadStory(t), "dead a, published a, dead a"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// A row left and came back as a dead letter. Once mended, its event is not the one from before it left.
func TestRetryOfAReturnedRow(t *testing.T) {
	for _, again := range []string{"retry", "replay"} {
		synctest.Test(t, func(t *testing.T) {
			bad := map[string]bool{}
			p := &provider{streams: []string{"s"}, leaves: true, unfit: named(bad), rows: map[string][]row{"s": {
				{id: "a", created: at(-time.Minute), away: []time.Time{at(10 * time.Minute), at(40 * time.Minute)}}, {id: "b", created: at(-time.Minute)},
			}}}
			sink := &memory{promise: sinks.ExactlyOnce}
			opts := options(p, sink)
			opts.Accounts[0].GiveUp = 24 * time.Hour
			for range 3 {
				if err := runFor(t, opts, 30*time.Minute); err != nil {
					t.Fatal(err)
				}
				bad["a"] = true
			}
			bad["a"] = false
			if got, want := sink.deadStory(t), "dead a"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if again == "retry" {
				if got, want := retry(t, opts, pipeline.Retry{}), "a published"; got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			} else if err := pipeline.New(opts).Replay(since(2 * time.Hour)).Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := runFor(t, opts, 30*time.Minute); err != nil {
				t.Fatal(err)
			}
			ids := map[string]int{}
			for _, m := range sink.events {
				if m.Replay == "" {
					ids[m.ID]++
				}
			}
			if len(ids) != 4 { // a, b, a left, a again
				t.Errorf("%s: got events of the ids %v, want four", again, ids)
			}
			if got, want := sink.deadStory(t), "dead a, published a"; got != want {
				t.Errorf("%s: got %q, want %q", again, got, want)
			}
		})
	}
}
