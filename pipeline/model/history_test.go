package model

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"connector/pipeline"
	"connector/sinks"
	"connector/sources"
)

// history is one run of processes against one provider and one sink.
type history struct {
	mu     sync.Mutex // held wherever a process is in the model, but while it waits
	rand   *rand.Rand
	wire   *rand.Rand // draws what an API that is not the toy's does
	more   *rand.Rand // draws what the provider says wrong, or not at all, of time and number of rows
	kind   *rand.Rand // draws what kind of sink it is
	plan   plan
	world  *world
	truth  *truth
	broker *broker
	stream sources.Stream

	dialect  dialect                // nil: the toy's
	raw      map[[2]string][]string // wire forms of a version, by id and print
	form     int                    // of the wire, for the next process
	launched bool                   // a process
	expelled bool                   // a row of another company came along

	counts counts
	began  time.Time
	now    time.Time // greatest time the provider has told
	err    error     // the first violation
	trace  func(format string, args ...any)
}

var metrics = pipeline.NewMetrics(prometheus.NewRegistry())

// play runs the history of a seed. It returns what occurred and the first
// violation of an invariant.

func play(t *testing.T, seed uint64, trace func(string, ...any)) (counts, error) {
	t.Helper()
	seedJitter(seed)
	h := &history{rand: rand.New(rand.NewPCG(seed, 1)), more: rand.New(rand.NewPCG(seed, 2)), wire: rand.New(rand.NewPCG(seed, 3)), kind: rand.New(rand.NewPCG(seed, 4)), trace: trace}
	synctest.Test(t, func(*testing.T) { h.run() })
	return h.counts, h.err
}

func (h *history) run() {
	h.plan = drawPlan(h.rand)
	h.plan.marked = h.plan.paired && sometimes(h.kind, 0.5)
	h.plan.uncounted = h.plan.paged && sometimes(h.more, 0.2)
	if sometimes(h.more, 0.3) {
		h.plan.rates.wrong = 0.05
	}
	h.plan.speak(h.wire)
	h.await()
	h.began = time.Now()
	h.tracef("%+v", h.plan)
	h.world = drawWorld(h.rand, &h.plan, h.began)
	if h.translate(); h.err != nil {
		return
	}
	h.truth = newTruth(h)
	h.broker = &broker{h: h, state: map[string][]byte{}}
	h.stream = h.open(nil).Streams()[0]
	for _, r := range h.world.rows {
		h.tracef("row %s created %v visible %v left %v", r.id, r.created, h.at(r.visible), r.left)
		for i, v := range r.versions {
			h.tracef("  version %d at %v rank %d terminal %v %s", i, h.at(v.at), v.rank, v.terminal, v.poison)
		}
	}
	h.drive()
	h.truth.end()
	h.tally()
}

// drive starts processes one after the other and lets the last one go on
// through the quiet time.
func (h *history) drive() {
	end := h.began.Add(h.plan.active)
	var all []*process
	for _, s := range append(h.plan.stops, stop{nth: -1}) {
		p := h.launch(s)
		all = append(all, p)
		if !p.wait(time.Until(end)) {
			break
		}
		h.stopped(s)
		if s.how == takeover {
			time.Sleep(time.Nanosecond) // so that the two processes begin to wait one after the other
		} else {
			time.Sleep(1 + s.down)
		}
	}
	time.Sleep(time.Until(end))
	if last := all[len(all)-1]; last.stopped() && last.stop.how != takeover {
		all = append(all, h.launch(stop{nth: -1}))
	}
	time.Sleep(h.plan.quiet())
	for _, p := range all {
		p.cancel()
		<-p.done
	}
}

// stopped counts what a stop was like.
func (h *history) stopped(s stop) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tracef("%v: stopped %s, %d, down %v", h.at(time.Now()), s.at, s.how, s.down)
	if s.down > h.plan.lateness {
		h.counts[longOutage]++
	}
	if s.how == kill && len(h.broker.state) == 0 {
		h.counts[firstCommitLost]++
	}
}

// calm reports whether nothing fails any more.
func (h *history) calm() bool { return time.Since(h.began) >= h.plan.active }

