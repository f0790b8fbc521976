package pipeline_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connector/checkpoint"
	"connector/internal/budget"
	"connector/internal/fault"
	"connector/pipeline"
	"connector/sources"
)

// reads returns when, after its creation, each scan of a time took place.
func (p *provider) reads(created time.Time) (ages []time.Duration) {
	for _, s := range p.scans {
		if s.window.Contains(created) {
			ages = append(ages, s.at.Sub(created))
		}
	}
	return ages
}

// ledger returns what a sink's state says of the stream s of account a.
func (m *memory) ledger(t *testing.T) *checkpoint.Ledger {
	t.Helper()
	var entries []checkpoint.Entry
	for k, v := range m.state {
		if strings.HasPrefix(k, "a/s/") && !checkpoint.Paged(k) {
			entries = append(entries, checkpoint.Entry{Key: k, Value: v})
		}
	}
	l, err := checkpoint.Load("a", sources.Stream{Name: "s", Tick: time.Second}, entries, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestNewestWindowFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, takes: time.Second, rows: map[string][]row{"s": {
			{id: "oldest", created: at(-47 * time.Hour)}, {id: "older", created: at(-20 * time.Hour)}, {id: "newest", created: at(-time.Minute)},
		}}}
		sink := &memory{}
		opts := options(p, sink)
		opts.Start = func(now time.Time) time.Time { return now.Add(-48 * time.Hour) }
		if err := runFor(t, opts, 20*time.Minute); err != nil {
			t.Fatal(err)
		}
		if got, want := sink.versions(), []string{"newest", "oldest", "older"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := sink.ledger(t).In(checkpoint.Unread); len(got) > 0 {
			t.Errorf("still unread: %v", got)
		}
	})
}

// A row is read again at ages that at most grow threefold, and once after its
// lateness, before twice that; all of it takes far less than reading everything young each time.
func TestAgesGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}}
		opts := options(p, &memory{})
		a := &opts.Accounts[0]
		a.Lateness = 64 * a.Poll
		opts.Start = func(now time.Time) time.Time { return now }
		began := time.Now()
		if err := runFor(t, opts, 10*a.Lateness); err != nil {
			t.Fatal(err)
		}
		for created := began.Add(time.Second); created.Before(began.Add(6 * a.Lateness)); created = created.Add(7 * time.Second) {
			ages := p.reads(created)
			last := 2 * a.Poll
			for _, age := range ages {
				if age > last*3+2*a.Poll && last < a.Lateness/2 || last < a.Lateness && age > 2*a.Lateness+2*a.Poll {
					t.Fatalf("created %v: read at age %v, and before at %v: %v", created.Sub(began), age, last, ages)
				}
				last = max(last, age)
			}
			if last < a.Lateness {
				t.Fatalf("created %v: read at last at age %v, want the lateness %v at least: %v", created.Sub(began), last, a.Lateness, ages)
			}
		}
		var read time.Duration
		for _, s := range p.scans {
			read += s.window.To.Sub(s.window.From)
		}
		if whole := time.Duration(len(p.scans)) * a.Lateness; read > whole/8 {
			t.Errorf("read %v of provider time in %d scans, want less than an eighth of %v", read, len(p.scans), whole)
		}
	})
}

