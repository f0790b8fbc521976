package pipeline_test

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"connector/checkpoint"
	"connector/internal/budget"
	"connector/internal/fault"
	"connector/pipeline"
	"connector/schema"
	"connector/sinks"
	"connector/sources"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func at(d time.Duration) time.Time { return time.Now().Add(d) }

func TestRunPublishesEachVersionOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {
			{id: "old", created: at(-2 * time.Hour)},
			{id: "before start", created: at(-4 * time.Hour)},
			{id: "late", created: at(-20 * time.Second), visible: at(25 * time.Second)},
			{id: "new", created: at(30 * time.Second), visible: at(30 * time.Second)},
			{id: "changes young", created: at(-10 * time.Second), changes: []time.Time{at(15 * time.Second), at(4 * time.Minute)}, final: true},
			{id: "changes old", created: at(-30 * time.Minute), changes: []time.Time{at(5 * time.Minute)}, final: true},
		}}}
		sink := &memory{}
		if err := runFor(t, options(p, sink), 10*time.Minute); err != nil {
			t.Fatal(err)
		}
		got := sink.versions()
		slices.Sort(got)
		want := []string{"changes old", "changes old", "changes young", "changes young", "changes young", "late", "new", "old"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestRestartPublishesNothingAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {{id: "young", created: at(-10 * time.Second)}, {id: "old", created: at(-2 * time.Hour)}}}}
		sink := &memory{}
		for range 3 {
			if err := runFor(t, options(p, sink), time.Minute); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Minute)
		}
		if got, want := sink.versions(), []string{"young", "old"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// A start in the future, mistyped perhaps, holds only as long as it is configured.
func TestStartInTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {
			{id: "before start", created: at(-4 * time.Hour)}, {id: "old", created: at(-2 * time.Hour)}, {id: "new", created: at(-time.Minute)},
		}}}
		sink := &memory{}
		started := func(start time.Duration, more time.Duration) string {
			var log strings.Builder
			opts := options(p, sink)
			opts.Log = slog.New(slog.NewTextHandler(&log, nil))
			opts.Start = func(now time.Time) time.Time { return now.Add(start) }
			if more != 0 {
				opts.Backfill = &pipeline.Backfill{Span: sources.Span{From: time.Now().Add(-5 * time.Hour), To: time.Now().Add(more)}}
			}
			if err := runFor(t, opts, 10*time.Minute); err != nil {
				t.Fatal(err)
			}
			return log.String()
		}
		for range 2 {
			if got := strings.Count(started(24*365*time.Hour, 0), "start lies in the future"); got != 1 {
				t.Errorf("it was said %d times that nothing is read, want once", got)
			}
		}
		if got := sink.versions(); len(got) != 0 {
			t.Errorf("got %q before the start, want nothing", got)
		}
		started(24*365*time.Hour, -90*time.Minute)
		if got, want := sink.versions(), []string{"before start", "old"}; !slices.Equal(got, want) {
			t.Errorf("got %q by backfill, want %q", got, want)
		}
		started(-3*time.Hour, 0)
		if got, want := sink.versions(), []string{"before start", "old", "new"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		started(-24*time.Hour, 0)
		if got := sink.versions(); len(got) != 3 {
			t.Errorf("got %q after a later change of the start, want nothing more", got)
		}
	})
}