// pause waits for d, or returns the error of ctx.
func (h *history) pause(ctx context.Context, d time.Duration) error {
	h.mu.Unlock()
	defer h.mu.Lock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// at shows a time as the distance from the start.
func (h *history) at(t time.Time) time.Duration { return t.Sub(h.began) }

func (h *history) tracef(format string, args ...any) {
	if h.trace != nil {
		h.trace(format, args...)
	}
}

// violated notes the violation of an invariant of docs/architecture.md.
func (h *history) violated(invariant int, format string, args ...any) {
	if h.err == nil {
		h.err = fmt.Errorf("%v: invariant %d: %w", h.at(time.Now()), invariant, fmt.Errorf(format, args...))
	}
}

// fails draws whether a fault of the given rate happens.
func (h *history) fails(rate float64) bool { return !h.calm() && rate > 0 && sometimes(h.rand, rate) }

// latency draws half the time of a request.
func (h *history) latency() time.Duration {
	if h.calm() {
		return time.Millisecond
	}
	return 1 + upTo(h.rand, h.plan.slowest/2)
}

func (h *history) serve(p *process, r *row, v int) {
	r.versions[v].served, r.versions[v].reader = true, p
	if v < r.last {
		h.counts[staleDropped]++
	}
}

// version returns the version that rec is.
func (h *history) version(rec sources.Record) *version {
	r := h.world.byID[rec.ID]
	for i := range r.versions {
		if r.versions[i].record.Print == rec.Print {
			return &r.versions[i]
		}
	}
	panic("no such version")
}

// tally counts what the plan and the rows hold.
func (h *history) tally() {
	if h.plan.skew != 0 {
		h.counts[clockSkewed]++
	}
	for _, s := range h.plan.steps {
		if s.by > 0 {
			h.counts[clockForward]++
		} else {
			h.counts[clockBack]++
		}
	}
	ties := map[time.Time]int{}
	for _, r := range h.world.rows {
		h.tallyRow(r)
		ties[r.created]++
	}
	for _, n := range ties {
		if h.plan.paged && n > h.plan.page {
			h.counts[tieOverPage]++
		}
		if h.plan.limit > 0 && n > h.plan.limit {
			h.counts[tieOverCap]++
		}
	}
	h.tallyWire()
}

func (h *history) tallyRow(r *row) {
	first := r.versions[0].at
	switch {
	case r.created.Before(h.world.start):
		h.counts[rowBeforeStart]++
	case !h.world.inTime(r):
		h.counts[rowBeyond]++
	case r.visible.After(first):
		h.counts[rowLate]++
	default:
		h.counts[rowOnTime]++
	}
	if !r.left.IsZero() {
		h.counts[rowLeft]++
	}
	for i, v := range r.versions {
		if i > 0 {
			h.counts[rowChanged]++
			if v.at.Sub(first) > h.plan.lateness {
				h.counts[rowChangedSettled]++
			}
			if v.rank == r.versions[i-1].rank {
				h.counts[rankRepeated]++
			}
		}
		if v.taken && v.poison != healthy {
			h.counts[deadDecode+kind(v.poison-undecodable)]++
		}
	}
}

// process is one run of the pipeline, from its start to its stop.
type process struct {
	h     *history
	stop  stop
	count int
	dead  bool // killed: whatever it does has no effect

	expelled bool // the source gives up for good

	cancel context.CancelFunc
	ended  chan struct{} // the stop came
	done   chan struct{} // Run returned
}

func (h *history) launch(s stop) *process {
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{h: h, stop: s, cancel: cancel, ended: make(chan struct{}), done: make(chan struct{})}
	h.edit()
	src := h.open(p)
	pipe := pipeline.New(pipeline.Options{
		Accounts: []pipeline.Account{{
			System: system, Name: account, Source: src,
			Poll: h.plan.poll, Lag: h.plan.lag, Lateness: h.plan.lateness, GiveUp: h.plan.giveUp,
		}},
		Sink: h.broker.open(p), Start: func(time.Time) time.Time { return h.world.start },
		Log: slog.New(slog.DiscardHandler), Metrics: metrics,
	})
	go func() {
		defer close(p.done)
		err := pipe.Run(ctx)
		h.mu.Lock()
		defer h.mu.Unlock()
		fenced := errors.Is(err, sinks.ErrFenced) && (p.dead || p.stop.how == takeover)
		if !p.dead && !fenced && !p.expelled && (err != nil || ctx.Err() == nil) {
			h.violated(8, "the pipeline ended: %v", err)
		}
	}()
	return p
}

// wait returns true when the stop came, or false after d or when the pipeline
// ended by itself.
func (p *process) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.ended:
	case <-p.done:
		return p.stopped()
	case <-t.C:
		return false
	}
	switch {
	case p.expelled:
		p.giveUp()
	case p.stop.how == graceful:
		<-p.done
	}
	return true
}

// giveUp waits for a process whose source must have given up.
func (p *process) giveUp() {
	t := time.NewTimer(time.Hour)
	defer t.Stop()
	select {
	case <-p.done:
	case <-t.C:
		p.h.mu.Lock()
		defer p.h.mu.Unlock()
		p.h.violated(8, "reading goes on after a row of another company")
		p.cancel()
	}
}

func (p *process) stopped() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// reach is called at each I/O step; it returns whether the process is dead.
func (p *process) reach(at point, messages bool) bool {
	s := p.stop
	if p.dead || at != s.at || s.messages && at >= beforeCommit && !messages || p.h.calm() {
		return p.dead
	}
	if p.count++; p.count != s.nth {
		return false
	}
	close(p.ended)
	switch s.how {
	case kill:
		p.h.counts[stopNow+kind(at)]++
		p.dead = true
		p.cancel()
	case graceful:
		p.h.counts[stopGraceful]++
		p.cancel()
	case takeover:
		p.h.counts[stopTakeover]++
	}
	return p.dead
}
