package pipeline_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"

	"connector/checkpoint"
	"connector/internal/fault"
	"connector/pipeline"
	"connector/schema"
	"connector/sinks"
	"connector/sources"
)

var (
	letterHistories = flag.Int("letters.histories", 30, "random histories of dead letters")
	letterSeed      = flag.Uint64("letters.seed", 1, "of the first of them")
)

// TestLetterHistories runs, retries and replays while rows are poison, mended and changed,
// and processes crash before and after their commits. Whatever happens, versions
// are published once and advance, and a resolution comes with the event.
func TestLetterHistories(t *testing.T) {
	for i := range *letterHistories {
		seed := *letterSeed + uint64(i)
		synctest.Test(t, func(t *testing.T) {
			h := newLetterHistory(seed)
			for range 14 {
				h.step(t)
			}
			h.finish(t)
			if t.Failed() { // then Test does not return
				t.Logf("see it again: -run LetterHistories -letters.histories 1 -letters.seed %d", seed)
			}
		})
	}
}

// letterHistory is one random history.
type letterHistory struct {
	rng    *rand.Rand
	p      *provider
	sink   *crashing
	opts   pipeline.Options
	mended map[string]time.Time // "record version" of poison ones: when they are no more
	kind   map[string]int
}

// The kinds of poison.
const (
	unfit    = iota // no event can be made of it
	garbled         // neither rank nor print are known
	unwanted        // the sink refuses the event
	kinds
)

func newLetterHistory(seed uint64) *letterHistory {
	h := &letterHistory{rng: rand.New(rand.NewPCG(seed, 1)), mended: map[string]time.Time{}, kind: map[string]int{}}
	h.p = &provider{streams: []string{"s"}, rows: map[string][]row{}, spoil: h.spoil}
	h.p.unfit = func(r sources.Record) bool { return h.poison(r.ID, r.Print, unfit) }
	for i := range 10 {
		r := row{id: fmt.Sprint("r", i), created: at(-h.upTo(30 * time.Minute))}
		for last := at(0); len(r.changes) < 4 && h.rng.IntN(2) == 0; {
			last = last.Add(time.Minute + h.upTo(time.Hour))
			r.changes = append(r.changes, last)
		}
		r.final = h.rng.IntN(3) == 0
		for v := range len(r.changes) + 1 {
			if key := fmt.Sprint(r.id, " ", v+1); h.rng.IntN(2) == 0 {
				h.mended[key], h.kind[key] = at(h.upTo(3*time.Hour)), h.rng.IntN(kinds)
			}
		}
		h.p.rows["s"] = append(h.p.rows["s"], r)
	}
	h.sink = &crashing{memory: &memory{promise: promises[h.rng.IntN(len(promises))]}, h: h, pending: map[string]bool{}, owed: map[string]bool{}, known: map[string]bool{}, last: map[string][2]int{}}
	if h.rng.IntN(2) == 0 {
		h.sink.limits.MaxMessages = checkpoint.MaxEntries + 3
	}
	h.opts = options(h.p, h.sink)
	h.opts.Accounts[0].GiveUp = 24 * time.Hour
	start := at(-3 * time.Hour) // however late the first run is
	h.opts.Start = func(time.Time) time.Time { return start }
	return h
}

func (h *letterHistory) upTo(d time.Duration) time.Duration {
	return time.Duration(h.rng.Int64N(int64(d))).Truncate(time.Second)
}

func (h *letterHistory) poison(id, version string, kind int) bool {
	key := id + " " + version
	until, ok := h.mended[key]
	return ok && h.kind[key] == kind && time.Now().Before(until)
}

func (h *letterHistory) spoil(list []sources.Record, _ sources.Span) []sources.Record {
	for i := range list {
		if r := &list[i]; h.poison(r.ID, r.Print, garbled) {
			r.Fault, r.Print, r.Rank, r.Terminal = fault.Reject("decode", errors.New("garbled")), "g"+r.Print, sources.UnknownRank, false
		}
	}
	return list
}