// A clock of the provider that is set back makes the start seem to lie in the future. What was read
// keeps its start: a later one would skip what is unread, an earlier one read what nobody asked for.
func TestStartOutlivesAClockSetBack(t *testing.T) {
	for _, start := range []time.Duration{-366 * 24 * time.Hour, -time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {
				{id: "before start", created: at(-10 * time.Hour)}, {id: "refused", created: at(-150 * time.Minute)}, {id: "new", created: at(-time.Minute)},
			}}}
			p.refuse = func(w sources.Span) error {
				if w.Contains(at(-150 * time.Minute)) {
					return errTransient
				}
				return nil
			}
			sink := &memory{}
			if err := runFor(t, options(p, sink), time.Minute); err != nil {
				t.Fatal(err)
			}
			p.refuse, p.now = nil, func() time.Time { return time.Now().Add(-365 * 24 * time.Hour) }
			opts := options(p, sink)
			opts.Start = func(time.Time) time.Time { return at(start) }
			if err := runFor(t, opts, time.Minute); err != nil {
				t.Fatal(err)
			}
			p.now = nil
			if err := runFor(t, opts, 10*time.Minute); err != nil {
				t.Fatal(err)
			}
			if got, want := sink.versions(), []string{"new", "refused"}; !slices.Equal(got, want) {
				t.Errorf("started %v from then on: got %q, want %q", start, got, want)
			}
		})
	}
}

// A row that shows up while the connector is down, in a range that was read
// when it was young, must not be lost.
func TestLateRowDuringOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {{id: "late", created: at(20 * time.Second), visible: at(70 * time.Second)}}}}
		sink := &memory{}
		for range 2 {
			if err := runFor(t, options(p, sink), time.Minute); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Hour)
		}
		if got, want := sink.versions(), []string{"late"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestOnceReadsUpToItsStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {
			{id: "just before", created: at(0)},
			{id: "after", created: at(20 * time.Second), visible: at(0)},
		}}}
		sink := &memory{}
		opts := options(p, sink)
		opts.Once = true
		if err := pipeline.New(opts).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, want := sink.versions(), []string{"just before"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if got, limit := time.Since(began), 10*time.Second; got > limit {
			t.Errorf("took %v, want at most %v", got, limit)
		}
	})
}

func TestTransientErrorsLoseNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{
			streams: []string{"s"}, rows: map[string][]row{"s": {{id: "a", created: at(-2 * time.Hour)}, {id: "b", created: at(-time.Minute)}}},
			fail: func(_ string, n int) error {
				if n%3 == 0 {
					return errTransient
				}
				return nil
			},
		}
		sink := &memory{fail: func(n int, _ sinks.Commit) error {
			if n%2 == 1 {
				return errTransient
			}
			return nil
		}}
		if err := runFor(t, options(p, sink), time.Hour); err != nil {
			t.Fatal(err)
		}
		if got, want := sink.versions(), []string{"b", "a"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestFatalStopsOneStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{
			streams: []string{"bad", "good"}, rows: map[string][]row{"good": {{id: "a", created: at(-time.Minute)}}},
			fail: func(s string, _ int) error {
				if s == "bad" {
					return fatal()
				}
				return nil
			},
		}
		sink := &memory{}
		pipe := pipeline.New(options(p, sink))
		done := make(chan error)
		go func() { done <- pipe.Run(t.Context()) }()
		time.Sleep(time.Minute)
		if !pipe.Ready() || !pipe.Alive() {
			t.Errorf("got ready %v, alive %v, want both", pipe.Ready(), pipe.Alive())
		}
		if got := pipe.Streams(); !got[0].Stopped || !strings.Contains(got[0].Error, "set A_KEY") || got[1].Stopped {
			t.Errorf("streams: got %+v, want the first stopped with its remedy", got)
		}
		if got, want := sink.versions(), []string{"a"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		p.failWith(func(string, int) error { return fatal() })
		err := <-done
		if !fault.IsFatal(err) || pipe.Ready() {
			t.Errorf("all stopped: got %v, ready %v, want the fatal error, not ready", err, pipe.Ready())
		}
	})
}

func TestThrottleHoldsTheAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s", "t"}, fail: func(s string, n int) error {
			if s == "s" && n == 4 {
				return fault.Throttled(5*time.Minute, errTransient)
			}
			return nil
		}}
		began := time.Now()
		if err := runFor(t, options(p, &memory{}), 20*time.Minute); err != nil {
			t.Fatal(err)
		}
		scans := p.of("t")
		longest := time.Duration(0)
		for i := 1; i < len(scans); i++ {
			longest = max(longest, scans[i].at.Sub(scans[i-1].at))
		}
		if longest < 4*time.Minute+50*time.Second || longest > 5*time.Minute+10*time.Second {
			t.Errorf("longest pause of the other stream: got %v, want about 5m", longest)
		}
		if got := time.Since(began); got != 20*time.Minute {
			t.Errorf("ended after %v", got)
		}
	})
}

func TestPoisonBecomesDeadLetterOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {
			{id: "good 1", created: at(-time.Minute)},
			{id: "poison", created: at(-time.Minute), fault: fault.Reject("decode", errors.New("not an object"))},
			{id: "unordered", created: at(-time.Minute), rank: -7},
			{id: "good 2", created: at(-time.Minute)},
			{id: "refused", created: at(-time.Minute)},
			{id: "huge" + strings.Repeat("!", 2000), created: at(-time.Minute)},
			{id: "wordy", created: at(-time.Minute), fault: fault.Reject("decode", errors.New(strings.Repeat("试", 2000)))},
		}}}
		sink := &memory{limits: sinks.Limits{MaxMessageBytes: 2000}, fail: func(_ int, c sinks.Commit) error {
			i := slices.IndexFunc(c.Events, func(m schema.Message) bool { return m.RecordID == "refused" })
			if i >= 0 {
				return &sinks.RejectedError{Messages: []sinks.Rejection{{Index: i, Err: errors.New("no")}}}
			}
			return nil
		}}
		if err := runFor(t, options(p, sink), 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		if got, want := sink.versions(), []string{"good 1", "good 2"}; !slices.Equal(got, want) {
			t.Errorf("events: got %q, want %q", got, want)
		}
		var classes []string
		for _, m := range sink.dead {
			_, class, _ := strings.Cut(string(m.Body), `"class":"`)
			class, _, _ = strings.Cut(class, `"`)
			classes = append(classes, class)
		}
		if got, want := fmt.Sprint(classes), "[decode rank too_large decode sink]"; got != want {
			t.Errorf("dead letters: got %s, want %s", got, want)
		}
	})
}

func TestFencedStopsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s", "t"}}
		err := runFor(t, options(p, &memory{fail: func(int, sinks.Commit) error { return sinks.ErrFenced }}), time.Hour)
		if !errors.Is(err, sinks.ErrFenced) {
			t.Errorf("got %v, want ErrFenced", err)
		}
	})
}

func TestDamagedCheckpointIsRefused(t *testing.T) {
	sink := &memory{state: map[string][]byte{"a/s/h": {9}}}
	err := pipeline.New(options(&provider{streams: []string{"s"}}, sink)).Run(t.Context())
	if !fault.IsFatal(err) || !strings.Contains(err.Error(), "restore the checkpoint") {
		t.Errorf("got %v, want a fatal error with a remedy", err)
	}
}

func TestCommitsKeepTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, rows: map[string][]row{}}
		for i := range 25 {
			p.rows["s"] = append(p.rows["s"], row{id: fmt.Sprint(i), created: at(-time.Minute)})
		}
		largest := 0
		sink := &memory{limits: sinks.Limits{MaxMessages: 10 + checkpoint.MaxEntries}, fail: func(_ int, c sinks.Commit) error {
			largest = max(largest, len(c.Events))
			return nil
		}}
		if err := runFor(t, options(p, sink), time.Minute); err != nil {
			t.Fatal(err)
		}
		if got := len(sink.versions()); got != 25 || largest != 10 {
			t.Errorf("got %d events, at most %d in a commit, want 25 and 10", got, largest)
		}
	})
}

