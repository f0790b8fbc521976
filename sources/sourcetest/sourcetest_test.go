package sourcetest_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"connector/internal/fault"
	"connector/schema"
	"connector/sources"
	"connector/sources/scan"
	"connector/sources/sourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	begin  = time.Date(2025, 3, 1, 4, 0, 0, 0, time.UTC)
	window = sources.Span{From: begin, To: begin.Add(99 * time.Second)}
	only   = sources.Stream{Name: "s", Tick: time.Second, MaxWindow: time.Hour}
)

// provider has one good row in each second of the window, and one poison row.
type provider struct{ down, hangs atomic.Bool }

// fake is a source that keeps the contract. A test breaks it by replacing a method.
type fake struct {
	p         *provider
	streams   func() []sources.Stream
	now       func(context.Context) (time.Time, error)
	scan      func(context.Context, sources.Stream, sources.Span) iter.Seq2[sources.Chunk, error]
	normalize func(sources.Stream, sources.Record) (schema.Event, error)
}

func newFake(p *provider) *fake {
	f := &fake{p: p}
	f.streams = func() []sources.Stream { return []sources.Stream{only} }
	f.now = func(context.Context) (time.Time, error) { return begin.Add(time.Minute), nil }
	f.scan = func(ctx context.Context, _ sources.Stream, w sources.Span) iter.Seq2[sources.Chunk, error] {
		return scan.Run(w, time.Second, func(c *scan.Chunks) error { return f.rows(ctx, w, c, row) })
	}
	f.normalize = func(st sources.Stream, r sources.Record) (schema.Event, error) {
		if r.Fault != nil {
			return schema.Event{}, r.Fault
		}
		return schema.Event{
			SchemaVersion: schema.Version, Source: schema.Source{System: "fake", Account: "a", Stream: st.Name},
			Record: schema.Record{ID: r.ID}, Channel: schema.SMS, Status: schema.Delivered, CreatedAt: r.Created,
		}, nil
	}
	return f
}

// rows adds the rows of w, half of them when the provider is down.
func (f *fake) rows(ctx context.Context, w sources.Span, c *scan.Chunks, row func(int) sources.Record) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for i := range 101 {
		if i == 50 && f.p.down.Load() {
			return errors.New("the provider is down")
		}
		if i == 50 && f.p.hangs.Load() {
			<-ctx.Done()
			return ctx.Err()
		}
		if err := c.Add(row(i)); err != nil {
			return err
		}
		if i%10 == 9 {
			if err := c.Prove(w.From.Add(time.Duration(i) * time.Second)); err != nil {
				return err
			}
		}
	}
	return c.Prove(w.To)
}

func row(i int) sources.Record {
	r := sources.Record{ID: fmt.Sprint(i), Print: "p", Created: begin.Add(time.Duration(i) * time.Second), Raw: []byte("{}"), Size: 2}
	if i == 100 {
		r.Created, r.Fault = time.Time{}, fault.Reject("decode", errors.New("poison"))
	}
	return r
}

func (*fake) Owner() string { return "company" }

func (f *fake) Streams() []sources.Stream                  { return f.streams() }
func (f *fake) Now(ctx context.Context) (time.Time, error) { return f.now(ctx) }
func (f *fake) Scan(ctx context.Context, s sources.Stream, w sources.Span) iter.Seq2[sources.Chunk, error] {
	return f.scan(ctx, s, w)
}
func (f *fake) Normalize(s sources.Stream, r sources.Record) (schema.Event, error) {
	return f.normalize(s, r)
}

// check runs the kit on a source that spoil has broken.
func check(t *testing.T, spoil func(*fake)) []error {
	t.Helper()
	p := &provider{}
	h := sourcetest.Harness{
		Open: func() (sources.Source, error) {
			f := newFake(p)
			spoil(f)
			return f, nil
		},
		Clock:  func() time.Time { return begin.Add(time.Minute + time.Second) },
		Stream: "s", Window: window, Poison: 1, Secrets: []string{"canary"},
		Failures: []sourcetest.Failure{{Name: "down", Set: p.down.Store}},
		Hang:     &sourcetest.Failure{Name: "hangs", Set: p.hangs.Store},
	}
	for i := range 100 {
		h.IDs = append(h.IDs, fmt.Sprint(i))
	}
	return sourcetest.Check(t.Context(), h)
}

func TestGoodSource(t *testing.T) {
	if got := check(t, func(*fake) {}); got != nil {
		t.Errorf("got %v, want no breach", got)
	}
}

