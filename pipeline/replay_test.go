package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
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

// since publishes what was read from d ago on again, to the present.
func since(d time.Duration) pipeline.Replay {
	return pipeline.Replay{ID: "r1", Span: sources.Span{From: at(-d), To: at(0)}}
}

// replay runs a replay to its end and returns what it did with the first stream.
func replay(t *testing.T, opts pipeline.Options, what pipeline.Replay) pipeline.Replayed {
	t.Helper()
	r := pipeline.New(opts).Replay(what)
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := r.Progress()[0]; p.Done != p.Total {
		t.Errorf("progress: got %v of %v at the end", p.Done, p.Total)
	}
	return r.Results()[0]
}

// story tells of each event which record it is of, its revision and its mark.
func story(t *testing.T, events []schema.Message) []string {
	t.Helper()
	var list []string
	for _, m := range events {
		var e schema.Event
		if err := json.Unmarshal(m.Body, &e); err != nil {
			t.Fatal(err)
		}
		if e.Replay != m.Replay {
			t.Errorf("%s: got mark %q in the body and %q beside it", m.RecordID, e.Replay, m.Replay)
		}
		list = append(list, strings.TrimSpace(fmt.Sprintf("%s %d %s", m.RecordID, e.Record.Revision, e.Replay)))
	}
	slices.Sort(list)
	return list
}

func wantStory(t *testing.T, what string, events []schema.Message, want ...string) {
	t.Helper()
	if got := story(t, events); !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func ids(events []schema.Message) map[string]string {
	list := map[string]string{}
	for _, m := range events {
		list[m.RecordID] = m.ID
	}
	return list
}

// sameIDs counts the records that have one id in both.
func sameIDs(a, b map[string]string) (same int) {
	for record, id := range a {
		if b[record] == id {
			same++
		}
	}
	return same
}

func TestReplayKeepsIDsAndMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {
			{id: "old", created: at(-2 * time.Hour)},
			{id: "outside", created: at(-150 * time.Minute)},
			{id: "changed", created: at(-time.Minute), changes: []time.Time{at(time.Minute)}},
			{id: "poison", created: at(-time.Minute), fault: fault.Reject("decode", errors.New("not an object"))},
		}}}
		sink := &memory{}
		opts := options(p, sink)
		opts.Accounts[0].GiveUp = 24 * time.Hour
		if err := runFor(t, opts, 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		wantStory(t, "run", sink.events, "changed 1", "changed 2", "old 1", "outside 1")
		first, before := ids(sink.events), len(sink.events)
		got := replay(t, opts, since(130*time.Minute))
		wantStory(t, "replay", sink.events[before:], "changed 2 r1", "old 1 r1")
		again := ids(sink.events[before:])
		if sameIDs(again, first) != 2 {
			t.Errorf("got ids %q, want those of %q", again, first)
		}
		if got.Again != 2 || got.News != 0 || got.Dead != 1 || got.Rows != 3 || len(got.Gaps) != 0 {
			t.Errorf("got %+v, want 2 events again and 1 dead letter of 3 rows", got)
		}
		if len(sink.dead) != 2 || sink.dead[0].ID != sink.dead[1].ID || sink.dead[0].Replay != "" || sink.dead[1].Replay != "r1" {
			t.Errorf("dead letters: got %+v, want one twice, then with the mark", sink.dead)
		}
		before = len(sink.events)
		if err := runFor(t, opts, 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		wantStory(t, "run after the replay", sink.events[before:])
	})
}

func TestReplayWithNewIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {{id: "a", created: at(-2 * time.Minute)}, {id: "b", created: at(-time.Minute)}}}}
		sink := &memory{}
		if err := runFor(t, options(p, sink), 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		lists := []map[string]string{ids(sink.events)}
		for _, id := range []string{"r1", "r2", "r1"} {
			before := len(sink.events)
			what := since(time.Hour)
			what.ID, what.NewIDs = id, true
			replay(t, options(p, sink), what)
			lists = append(lists, ids(sink.events[before:]))
		}
		for i, a := range lists {
			for j, b := range lists[:i] {
				want := 0
				if i == 3 && j == 1 {
					want = 2
				}
				if got := sameIDs(a, b); got != want || len(a) != 2 {
					t.Errorf("ids of publications %d and %d: got %d of %d in common, want %d of 2", j, i, got, len(a), want)
				}
			}
		}
	})
}