// A long backlog holds up neither new rows nor those that appear late.
func TestBacklogHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, takes: 4 * time.Second, rows: map[string][]row{}}
		began := time.Now()
		for i := range 60 {
			created := at(time.Duration(i) * time.Minute)
			p.rows["s"] = append(p.rows["s"], row{id: fmt.Sprint("new ", i), created: created, visible: created},
				row{id: fmt.Sprint("late ", i), created: created, visible: created.Add(45 * time.Second)})
		}
		sink := &memory{}
		opts := options(p, sink)
		opts.Start = func(now time.Time) time.Time { return now.Add(-2000 * time.Hour) }
		if err := runFor(t, opts, time.Hour); err != nil {
			t.Fatal(err)
		}
		if len(sink.ledger(t).In(checkpoint.Unread)) == 0 {
			t.Fatal("the backlog is gone: the test shows nothing")
		}
		for n, e := range sink.events {
			var after time.Duration
			var i int
			if _, err := fmt.Sscanf(e.RecordID, "new %d", &i); err == nil {
				after = 30 * time.Second
			} else if _, err := fmt.Sscanf(e.RecordID, "late %d", &i); err == nil {
				after = 4 * time.Minute
			}
			if got := sink.times[n].Sub(began.Add(time.Duration(i) * time.Minute)); got > after {
				t.Errorf("%q was read %v after its creation, want %v at most", e.RecordID, got, after)
			}
		}
		if got, want := len(sink.events), 110; got < want {
			t.Errorf("got %d events, want %d at least", got, want)
		}
	})
}

// A window that fails again and again stays unread, is shown, and holds up
// nothing else.
func TestFailingWindowHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := at(-20*time.Hour - time.Minute)
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {
			{id: "old", created: at(-47 * time.Hour)}, {id: "hidden", created: bad}, {id: "middle", created: at(-10 * time.Hour)},
			{id: "later", created: at(90 * time.Minute), visible: at(90 * time.Minute)},
		}}}
		healed := false
		p.refuse = func(w sources.Span) error {
			if w.Contains(bad) && !healed {
				return errTransient
			}
			return nil
		}
		sink := &memory{}
		opts := options(p, sink)
		opts.Start = func(now time.Time) time.Time { return now.Add(-48 * time.Hour) }
		pipe := pipeline.New(opts)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		if err := pipe.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if got, want := sink.versions(), []string{"old", "middle", "later"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := pipe.Streams()[0].Read; got.Unread == 0 || got.Unread > 3700 || got.Frontier.After(bad) {
			t.Errorf("got %+v, want an hour unread and the frontier before it", got)
		}
		healed = true
		if err := runFor(t, opts, 2*time.Hour); err != nil {
			t.Fatal(err)
		}
		if got := sink.versions(); !slices.Contains(got, "hidden") {
			t.Errorf("got %q, want the hidden row as well", got)
		}
	})
}

// What a provider refuses, such as all that it keeps no longer, does not hold up
// what lies behind it, however many windows that are.
func TestManyFailingWindowsHoldNothingUp(t *testing.T) {
	for _, marked := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			kept := at(-50 * time.Hour)
			p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {{id: "kept", created: kept.Add(5 * time.Hour)}}}}
			p.refuse = func(w sources.Span) error {
				if w.From.Before(kept) {
					return errTransient
				}
				return nil
			}
			sink := &memory{}
			opts := options(p, sink)
			start := at(-500 * time.Hour)
			if marked {
				opts.Backfill = &pipeline.Backfill{Span: sources.Span{From: start, To: at(0)}}
			} else {
				opts.Start = func(time.Time) time.Time { return start }
			}
			if err := runFor(t, opts, 6*time.Hour); err != nil {
				t.Fatal(err)
			}
			if got, want := sink.versions(), []string{"kept"}; !slices.Equal(got, want) {
				t.Errorf("marked for backfill %v: got %q, want %q", marked, got, want)
			}
			last := p.scans[len(p.scans)-20:]
			if !slices.ContainsFunc(last, func(s scan) bool { return s.window.From.Before(kept) }) {
				t.Errorf("marked for backfill %v: what was refused is not tried again", marked)
			}
		})
	}
}

// Gaps are tried again, in a fifth of the time.
func TestGapsTakeAFifth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hole := sources.Span{From: at(-10 * time.Minute).Truncate(time.Second), To: at(-5 * time.Minute).Truncate(time.Second)}
		p := &provider{streams: []string{"s"}, takes: 20 * time.Second, gap: func() *sources.Span { return &hole }}
		opts := options(p, &memory{})
		opts.Accounts[0].GiveUp = 10 * time.Hour
		if err := runFor(t, opts, 8*time.Hour); err != nil {
			t.Fatal(err)
		}
		var spent time.Duration
		for _, s := range p.scans {
			if s.window.Contains(hole.From) {
				spent += p.takes
			}
		}
		if least, most := 8*time.Hour/10, 8*time.Hour/4; spent < least || spent > most {
			t.Errorf("gaps took %v of 8h, want %v to %v", spent, least, most)
		}
	})
}