// TestBrokenSources breaks one rule each and wants the breach of that rule.
func TestBrokenSources(t *testing.T) {
	rows := func(row func(i int) sources.Record) func(*fake) {
		return func(f *fake) {
			f.scan = func(ctx context.Context, _ sources.Stream, w sources.Span) iter.Seq2[sources.Chunk, error] {
				return scan.Run(w, time.Second, func(c *scan.Chunks) error { return f.rows(ctx, w, c, row) })
			}
		}
	}
	event := func(change func(*schema.Event)) func(*fake) {
		return func(f *fake) {
			good := f.normalize
			f.normalize = func(s sources.Stream, r sources.Record) (schema.Event, error) {
				e, err := good(s, r)
				change(&e)
				return e, err
			}
		}
	}
	chunks := func(change func(chunk *sources.Chunk, err *error)) func(*fake) {
		return func(f *fake) {
			good := f.scan
			f.scan = func(ctx context.Context, s sources.Stream, w sources.Span) iter.Seq2[sources.Chunk, error] {
				return func(yield func(sources.Chunk, error) bool) {
					for chunk, err := range good(ctx, s, w) {
						change(&chunk, &err)
						if !yield(chunk, err) {
							return
						}
					}
				}
			}
		}
	}
	opened := 0
	var print atomic.Int64
	tests := []struct {
		name, want string // want: the rule broken
		spoil      func(*fake)
	}{
		{"stream is missing", "streams", func(f *fake) { f.streams = func() []sources.Stream { return nil } }},
		{"streams differ", "streams", func(f *fake) {
			opened++
			n := time.Duration(opened)
			f.streams = func() []sources.Stream { s := only; s.MaxWindow += n; return []sources.Stream{s} }
		}},
		{"stream without tick", "streams", func(f *fake) {
			f.streams = func() []sources.Stream { s := only; s.Tick = 0; return []sources.Stream{s} }
		}},
		{"now in the future", "now", func(f *fake) {
			f.now = func(context.Context) (time.Time, error) { return begin.Add(time.Hour), nil }
		}},
		{"row lost", "scan", rows(func(i int) sources.Record { return row(i / 2 * 2) })},
		{"good row rejected", "scan", rows(func(i int) sources.Record {
			r := row(i)
			if i == 7 {
				r.Fault = fault.Reject("decode", errors.New("wrongly"))
			}
			return r
		})},
		{"poison row lost", "poison", rows(func(i int) sources.Record { return row(min(i, 99)) })},
		{"print changes", "again", rows(func(i int) sources.Record { r := row(i); r.Print = fmt.Sprint(print.Add(1)); return r })},
		{"no print", "record", rows(func(i int) sources.Record { r := row(i); r.Print = ""; return r })},
		{"size missing", "record", rows(func(i int) sources.Record { r := row(i); r.Size = 0; return r })},
		{"window never proven", "scan", chunks(func(c *sources.Chunk, _ *error) { c.Proven.To = begin.Add(time.Second) })},
		{"proves too much", "chunks", chunks(func(c *sources.Chunk, _ *error) { c.Proven.To = c.Proven.To.Add(time.Second) })},
		{"proves before reading", "failure", chunks(func(c *sources.Chunk, err *error) {
			if *err == nil && !c.Proven.Empty() {
				c.Proven = window
			}
		})},
		{"error swallowed", "failure", chunks(func(_ *sources.Chunk, err *error) { *err = nil })},
		{"goes on when stopped", "stop", func(f *fake) {
			f.scan = func(context.Context, sources.Stream, sources.Span) iter.Seq2[sources.Chunk, error] {
				return func(yield func(sources.Chunk, error) bool) { yield(sources.Chunk{}, nil); yield(sources.Chunk{}, nil) }
			}
		}},
		{"empty window fails", "empty", func(f *fake) {
			good := f.scan
			f.scan = func(ctx context.Context, s sources.Stream, w sources.Span) iter.Seq2[sources.Chunk, error] {
				if w.Empty() {
					return func(yield func(sources.Chunk, error) bool) { yield(sources.Chunk{}, errors.New("empty")) }
				}
				return good(ctx, s, w)
			}
		}},
		{"context ignored", "cancel", func(f *fake) {
			deaf := newFake(&provider{})
			f.scan = func(_ context.Context, s sources.Stream, w sources.Span) iter.Seq2[sources.Chunk, error] {
				return deaf.scan(t.Context(), s, w) //nolint:contextcheck // this is what is wrong with it
			}
		}},
		{"context ignored in the middle", "cancel", func(f *fake) {
			good := f.scan
			f.scan = func(ctx context.Context, s sources.Stream, w sources.Span) iter.Seq2[sources.Chunk, error] { //nolint:contextcheck // as above
				if f.p.hangs.Load() {
					ctx = t.Context()
				}
				return good(ctx, s, w)
			}
		}},
		{"stays down", "recovery", func(f *fake) {
			good := f.scan
			var failed atomic.Bool
			f.scan = func(ctx context.Context, s sources.Stream, w sources.Span) iter.Seq2[sources.Chunk, error] {
				failed.CompareAndSwap(false, f.p.down.Load())
				f.p.down.Store(failed.Load())
				return good(ctx, s, w)
			}
		}},
		{"secret in an error", "secret", chunks(func(_ *sources.Chunk, err *error) {
			if *err != nil {
				*err = fmt.Errorf("key canary: %w", *err)
			}
		})},
		{"unmarked error of Normalize", "normalize", func(f *fake) {
			f.normalize = func(sources.Stream, sources.Record) (schema.Event, error) { return schema.Event{}, errors.New("no") }
		}},
		{"event of a poison row", "normalize", func(f *fake) {
			good := f.normalize
			f.normalize = func(s sources.Stream, r sources.Record) (schema.Event, error) { r.Fault = nil; return good(s, r) }
		}},
		{"event against the schema", "event", event(func(e *schema.Event) { e.Status = "lost" })},
		{"event of another record", "event", event(func(e *schema.Event) { e.Record.ID = "other" })},
		{"event with the pipeline's fields", "event", event(func(e *schema.Event) { e.ObservedAt = begin })},
	}
	for _, tt := range tests {
		var got []error
		t.Run(tt.name, func(t *testing.T) { got = check(t, tt.spoil) }) // ends the context the spoiled scan hangs on
		if !slices.ContainsFunc(got, func(err error) bool { return strings.HasPrefix(err.Error(), tt.want+": ") }) {
			t.Errorf("%s: got %v, want a breach of %s", tt.name, got, tt.want)
		}
	}
}
