package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"connector/pipeline"
	"connector/schema"
)

// How often progress is measured, and shown where there is no terminal.
const (
	measureEvery = 200 * time.Millisecond
	reportEvery  = 10 * time.Second
)

// watchProgress shows how far the work of a verb is until stop is called:
// bars on the terminal that is the standard error, else a line every ten
// seconds, in the log or, with --output json, on the standard output. The end
// of ctx ends it, too.
func watchProgress(ctx context.Context, env environment, verb string, progress func() []pipeline.Progress) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	m := newMeter(progress)
	show := newReports(env, verb).show
	end := func() {}
	if screen, ok := terminal(env.stderr); ok && env.output != "json" {
		b := newBars(screen, verb)
		show, end = b.show, b.end
	}
	var group sync.WaitGroup
	group.Go(func() {
		ticker := time.NewTicker(measureEvery)
		defer ticker.Stop()
		for ctx.Err() == nil {
			show(m.measure(time.Now()))
			select {
			case <-ticker.C:
			case <-ctx.Done():
			}
		}
		show(m.measure(time.Now()))
		end()
	})
	return func() { cancel(); group.Wait() }
}

// meter measures how fast the work goes.
type meter struct {
	progress func() []pipeline.Progress
	paces    map[schema.Source]*pace
}

func newMeter(progress func() []pipeline.Progress) *meter {
	return &meter{progress: progress, paces: map[schema.Source]*pace{}}
}

// pace is what one stream did since it was first seen to move.
type pace struct {
	first pipeline.Progress
	since time.Time
	until time.Time // when it had finished; zero before
}

// measured is the progress of one stream with its speed.
type measured struct {
	pipeline.Progress
	rowsPerSecond float64
	eta           time.Duration // negative: unknown
}

// finished reports whether all is done.
func (m measured) finished() bool { return m.Total > 0 && m.Done >= m.Total }

func (m *meter) measure(now time.Time) []measured {
	list := m.progress()
	out := make([]measured, 0, len(list))
	for _, p := range list {
		at := m.paces[p.Source]
		if at == nil && p.Done > 0 {
			at = &pace{first: p, since: now}
			m.paces[p.Source] = at
		}
		out = append(out, at.of(p, now))
	}
	return out
}

// of returns the speed of a stream; nil is one that did not move yet.
func (a *pace) of(p pipeline.Progress, now time.Time) measured {
	r := measured{Progress: p, eta: -1}
	if p.Stopped || r.finished() {
		r.eta = 0
	}
	if a == nil || !now.After(a.since) {
		return r
	}
	switch {
	case !r.finished():
	case a.until.IsZero():
		a.until = now
	default:
		now = a.until
	}
	passed := now.Sub(a.since)
	r.rowsPerSecond = float64(p.Rows-a.first.Rows) / passed.Seconds()
	if moved := p.Done - a.first.Done; moved > 0 && r.eta < 0 {
		r.eta = time.Duration(float64(passed) * float64(p.Total-p.Done) / float64(moved))
	}
	return r
}

// report is one line of progress of all streams.
type report struct {
	Verb string `json:"verb"`
	amounts
	RowsPerSecond float64        `json:"rowsPerSecond"`
	ETASeconds    *int64         `json:"etaSeconds"` // null: unknown
	Streams       []streamReport `json:"streams"`
}

type streamReport struct {
	Source schema.Source `json:"source"`
	amounts
}

// amounts say how much was done, of a stream or of all.
type amounts struct {
	DoneSeconds  int64 `json:"doneSeconds"`
	TotalSeconds int64 `json:"totalSeconds"`
	Rows         int64 `json:"rows"` // read, repeated reads included
	Events       int64 `json:"events"`
	DeadLetters  int64 `json:"deadLetters"`
	Gaps         int   `json:"gaps"`
}

func amountsOf(p pipeline.Progress) amounts {
	return amounts{int64(p.Done.Seconds()), int64(p.Total.Seconds()), p.Rows, p.Events, p.DeadLetters, p.Gaps}
}

func (a *amounts) add(b amounts) {
	a.DoneSeconds += b.DoneSeconds
	a.TotalSeconds += b.TotalSeconds
	a.Rows += b.Rows
	a.Events += b.Events
	a.DeadLetters += b.DeadLetters
	a.Gaps += b.Gaps
}

// newReport adds up streams; the slowest of them says how long it takes.
func newReport(verb string, list []measured) report {
	r := report{Verb: verb, Streams: []streamReport{}}
	eta := time.Duration(0)
	for _, m := range list {
		s := streamReport{m.Source, amountsOf(m.Progress)}
		r.Streams = append(r.Streams, s)
		r.add(s.amounts)
		if !m.finished() {
			r.RowsPerSecond += m.rowsPerSecond
		}
		if m.eta < 0 || eta >= 0 && m.eta > eta {
			eta = m.eta
		}
	}
	if eta >= 0 {
		left := int64(eta.Seconds())
		r.ETASeconds = &left
	}
	return r
}

// reports are lines of progress for a log, or for a program.
type reports struct {
	verb string
	out  io.Writer // of JSON lines; nil: log
	log  *slog.Logger
	next time.Time
}

func newReports(env environment, verb string) *reports {
	r := &reports{verb: verb, log: env.log, next: time.Now().Add(reportEvery)}
	if env.output == "json" {
		r.out = env.stdout
	}
	if r.log == nil {
		r.log = slog.New(slog.NewTextHandler(env.stderr, nil))
	}
	return r
}

func (r *reports) show(list []measured) {
	if time.Now().Before(r.next) {
		return
	}
	r.next = time.Now().Add(reportEvery)
	line := newReport(r.verb, list)
	if r.out != nil {
		_ = json.NewEncoder(r.out).Encode(line) // a closed pipe must not stop the reading
		return
	}
	eta := "unknown"
	if line.ETASeconds != nil {
		eta = (time.Duration(*line.ETASeconds) * time.Second).String()
	}
	r.log.Info(r.verb, "done", percent(line.DoneSeconds, line.TotalSeconds), "rows", line.Rows, "events", line.Events,
		"rowsPerSecond", int64(line.RowsPerSecond), "eta", eta)
}

func percent(done, total int64) string {
	if total == 0 {
		return "unknown"
	}
	return fmt.Sprintf("%d%%", 100*done/total)
}
