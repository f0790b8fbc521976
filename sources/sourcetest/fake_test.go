package sourcetest_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"connector/internal/fault"
	"connector/schema"
	"connector/sources"
	"connector/sources/scan"
	"connector/sources/sourcetest"
)

var (
	begin  = time.Date(2025, 3, 1, 4, 0, 0, 0, time.UTC)
	window = sources.Span{From: begin, To: begin.Add(99 * time.Second)}
	large  = sources.Span{From: begin.Add(time.Hour), To: begin.Add(2 * time.Hour)}
	only   = sources.Stream{Name: "s", Tick: time.Second, MaxWindow: time.Hour}
	bulk   = []byte(`"` + strings.Repeat("x", 64<<10) + `"`)
)

// provider has one good row in each second of the window, one poison row, and
// large rows later on.
type provider struct {
	down, hangs, late atomic.Bool
	version           atomic.Int64 // of row 5
	outlast           context.Context
}

func (p *provider) clock() time.Time { return begin.Add(3 * time.Hour) }

// rows lists the rows of a window.
func (p *provider) rows(w sources.Span) []sources.Record {
	var rows []sources.Record
	for i := range 100 {
		rows = append(rows, record(fmt.Sprint(i), begin.Add(time.Duration(i)*time.Second), []byte("{}")))
	}
	v := p.version.Load()
	rows[5].Print, rows[5].Rank, rows[5].Terminal = fmt.Sprint("p", v), v, v == 2
	if p.late.Load() {
		rows = slices.Insert(rows, 10, record("late", begin.Add(10*time.Second), []byte("{}")))
	}
	poison := record("100", begin.Add(99*time.Second), []byte("{}"))
	poison.Created, poison.Fault = time.Time{}, fault.Reject("decode", errors.New("poison"))
	rows = append(rows, poison)
	for i := range 200 {
		rows = append(rows, record(fmt.Sprint("large", i), large.From.Add(time.Duration(i)*time.Second), bulk))
	}
	return slices.DeleteFunc(rows, func(r sources.Record) bool {
		at := r.Created
		if at.IsZero() {
			at = window.To
		}
		return !w.Contains(at)
	})
}

func record(id string, created time.Time, raw []byte) sources.Record {
	return sources.Record{ID: id, Print: "p", Created: created, Terminal: true, Raw: raw, Size: int64(len(raw))}
}

// fake is a source that keeps the contract. A test breaks it by replacing a function.
type fake struct {
	p         *provider
	log       *slog.Logger
	owner     func() string
	streams   func() []sources.Stream
	now       func(context.Context) (time.Time, error)
	scan      func(context.Context, sources.Stream, sources.Span) iter.Seq2[sources.Chunk, error]
	rows      func(sources.Span) []sources.Record
	normalize func(sources.Stream, sources.Record) (schema.Event, error)
}

func newFake(p *provider, log *slog.Logger) *fake {
	f := &fake{p: p, log: log, rows: p.rows}
	f.owner = func() string { return "company" }
	f.streams = func() []sources.Stream { return []sources.Stream{only} }
	f.now = func(ctx context.Context) (time.Time, error) { return p.clock().Add(-time.Second), ctx.Err() }
	f.scan = func(ctx context.Context, _ sources.Stream, w sources.Span) iter.Seq2[sources.Chunk, error] {
		return scan.Run(w, time.Second, func(c *scan.Chunks) error { return f.read(ctx, w, c) })
	}
	f.normalize = func(st sources.Stream, r sources.Record) (schema.Event, error) {
		if r.Fault != nil {
			return schema.Event{}, r.Fault
		}
		return schema.Event{
			SchemaVersion: schema.Version, Source: schema.Source{System: "fake", Account: "a", Stream: st.Name},
			Record: schema.Record{ID: r.ID, Terminal: r.Terminal}, Channel: schema.ChannelSMS, Status: schema.Delivered, CreatedAt: r.Created, SMS: &schema.SMS{},
		}, nil
	}
	return f
}

// read adds the rows of w, half of them when the provider is down.
func (f *fake) read(ctx context.Context, w sources.Span, c *scan.Chunks) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for i, r := range f.rows(w) {
		if i == 50 && f.p.down.Load() {
			return errors.New("the provider is down")
		}
		if i == 50 && f.p.hangs.Load() {
			<-ctx.Done()
			return ctx.Err()
		}
		if err := c.Add(r); err != nil {
			return err
		}
		if i%10 == 9 && !r.Created.IsZero() {
			if err := c.Prove(r.Created.Add(-time.Second)); err != nil {
				return err
			}
		}
	}
	return c.Prove(w.To)
}

func (f *fake) Owner() string                              { return f.owner() }
func (f *fake) Streams() []sources.Stream                  { return f.streams() }
func (f *fake) Now(ctx context.Context) (time.Time, error) { return f.now(ctx) }
func (f *fake) Scan(ctx context.Context, s sources.Stream, w sources.Span) iter.Seq2[sources.Chunk, error] {
	return f.scan(ctx, s, w)
}
func (f *fake) Normalize(s sources.Stream, r sources.Record) (schema.Event, error) {
	return f.normalize(s, r)
}

// harness is that of sources which spoil has broken; the first opened is
// number 1. What hangs for ever hangs until outlast ends.
func harness(outlast context.Context, spoil func(f *fake, opened int)) sourcetest.Harness {
	p := &provider{outlast: outlast}
	opened := 0
	h := sourcetest.Harness{
		Open: func(log *slog.Logger) (sources.Source, error) {
			f := newFake(p, log)
			opened++
			spoil(f, opened)
			return f, nil
		},
		Clock: p.clock, Stream: "s", Window: window, Large: large, Poison: 1, Secrets: []string{"canary"},
		Failures: []sourcetest.Failure{{Name: "down", Set: p.down.Store}},
		Hang:     p.hangs.Store,
		Late:     func() string { p.late.Store(true); return "late" },
		Change: func() string {
			if p.version.Load() == 2 {
				return ""
			}
			p.version.Add(1)
			return "5"
		},
	}
	for i := range 100 {
		h.IDs = append(h.IDs, fmt.Sprint(i))
	}
	return h
}

// rules lists the rules that are broken, each once, in order.
func rules(breaches []error) string {
	var names []string
	for _, err := range breaches {
		name, _, _ := strings.Cut(err.Error(), ":")
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), " ")
}