// byChange is a provider that gives the rows of the neighbouring ticks, too,
// every row twice, and some rows by the time of a change.
type byChange struct {
	*provider
	changed map[string]time.Time
}

func (p byChange) Scan(_ context.Context, s sources.Stream, w sources.Span) iter.Seq2[sources.Chunk, error] {
	return func(yield func(sources.Chunk, error) bool) {
		near := sources.Span{From: w.From.Add(-s.Tick), To: w.To.Add(s.Tick)}
		all := p.records(s.Name, sources.Span{From: time.Unix(0, 0), To: time.Now()})
		list := slices.DeleteFunc(all, func(r sources.Record) bool {
			if at, ok := p.changed[r.ID]; ok {
				return !near.Contains(at)
			}
			return !near.Contains(r.Created)
		})
		_ = yield(sources.Chunk{Records: list, Proven: sources.Span{From: w.From, To: w.From.Add(-s.Tick)}}, nil) &&
			yield(sources.Chunk{Records: list, Proven: w}, nil)
	}
}

// Neighbouring windows of a replay share the rows at their edge, which must
// come once, and those beyond the range not at all.
func TestReplayAtTheEdgesOfWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := at(-150 * time.Minute) // windows are an hour and a tick
		p := byChange{&provider{streams: []string{"s"}, rows: map[string][]row{"s": {}}}, map[string]time.Time{"moved": at(-80 * time.Minute)}}
		for i, d := range []time.Duration{-2, -1, 0, 1, 3598, 3599, 3600, 3601, 3602, 7201, 7202, 7203, 9000, 8001} {
			p.rows["s"] = append(p.rows["s"], row{id: fmt.Sprint(i), created: from.Add(d * time.Second)})
		}
		p.rows["s"] = append(p.rows["s"], row{id: "moved", created: from.Add(3600 * time.Second)})
		sink := &memory{}
		opts := options(p.provider, sink)
		opts.Accounts[0].Source, opts.Accounts[0].GiveUp = p, 24*time.Hour
		if err := runFor(t, opts, 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		if got := len(sink.events); got != 15 {
			t.Fatalf("run: got %d events, want 15", got)
		}
		before := len(sink.events)
		replay(t, opts, pipeline.Replay{ID: "r1", Span: sources.Span{From: from, To: from.Add(8000 * time.Second)}})
		wantStory(t, "replay", sink.events[before:], "10 1 r1", "11 1 r1", "2 1 r1", "3 1 r1", "4 1 r1", "5 1 r1", "6 1 r1", "7 1 r1", "8 1 r1", "9 1 r1", "moved 1 r1")
	})
}

func TestReplaySkipsWhatWasNeverRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s", "t"}, rows: map[string][]row{"s": {{id: "before", created: at(-4 * time.Hour)}, {id: "read", created: at(-time.Minute)}}}}
		sink := &memory{}
		opts := options(p, sink)
		start := at(-3 * time.Hour)
		if err := runFor(t, opts, time.Minute); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		before, scans := len(sink.events), len(p.of("s"))
		what := since(6 * time.Hour)
		what.Only = func(s schema.Source) bool { return s.Stream == "s" }
		got := replay(t, opts, what)
		wantStory(t, "replay", sink.events[before:], "read 1 r1")
		if len(got.Unread) != 2 || !got.Unread[0].To.Equal(start.Add(-time.Second)) || !got.Unread[1].To.Equal(at(0)) {
			t.Errorf("got unread %v, want what lies before the start %v and after the first run", got.Unread, start)
		}
		for _, s := range p.of("s")[scans:] {
			if s.window.From.Before(start) {
				t.Errorf("window %v was asked for, which was never read", s.window)
			}
		}
		sink.events = nil
		opts.Sink = &memory{} // nothing was read at all
		if got := replay(t, opts, what); len(got.Unread) != 1 || got.Rows != 0 {
			t.Errorf("nothing read before: got %+v, want all unread", got)
		}
	})
}

