//go:build linux

// Package bench compares what each sink costs this process per event with raw
// publishing in the same run. Brokers are other processes,
// so that only the client counts.
package bench

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"connector/checkpoint"
	"connector/schema"
	"connector/sinks"
)

const (
	bodyBytes   = 1000
	roundEvents = 20_000
	// turns is how often each publishes a round; medians are reported.
	turns = 11
	// entryBytes is what the ledger keeps of one record.
	entryBytes = 24
	headBytes  = 300
	markBytes  = 64
)

func TestMain(m *testing.M) {
	if kind := os.Getenv(serveEnv); kind != "" {
		serve(kind)
		return
	}
	os.Exit(m.Run())
}

// side makes what it needs of the events of a round, and returns what publishes
// them; only that is timed.
type side func(events []schema.Message) (publish func(ctx context.Context) error)

// raw are the publishers without a sink: of the same messages, ready to be
// sent, and of their bodies alone.
type raw struct{ ready, bare side }

// cost is what a round took, per event.
type cost struct{ cpu, wall, allocs float64 }

// compare lets raw and sink publish in turns and reports medians: the CPU time
// of this process, user and system, and ratios, taken turn by turn.
func compare(b *testing.B, r raw, sink side) {
	b.Helper()
	var costs [3][]cost
	var ratios [2][]float64
	for b.Loop() {
		for i := range turns + 1 {
			turn := [3]cost{measure(b, r.bare), measure(b, r.ready), measure(b, sink)}
			if i == 0 {
				continue // warms up
			}
			for j, c := range turn {
				costs[j] = append(costs[j], c)
			}
			for j := range ratios {
				ratios[j] = append(ratios[j], turn[2].cpu/turn[j].cpu)
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	for i, name := range []string{"bare-", "raw-", ""} {
		b.ReportMetric(median(costs[i], func(c cost) float64 { return c.cpu }), name+"cpu-ns/event")
		b.ReportMetric(1e9/median(costs[i], func(c cost) float64 { return c.wall }), name+"events/s")
		b.ReportMetric(median(costs[i], func(c cost) float64 { return c.allocs }), name+"allocs/event")
	}
	for i, name := range []string{"x-bare", "x-raw"} {
		b.ReportMetric(median(ratios[i], func(r float64) float64 { return r }), name)
	}
}

func median[T any](list []T, f func(T) float64) float64 {
	values := make([]float64, len(list))
	for i, v := range list {
		values[i] = f(v)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// round numbers the rounds, so that no event comes twice.
var round int

func measure(b *testing.B, prepare side) cost {
	b.Helper()
	round++
	publish := prepare(makeEvents(round))
	runtime.GC()
	var before, behind runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, began := cpuTime(b), time.Now()
	if err := publish(b.Context()); err != nil {
		b.Fatal(err)
	}
	c := cost{cpu: float64(cpuTime(b)-cpu) / roundEvents, wall: float64(time.Since(began)) / roundEvents}
	runtime.ReadMemStats(&behind)
	c.allocs = float64(behind.Mallocs-before.Mallocs) / roundEvents
	return c
}

// cpuTime returns the CPU time that this process took so far.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// makeEvents returns the events of a round: JSON of 1 KB, each of a record of
// its own.
func makeEvents(round int) []schema.Message {
	fill := strings.Repeat("x", bodyBytes-len(`{"id":"0000000000","fill":""}`))
	events := make([]schema.Message, roundEvents)
	for i := range events {
		id := strconv.Itoa(1_000_000_000 + round*roundEvents + i)
		events[i] = schema.Message{
			ID: schema.EventID("acct", "sms", id, "1"), Type: "delivery.sms.delivered",
			Source: schema.Source{System: "submail", Account: "acct", Stream: "sms"}, RecordID: id,
			Time: time.Unix(1774749599, 0), DataSchema: schema.DataSchema,
			Body: []byte(`{"id":"` + id + `","fill":"` + fill + `"}`),
		}
	}
	return events
}

// open opens a unit of a sink.
func open(b *testing.B, sink sinks.Sink, err error) sinks.Session {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
	session, err := sink.Open(b.Context(), "u0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := session.Close(); err != nil {
			b.Error(err)
		}
		if err := sink.Close(); err != nil {
			b.Error(err)
		}
	})
	b.Logf("guarantee: %s", sink.Guarantee())
	return session
}

// committing publishes in commits as large as the pipeline makes them, with
// the state that its ledger writes: the head, the changes, and the page that
// earlier changes are folded into.
func committing(session sinks.Session) side {
	limits := session.Limits()
	most := limits.MaxMessages - checkpoint.MaxEntries
	commits := 0
	publish := func(ctx context.Context, events []schema.Message) error {
		for part := range slices.Chunk(events, most) {
			commits++
			changes := make([]byte, entryBytes*len(part))
			state := []checkpoint.Entry{
				{Key: "acct/sms/h", Value: make([]byte, headBytes)},
				{Key: fmt.Sprintf("acct/sms/d/%02d", commits%64), Value: changes},
				{Key: fmt.Sprintf("acct/sms/b/2026010100/%04d", commits%16), Value: changes},
			}
			if err := session.Commit(ctx, sinks.Commit{Events: part, State: state}); err != nil {
				return err
			}
		}
		return nil
	}
	return func(events []schema.Message) func(context.Context) error {
		for i := range events {
			if limits.Marks {
				events[i].Mark = make([]byte, markBytes)
			}
		}
		return func(ctx context.Context) error { return publish(ctx, events) }
	}
}