// A stream that waits for its turn at a slow provider is alive; one that
// hangs is not.
func TestAlive(t *testing.T) {
	for name, tt := range map[string]struct {
		interval time.Duration
		want     bool
	}{"slow provider": {time.Minute, true}, "hang": {time.Second, false}} {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			p := &provider{streams: []string{"s"}, fail: func(string, int) error { <-release; return nil }}
			opts := options(p, &memory{})
			opts.Accounts[0].Budget = budget.New(tt.interval)
			pipe := pipeline.New(opts)
			done := make(chan error)
			go func() { done <- pipe.Run(t.Context()) }()
			time.Sleep(30 * time.Minute)
			if got := pipe.Alive(); got != tt.want {
				t.Errorf("%s: got alive %v, want %v", name, got, tt.want)
			}
			p.failWith(func(string, int) error { return fatal() })
			close(release)
			<-done
		})
	}
}

// A page that went bad after the start stops the stream that needs it.
func TestDamagedPageIsFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, rows: map[string][]row{}}
		for i := range 100 {
			when := at(time.Duration(i) * 10 * time.Second)
			p.rows["s"] = append(p.rows["s"], row{id: fmt.Sprint(i), created: when, visible: when})
		}
		sink := &memory{}
		if err := runFor(t, options(p, sink), 20*time.Minute); err != nil {
			t.Fatal(err)
		}
		damaged := 0
		for key, value := range sink.state {
			if checkpoint.Paged(key) {
				value[len(value)/2] ^= 1
				damaged++
			}
		}
		err := runFor(t, options(p, sink), 20*time.Minute)
		if damaged == 0 || !fault.IsFatal(err) || !strings.Contains(err.Error(), "restore the checkpoint") {
			t.Errorf("%d pages damaged: got %v, want a fatal error with a remedy", damaged, err)
		}
		if got, want := len(sink.versions()), 100; got != want {
			t.Errorf("got %d events, want %d", got, want)
		}
	})
}

// A span that cannot be proven holds up nothing behind it, survives a restart
// as a gap, and is closed once it can be proven.
func TestGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		hole := sources.Span{From: at(-30 * time.Minute), To: at(-30 * time.Minute)}
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {
			{id: "before", created: at(-2 * time.Hour)}, {id: "inside", created: hole.From}, {id: "behind", created: at(-time.Minute)},
		}}}
		p.gap = func() *sources.Span {
			if time.Since(began) < 10*time.Minute {
				return &hole
			}
			return nil
		}
		sink := &memory{}
		gaps := func() int {
			var entries []checkpoint.Entry
			for k, v := range sink.state {
				if !checkpoint.Paged(k) {
					entries = append(entries, checkpoint.Entry{Key: k, Value: v})
				}
			}
			l, err := checkpoint.Load("a", sources.Stream{Name: "s", Tick: time.Second}, entries, nil)
			if err != nil {
				t.Fatal(err)
			}
			return len(l.In(checkpoint.Gap))
		}
		for _, want := range []int{1, 0} {
			if err := runFor(t, options(p, sink), 7*time.Minute); err != nil {
				t.Fatal(err)
			}
			if got := gaps(); got != want {
				t.Errorf("after %v: got %d gaps, want %d", time.Since(began), got, want)
			}
		}
		got := sink.versions()
		slices.Sort(got)
		if want := []string{"before", "behind", "inside"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// A sink that hangs delays the end by one grace period, not by one per stream.
func TestShutdownWithHangingSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"a", "b", "c", "d"}}
		sink := &memory{hang: true}
		began := time.Now()
		if err := runFor(t, options(p, sink), time.Minute); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(began) - time.Minute; got > 9*time.Second {
			t.Errorf("stopping took %v, want at most 9s", got)
		}
	})
}