// What a backlog did not come to is not read by the replay but by the run after it.
func TestReplaySkipsBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := at(-3 * time.Hour)
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {{id: "backlog", created: at(-2 * time.Hour)}, {id: "newest", created: at(-time.Minute)}}}}
		p.fail = func(_ string, n int) error {
			if n > 1 {
				return errTransient
			}
			return nil
		}
		sink := &memory{}
		opts := options(p, sink)
		opts.Start = func(time.Time) time.Time { return start }
		if err := runFor(t, opts, time.Second); err != nil {
			t.Fatal(err)
		}
		p.failWith(nil)
		sink.events = nil
		got := replay(t, opts, pipeline.Replay{ID: "r1", Span: sources.Span{From: start, To: at(-6 * time.Second)}})
		wantStory(t, "replay", sink.events, "newest 1 r1")
		if len(got.Unread) != 1 || got.Unread[0].From != start || got.Unread[0].To.Before(at(-2*time.Hour)) {
			t.Errorf("got unread %v, want the backlog from %v on", got.Unread, start)
		}
		sink.events = nil
		if err := runFor(t, opts, time.Minute); err != nil {
			t.Fatal(err)
		}
		wantStory(t, "run after it", sink.events, "backlog 1")
	})
}

// What the ledger does not know is news: it bears no mark and is remembered.
func TestReplayFindsNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {
			{id: "a", created: at(-time.Minute), changes: []time.Time{at(20 * time.Minute)}},
			{id: "late", created: at(-time.Minute), visible: at(20 * time.Minute)},
			{id: "poison", created: at(-time.Minute), visible: at(20 * time.Minute), fault: fault.Reject("decode", errors.New("no"))},
		}}}
		sink := &memory{}
		opts := options(p, sink)
		if err := runFor(t, opts, 10*time.Minute); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Minute)
		before := len(sink.events)
		got := replay(t, opts, since(time.Hour))
		wantStory(t, "replay", sink.events[before:], "a 2", "late 1")
		if got.News != 2 || got.Again != 0 || len(sink.dead) != 1 || sink.dead[0].Replay != "" {
			t.Errorf("got %+v and dead letters %+v, want two news and one unmarked dead letter", got, sink.dead)
		}
		before = len(sink.events)
		if err := runFor(t, opts, 10*time.Minute); err != nil {
			t.Fatal(err)
		}
		wantStory(t, "run after it", sink.events[before:])
		replay(t, opts, since(time.Hour))
		wantStory(t, "next replay", sink.events[before:], "a 2 r1", "late 1 r1")
	})
}

// A time that is given up has no entries: nothing is known of its versions.
func TestReplayOfForgottenTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {
			{id: "sealed", created: at(-2 * time.Hour), changes: []time.Time{at(time.Minute)}}, {id: "known", created: at(-time.Minute)},
			{id: "poison", created: at(-2 * time.Hour), fault: fault.Reject("decode", errors.New("no"))},
		}}}
		sink := &memory{}
		opts := options(p, sink)
		if err := runFor(t, opts, 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		before, dead := len(sink.events), len(sink.dead)
		got := replay(t, opts, since(3*time.Hour))
		wantStory(t, "replay", sink.events[before:], "known 1 r1", "sealed 0 r1")
		if len(sink.dead) != dead+1 || sink.dead[dead].Replay != "r1" || got.Dead != 1 {
			t.Errorf("got dead letters %+v, want the one again, marked", sink.dead)
		}
		before = len(sink.events)
		if err := runFor(t, opts, 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		wantStory(t, "run after it", sink.events[before:])
	})
}

// A provider that answers from an old copy must not bring an older version back.
func TestReplayOfOlderVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {
			{id: "ranked", created: at(-time.Minute), changes: []time.Time{at(time.Minute)}},
			{id: "equal rank", created: at(-time.Minute), changes: []time.Time{at(time.Minute)}, rank: 7},
		}}}
		sink := &memory{}
		if err := runFor(t, options(p, sink), 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		for i := range p.rows["s"] {
			p.rows["s"][i].changes = nil
		}
		before := len(sink.events)
		if got := replay(t, options(p, sink), since(time.Hour)); got.Rows != 2 {
			t.Errorf("got %+v, want 2 rows", got)
		}
		wantStory(t, "replay", sink.events[before:])
	})
}

func TestReplayGoesOnAfterErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {}}}
		for i := range 15 {
			p.rows["s"] = append(p.rows["s"], row{id: fmt.Sprint(i), created: at(-time.Duration(10*i+1) * time.Minute)})
		}
		sink := &memory{limits: sinks.Limits{MaxMessages: 2}}
		opts := options(p, sink)
		opts.Accounts[0].GiveUp = 24 * time.Hour
		if err := runFor(t, opts, 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		before, began := len(sink.events), time.Now()
		p.failWith(func(_ string, n int) error {
			if n%2 == 0 {
				return fault.Throttled(5*time.Minute, errTransient)
			}
			return nil
		})
		sink.fail = func(n int, c sinks.Commit) error {
			if len(c.Events) > 2 || len(c.State) == 0 {
				t.Errorf("commit of %d events with %d entries, want at most 2 and some", len(c.Events), len(c.State))
			}
			if n%3 == 0 {
				return errTransient
			}
			return nil
		}
		if got := replay(t, opts, since(4*time.Hour)); got.Again != 15 || len(sink.events)-before != 15 {
			t.Errorf("got %+v and %d events, want 15 again", got, len(sink.events)-before)
		}
		if took := time.Since(began); took < 5*time.Minute {
			t.Errorf("took %v: the provider asked for 5m", took)
		}
	})
}

func TestReplayEndsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {{id: "a", created: at(-150 * time.Minute)}, {id: "b", created: at(-time.Minute)}}}}
		sink := &memory{}
		opts := options(p, sink)
		opts.Accounts[0].GiveUp = 24 * time.Hour
		if err := runFor(t, opts, 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		before, scans := len(sink.events), len(p.of("s"))
		p.failWith(func(_ string, n int) error {
			if n > scans+1 {
				return errTransient
			}
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r := pipeline.New(opts).Replay(since(4 * time.Hour))
		if err := r.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stopped: got %v, want the error of the context", err)
		}
		wantStory(t, "stopped", sink.events[before:], "a 1 r1")
		p.failWith(func(string, int) error { return fatal() })
		if err := pipeline.New(opts).Replay(since(4 * time.Hour)).Run(t.Context()); !fault.IsFatal(err) || !strings.Contains(err.Error(), "account a") {
			t.Errorf("fatal: got %v, want the fatal error", err)
		}
		p.failWith(nil)
		before = len(sink.events)
		replay(t, opts, since(4*time.Hour))
		wantStory(t, "again", sink.events[before:], "a 1 r1", "b 1 r1")
	})
}

func TestReplayGoesOnBehindGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {{id: "a", created: at(-20 * time.Minute)}, {id: "b", created: at(-2 * time.Minute)}}}}
		sink := &memory{}
		if err := runFor(t, options(p, sink), 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		hole := sources.Span{From: at(-15 * time.Minute), To: at(-14 * time.Minute)}
		p.gap = func() *sources.Span { return &hole }
		before, head, began := len(sink.events), string(sink.state["a/s/h"]), time.Now()
		got := replay(t, options(p, sink), since(time.Hour))
		wantStory(t, "replay", sink.events[before:], "a 1 r1", "b 1 r1")
		if len(got.Gaps) != 1 || got.Gaps[0] != hole {
			t.Errorf("got gaps %v, want %v", got.Gaps, hole)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("took %v, want no waiting", took)
		}
		if string(sink.state["a/s/h"]) != head {
			t.Error("the replay changed the head of the ledger")
		}
	})
}

// What the sink refuses of a replay leaves the ledger as it is.
func TestReplayRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {{id: "a", created: at(-time.Minute), changes: []time.Time{at(20 * time.Minute)}}}}}
		sink := &memory{}
		if err := runFor(t, options(p, sink), 10*time.Minute); err != nil {
			t.Fatal(err)
		}
		sink.fail = func(_ int, c sinks.Commit) error {
			if len(c.Events) > 0 {
				return &sinks.RejectedError{Messages: []sinks.Rejection{{Err: errors.New("no")}}}
			}
			return nil
		}
		if got := replay(t, options(p, sink), since(time.Hour)); got.Dead != 1 || got.Again != 0 || sink.dead[0].Replay != "r1" {
			t.Errorf("got %+v, %+v, want one marked dead letter", got, sink.dead)
		}
		sink.fail = nil
		time.Sleep(20 * time.Minute)
		before := len(sink.events)
		if err := runFor(t, options(p, sink), 10*time.Minute); err != nil {
			t.Fatal(err)
		}
		wantStory(t, "next version", sink.events[before:], "a 2")
	})
}