// Nothing proves itself for hours: what is older than its lateness is read again
// as gaps are, and not with the newest window.
func TestOldGapsAreNotYoung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, takes: time.Second}
		p.refuse = func(w sources.Span) error {
			return &sources.GapError{Span: sources.Span{From: w.From, To: earliest(w.To, w.From.Add(10*time.Minute))}, Reason: "too many rows"}
		}
		opts := options(p, &memory{})
		opts.Start = func(now time.Time) time.Time { return now }
		opts.Accounts[0].Lateness, opts.Accounts[0].GiveUp = 10*time.Minute, 24*time.Hour
		if err := runFor(t, opts, 6*time.Hour); err != nil {
			t.Fatal(err)
		}
		old := 0
		for _, s := range p.scans {
			if s.window.From.Before(s.at.Add(-21 * time.Minute)) {
				old++
			}
		}
		if least, most := 500, 666; old < least || old > most { // 36 latenesses, and each gap once in each that follows
			t.Errorf("got %d of %d scans of old gaps, want %d to %d", old, len(p.scans), least, most)
		}
	})
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// A window full of gaps yields as others do.
func TestGapsYield(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, takes: time.Second, rows: map[string][]row{"s": {{id: "old", created: at(-2 * time.Hour)}}}}
		began := time.Now()
		p.refuse = func(w sources.Span) error {
			if w.To.Before(began.Add(-time.Hour)) {
				return nil
			}
			return &sources.GapError{Span: sources.Span{From: w.From, To: w.From}, Reason: "too many rows"}
		}
		sink := &memory{}
		if err := runFor(t, options(p, sink), 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		if got, want := sink.versions(), []string{"old"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if end := sink.ledger(t).End(); end.Before(began.Add(-time.Hour + time.Minute)) {
			t.Errorf("got %v as the end of what was read, want it to advance", end)
		}
	})
}

// TestSilenceIsLogged reads a log with one record: each silence is logged once.
func TestSilenceIsLogged(t *testing.T) {
	for hours, want := range map[int]int{20: 0, 28: 1, 48: 1, 72: 2} {
		synctest.Test(t, func(t *testing.T) {
			p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {{id: "only", created: at(30 * time.Hour)}}}}
			opts := options(p, &memory{})
			opts.Accounts[0].Poll = 10 * time.Minute
			var log bytes.Buffer
			opts.Log = slog.New(slog.NewTextHandler(&log, nil))
			if err := runFor(t, opts, time.Duration(hours)*time.Hour); err != nil {
				t.Fatal(err)
			}
			if got := strings.Count(log.String(), "no record for more than a day"); got != want {
				t.Errorf("in %d hours: got %d lines, want %d", hours, got, want)
			}
		})
	}
}