// A chunk that takes many commits is left after the one in hand.
func TestShutdownInTheMiddleOfAChunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, rows: map[string][]row{}}
		for i := range 100 {
			p.rows["s"] = append(p.rows["s"], row{id: fmt.Sprint(i), created: at(-time.Minute)})
		}
		sink := &memory{limits: sinks.Limits{MaxMessages: 10 + checkpoint.MaxEntries}, fail: func(int, sinks.Commit) error {
			time.Sleep(7 * time.Second)
			return nil
		}}
		began := time.Now()
		if err := runFor(t, options(p, sink), 30*time.Second); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(began) - 30*time.Second; got > 9*time.Second {
			t.Errorf("stopping took %v, want at most 9s", got)
		}
		if err := runFor(t, options(p, sink), 3*time.Minute); err != nil {
			t.Fatal(err)
		}
		if got := sink.versions(); len(got) != 100 {
			t.Errorf("got %d events, want 100", len(got))
		}
	})
}

// One answer with a time far ahead must not settle what is still to come.
func TestProviderClockJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {{id: "later", created: at(20 * time.Minute), visible: at(20 * time.Minute)}}}}
		p.now = func() time.Time {
			if d := time.Since(began); d > 5*time.Minute && d < 5*time.Minute+10*time.Second {
				return time.Now().Add(2 * time.Hour)
			}
			return time.Now()
		}
		sink := &memory{}
		if err := runFor(t, options(p, sink), time.Hour); err != nil {
			t.Fatal(err)
		}
		if got, want := sink.versions(), []string{"later"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// A clock that was set is believed by the second answer.
func TestProviderClockIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {{id: "ahead", created: at(70 * time.Minute)}}}}
		p.now = func() time.Time {
			if time.Since(began) > 5*time.Minute {
				return time.Now().Add(time.Hour)
			}
			return time.Now()
		}
		sink := &memory{}
		if err := runFor(t, options(p, sink), 15*time.Minute); err != nil {
			t.Fatal(err)
		}
		if got, want := sink.versions(), []string{"ahead"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// Throttling holds the other streams also in the middle of a pass.
func TestThrottleInBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		p := &provider{streams: []string{"s", "t"}, fail: func(s string, n int) error {
			time.Sleep(time.Second)
			if s == "s" && n == 3 {
				return fault.Throttled(5*time.Minute, errTransient)
			}
			return nil
		}}
		opts := options(p, &memory{})
		opts.Start = func(now time.Time) time.Time { return now.Add(-30 * time.Hour) }
		if err := runFor(t, opts, 4*time.Minute); err != nil {
			t.Fatal(err)
		}
		for _, s := range p.of("t") {
			if d := s.at.Sub(began); d > 5*time.Second {
				t.Errorf("request %v after the start, while the account is throttled", d)
			}
		}
	})
}

// Reading open hours again must not hold up the head.
func TestWatchLeavesTimeForTheHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, rows: map[string][]row{}, fail: func(string, int) error { time.Sleep(2 * time.Second); return nil }}
		for i := range 70 {
			p.rows["s"] = append(p.rows["s"], row{id: fmt.Sprint(i), created: at(-time.Duration(2*i) * time.Hour)})
		}
		opts := options(p, &memory{})
		opts.Accounts[0].GiveUp = 150 * time.Hour
		opts.Start = func(now time.Time) time.Time { return now.Add(-145 * time.Hour) }
		if err := runFor(t, opts, 3*time.Hour); err != nil {
			t.Fatal(err)
		}
		var head time.Time
		longest := time.Duration(0)
		for _, s := range p.of("s") {
			if s.at.Sub(s.window.To) < 10*time.Second {
				if !head.IsZero() {
					longest = max(longest, s.at.Sub(head))
				}
				head = s.at
			}
		}
		if longest > 30*time.Second {
			t.Errorf("the head was not read for %v", longest)
		}
	})
}

// Once reads changes of older rows, too.
func TestOnceReadsChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {{id: "a", created: at(-time.Minute), changes: []time.Time{at(30 * time.Minute)}}}}}
		sink := &memory{}
		opts := options(p, sink)
		opts.Once = true
		for range 2 {
			if err := pipeline.New(opts).Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(40 * time.Minute)
		}
		if got, want := sink.versions(), []string{"a", "a"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