// step does one thing; some crash.
func (h *letterHistory) step(t *testing.T) {
	time.Sleep(h.upTo(20 * time.Minute))
	if h.sink.crashAt = 0; h.rng.IntN(3) == 0 {
		h.sink.crashAt, h.sink.after = h.sink.n+1+h.rng.IntN(4), h.rng.IntN(2) == 0
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var err error
	switch h.rng.IntN(4) {
	case 0, 1:
		err = pipeline.New(h.opts).Run(ctx)
	case 2:
		err = pipeline.New(h.opts).Retry(pipeline.Retry{ID: "t", Letters: h.sink.unresolved, Dry: h.rng.IntN(4) == 0}).Run(ctx)
	case 3:
		err = pipeline.New(h.opts).Replay(since(6 * time.Hour)).Run(ctx)
	}
	if err != nil && !errors.Is(err, errCrash) {
		t.Error(err)
	}
	h.sink.report(t)
}

// finish mends everything: then every last version is published and nothing is unresolved.
func (h *letterHistory) finish(t *testing.T) {
	time.Sleep(5 * time.Hour)
	h.sink.crashAt = 0
	if err := runFor(t, h.opts, 10*time.Minute); err != nil {
		t.Error(err)
	}
	err := pipeline.New(h.opts).Retry(pipeline.Retry{ID: "t", Letters: h.sink.unresolved}).Run(t.Context())
	if err == nil {
		err = runFor(t, h.opts, 10*time.Minute)
	}
	if err != nil {
		t.Error(err)
	}
	h.sink.report(t)
	h.sink.nothingUnresolved(t)
	for _, r := range h.p.rows["s"] {
		if got, want := h.sink.last[r.id][0], len(r.changes)+1; got != want {
			t.Errorf("%s: got version %d in the end, want %d", r.id, got, want)
		}
	}
}

var errCrash = errors.New("crash")

// crashing is a memory that checks each commit and dies at one.
type crashing struct {
	*memory
	h       *letterHistory
	crashAt int
	after   bool // whether the commit at which it dies is stored

	pending map[string]bool   // records with a dead letter and no resolution behind it
	owed    map[string]bool   // those of which one was no repetition by a replay
	known   map[string]bool   // event ids
	last    map[string][2]int // version and revision published last
	faults  []string
}

func (c *crashing) Open(context.Context, string) (sinks.Session, error) { return c, nil }

func (c *crashing) Commit(ctx context.Context, m sinks.Commit) error {
	if c.crashAt > 0 && c.n+1 >= c.crashAt && !c.after {
		return fault.Fatal(errCrash, "")
	}
	var rejected sinks.RejectedError
	for i, e := range m.Events {
		if c.h.poison(e.RecordID, version(e), unwanted) {
			rejected.Messages = append(rejected.Messages, sinks.Rejection{Index: i, Err: errors.New("unwanted")})
		}
	}
	if len(rejected.Messages) > 0 {
		return &rejected
	}
	if err := c.memory.Commit(ctx, m); err != nil {
		return err
	}
	c.check(m)
	if c.crashAt > 0 && c.n >= c.crashAt {
		return fault.Fatal(errCrash, "")
	}
	return nil
}

var versionField = regexp.MustCompile(`\\"v\\":(\d+)`)

// version returns the version of an event of the provider.
func version(m schema.Message) string { return string(versionField.FindSubmatch(m.Body)[1]) }

func (c *crashing) fault(format string, args ...any) {
	c.faults = append(c.faults, fmt.Sprintf(format, args...))
}

func (c *crashing) check(m sinks.Commit) {
	due, settled := map[string]bool{}, map[string]bool{}
	for _, e := range m.Events {
		var body schema.Event
		if err := json.Unmarshal(e.Body, &body); err != nil {
			c.fault("%v", err)
		}
		v, _ := strconv.Atoi(version(e))
		last := c.last[e.RecordID]
		if e.Replay != "" {
			if v != last[0] {
				c.fault("%s: version %d is published again, the last one is %d", e.RecordID, v, last[0])
			}
			continue
		}
		if v <= last[0] || body.Record.Revision != last[1]+1 || c.known[e.ID] {
			c.fault("%s: version %d, revision %d follows %v", e.RecordID, v, body.Record.Revision, last)
		}
		c.last[e.RecordID], c.known[e.ID] = [2]int{v, body.Record.Revision}, true
		due[e.RecordID] = c.owed[e.RecordID]
	}
	for _, d := range m.Dead {
		if d.Type != schema.ResolutionType {
			c.pending[d.RecordID] = true
			c.owed[d.RecordID] = c.owed[d.RecordID] || d.Replay == ""
			continue
		}
		var r schema.Resolution
		if err := json.Unmarshal(d.Body, &r); err != nil || !c.known[r.EventID] || !c.pending[d.RecordID] && !settled[d.RecordID] {
			c.fault("%s is resolved by event %q; pending %v, %v", d.RecordID, r.EventID, c.pending[d.RecordID], err)
		}
		c.pending[d.RecordID], c.owed[d.RecordID], due[d.RecordID], settled[d.RecordID] = false, false, false, true
	}
	for record, owed := range due {
		if owed && c.promise == sinks.ExactlyOnce {
			c.fault("%s is published without a resolution", record)
		}
	}
}

func (c *crashing) report(t *testing.T) {
	for _, f := range c.faults {
		t.Error(f)
	}
	c.faults = nil
}