// The provider answers without rows for half a day, because a right was
// missing for example. What it then shows of that time is found.
func TestSilenceIsReadAgain(t *testing.T) {
	for _, change := range []string{"a first row", "the configuration"} {
		synctest.Test(t, func(t *testing.T) {
			shown := at(12 * time.Hour)
			p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {
				{id: "at first", created: at(time.Hour), visible: shown}, {id: "in the middle", created: at(6 * time.Hour), visible: shown},
			}}}
			if change == "a first row" {
				p.rows["s"] = append(p.rows["s"], row{id: "last", created: shown, visible: shown})
			}
			sink := &memory{}
			opts := options(p, sink)
			opts.Accounts[0].Digest = "before"
			pipe := pipeline.New(opts)
			ctx, cancel := context.WithTimeout(t.Context(), 12*time.Hour-time.Minute)
			defer cancel()
			began := time.Now()
			if err := pipe.Run(ctx); err != nil {
				t.Fatal(err)
			}
			if got, want := pipe.Streams()[0].Read.SilentSince, began.Add(-3*time.Hour); !got.Equal(want) {
				t.Errorf("%s: silent since: got %v, want %v", change, got, want)
			}
			if got := sink.ledger(t).Frontier(); got.Before(began.Add(11 * time.Hour)) {
				t.Errorf("%s: frontier: got %v, want it to advance", change, got)
			}
			time.Sleep(2 * time.Minute)
			if change == "the configuration" {
				opts.Accounts[0].Digest = "after"
			}
			if err := runFor(t, opts, time.Hour); err != nil {
				t.Fatal(err)
			}
			got := sink.versions()
			slices.Sort(got)
			want := []string{"at first", "in the middle", "last"}
			if change == "the configuration" {
				want = want[:2]
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: got %q, want %q", change, got, want)
			}
		})
	}
}

func TestOtherOwnerIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, owner: "ACME", rows: map[string][]row{"s": {{id: "a", created: at(-time.Minute)}}}}
		sink := &memory{}
		if err := runFor(t, options(p, sink), time.Minute); err != nil {
			t.Fatal(err)
		}
		p.owner, p.rows["s"] = "Other Inc", append(p.rows["s"], row{id: "b", created: at(-time.Minute)})
		err := runFor(t, options(p, sink), time.Minute)
		if err == nil || !strings.Contains(err.Error(), "records of Other Inc") || !strings.Contains(err.Error(), "account name of its own") {
			t.Errorf("got %v, want an error that names the owner and the remedy", err)
		}
		if got, want := sink.versions(), []string{"a"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestSavepointEveryHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &memory{}
		if err := runFor(t, options(&provider{streams: []string{"s"}}, sink), 10*time.Hour+time.Minute); err != nil {
			t.Fatal(err)
		}
		saved := sink.ledger(t).Savepoints()
		if len(saved) < 10 || len(saved) > 11 {
			t.Errorf("got %d savepoints in 10 hours, want 10 or 11", len(saved))
		}
	})
}

// All streams of a credential wait when the provider throttles one.
func TestThrottledCredentialWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := budget.New(0)
		p, q := &provider{streams: []string{"s"}}, &provider{streams: []string{"s"}}
		p.failWith(func(_ string, n int) error {
			if n == 3 {
				return fault.Throttled(10*time.Minute, errTransient)
			}
			return nil
		})
		opts := options(p, &memory{})
		opts.Accounts[0].Budget = shared
		other := opts.Accounts[0]
		other.Name, other.Source = "b", q
		opts.Accounts = append(opts.Accounts, other)
		if err := runFor(t, opts, time.Hour); err != nil {
			t.Fatal(err)
		}
		hit := p.scans[2].at
		for _, s := range slices.Concat(p.scans, q.scans) {
			if after := s.at.Sub(hit); after > 0 && after < 10*time.Minute {
				t.Fatalf("a request %v after the provider asked for 10 minutes", after)
			}
		}
	})
}

// Reading once ends when everything was read, not when what fails was put off.
func TestOnceWaitsForFailingWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		healthy := at(2 * time.Hour)
		old := at(-20 * time.Hour)
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {{id: "old", created: old}, {id: "new", created: at(-time.Minute)}}}}
		p.refuse = func(w sources.Span) error {
			if w.Contains(old) && time.Now().Before(healthy) {
				return errTransient
			}
			return nil
		}
		sink := &memory{}
		opts := options(p, sink)
		opts.Once, opts.Start = true, func(now time.Time) time.Time { return now.Add(-48 * time.Hour) }
		if err := runFor(t, opts, 24*time.Hour); err != nil {
			t.Fatal(err)
		}
		if got, want := sink.versions(), []string{"new", "old"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
