package sourcetest_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"connector/internal/fault"
	"connector/schema"
	"connector/sources"
)

// chunks changes what each scan yields.
func chunks(change func(f *fake, w sources.Span, chunk *sources.Chunk, err *error)) func(*fake, int) {
	return func(f *fake, _ int) {
		good := f.scan
		f.scan = func(ctx context.Context, s sources.Stream, w sources.Span) iter.Seq2[sources.Chunk, error] {
			return func(yield func(sources.Chunk, error) bool) {
				for chunk, err := range good(ctx, s, w) {
					change(f, w, &chunk, &err)
					if !yield(chunk, err) {
						return
					}
				}
			}
		}
	}
}

// scans replaces the scan, when it is asked for.
func scans(replace func(f *fake, ctx context.Context, w sources.Span, good iter.Seq2[sources.Chunk, error]) iter.Seq2[sources.Chunk, error]) func(*fake, int) {
	return func(f *fake, _ int) {
		good := f.scan
		f.scan = func(ctx context.Context, s sources.Stream, w sources.Span) iter.Seq2[sources.Chunk, error] {
			return replace(f, ctx, w, good(ctx, s, w))
		}
	}
}

// fails is a scan that yields only an error.
func fails(err error) iter.Seq2[sources.Chunk, error] {
	return func(yield func(sources.Chunk, error) bool) { yield(sources.Chunk{}, err) }
}

func brokenChunks() []broken {
	return []broken{
		{"window never proven", "scan", chunks(func(_ *fake, w sources.Span, c *sources.Chunk, _ *error) {
			if c.Proven.To.After(w.From) {
				c.Proven.To = w.From
			}
		})},
		{"proves too much", "chunks scan", chunks(func(_ *fake, w sources.Span, c *sources.Chunk, _ *error) {
			if c.Proven.To.Equal(w.To) {
				c.Proven.To = c.Proven.To.Add(time.Second)
			}
		})},
		{"proves less than before", "chunks", chunks(func(_ *fake, w sources.Span, c *sources.Chunk, _ *error) {
			if c.Proven.To.Equal(w.From.Add(48 * time.Second)) {
				c.Proven.To = w.From
			}
		})},
		{"proves between ticks", "chunks", chunks(func(_ *fake, w sources.Span, c *sources.Chunk, _ *error) {
			if c.Proven.To.Equal(w.From.Add(48 * time.Second)) {
				c.Proven.To = c.Proven.To.Add(time.Millisecond)
			}
		})},
		{"proves before reading", "chunks", chunks(func(_ *fake, w sources.Span, c *sources.Chunk, err *error) {
			if *err == nil {
				c.Proven = w
			}
		})},
		{"chunks without bound", "chunks", scans(func(_ *fake, _ context.Context, w sources.Span, good iter.Seq2[sources.Chunk, error]) iter.Seq2[sources.Chunk, error] {
			return func(yield func(sources.Chunk, error) bool) {
				all := sources.Chunk{Proven: w}
				for chunk, err := range good {
					if err != nil {
						yield(all, err)
						return
					}
					all.Records = append(all.Records, chunk.Records...)
				}
				for len(all.Records) > 0 && len(all.Records) <= 500 {
					all.Records = append(all.Records, all.Records...)
				}
				yield(all, nil)
			}
		})},
		{"row reused after it was yielded", "chunks", scans(func(_ *fake, _ context.Context, _ sources.Span, good iter.Seq2[sources.Chunk, error]) iter.Seq2[sources.Chunk, error] {
			return func(yield func(sources.Chunk, error) bool) {
				for chunk, err := range good {
					for i := range chunk.Records {
						if chunk.Records[i].ID == "7" {
							chunk.Records[i].Raw = []byte("{}")
							defer copy(chunk.Records[i].Raw, "[]")
						}
					}
					if !yield(chunk, err) {
						return
					}
				}
			}
		})},
		{"goes on after an error", "chunks", scans(func(_ *fake, _ context.Context, w sources.Span, good iter.Seq2[sources.Chunk, error]) iter.Seq2[sources.Chunk, error] {
			return func(yield func(sources.Chunk, error) bool) {
				for chunk, err := range good {
					if !yield(chunk, err) || err != nil && !yield(chunk, err) {
						return
					}
				}
			}
		})},
		{"gap elsewhere", "gap", chunks(func(_ *fake, w sources.Span, _ *sources.Chunk, err *error) {
			if *err != nil && !errors.Is(*err, context.Canceled) {
				*err = &sources.GapError{Span: sources.Span{From: w.From, To: w.From}}
			}
		})},
	}
}

func brokenScans() []broken {
	var failed, swallowed atomic.Bool
	return []broken{
		{"error swallowed", "cancel chunks failure", chunks(func(_ *fake, _ sources.Span, _ *sources.Chunk, err *error) { *err = nil })},
		{"failed answer proven", "failure", chunks(func(_ *fake, w sources.Span, c *sources.Chunk, err *error) {
			if *err != nil && !swallowed.Swap(true) {
				*c, *err = sources.Chunk{Proven: w}, nil
			}
		})},
		{"proves all before it fails", "failure", scans(func(f *fake, _ context.Context, w sources.Span, good iter.Seq2[sources.Chunk, error]) iter.Seq2[sources.Chunk, error] {
			return func(yield func(sources.Chunk, error) bool) {
				for chunk, err := range good {
					if err != nil && f.p.down.Load() && !yield(sources.Chunk{Proven: w}, nil) || !yield(chunk, err) {
						return
					}
				}
			}
		})},
		{"row made of half an answer", "failure", scans(func(f *fake, _ context.Context, w sources.Span, good iter.Seq2[sources.Chunk, error]) iter.Seq2[sources.Chunk, error] {
			return func(yield func(sources.Chunk, error) bool) {
				for chunk, err := range good {
					if err != nil && f.p.down.Load() {
						half := record("9", w.From.Add(60*time.Second), []byte("{"))
						half.ID, half.Fault = "half", fault.Reject("decode", err)
						if !yield(sources.Chunk{Records: []sources.Record{half}, Proven: sources.Span{From: w.From, To: w.From.Add(48 * time.Second)}}, nil) {
							return
						}
					}
					if !yield(chunk, err) {
						return
					}
				}
			}
		})},
		{"outage is fatal", "mark", chunks(func(_ *fake, _ sources.Span, _ *sources.Chunk, err *error) {
			if *err != nil {
				*err = fault.Fatal(*err, "buy another")
			}
		})},
		{"scan rejects", "mark", chunks(func(_ *fake, _ sources.Span, _ *sources.Chunk, err *error) {
			if *err != nil {
				*err = fault.Reject("decode", *err)
			}
		})},
		{"goes on when stopped", "stop", func(f *fake, _ int) {
			good := f.scan
			f.scan = func(ctx context.Context, s sources.Stream, w sources.Span) iter.Seq2[sources.Chunk, error] {
				return func(yield func(sources.Chunk, error) bool) {
					for chunk, err := range good(ctx, s, w) {
						yield(chunk, err)
					}
				}
			}
		}},
		{"goroutine of a stopped scan goes on", "leak", scans(func(f *fake, _ context.Context, _ sources.Span, good iter.Seq2[sources.Chunk, error]) iter.Seq2[sources.Chunk, error] {
			return func(yield func(sources.Chunk, error) bool) {
				for chunk, err := range good {
					if !yield(chunk, err) {
						go func() { <-f.p.outlast.Done() }()
						return
					}
				}
			}
		})},
		{"empty window fails", "empty", scans(func(_ *fake, _ context.Context, w sources.Span, good iter.Seq2[sources.Chunk, error]) iter.Seq2[sources.Chunk, error] {
			if w.Empty() {
				return fails(errors.New("empty"))
			}
			return good
		})},
		{"end of the window left out", "poison", rows(func(_ *provider, rows []sources.Record) []sources.Record { return rows[:max(1, len(rows))-1] })},
		{"instant is empty", "tick", scans(func(_ *fake, _ context.Context, w sources.Span, good iter.Seq2[sources.Chunk, error]) iter.Seq2[sources.Chunk, error] {
			if w.From.Equal(w.To) {
				return func(yield func(sources.Chunk, error) bool) { yield(sources.Chunk{Proven: w}, nil) }
			}
			return good
		})},
		{"long window refused", "huge", scans(func(_ *fake, _ context.Context, w sources.Span, good iter.Seq2[sources.Chunk, error]) iter.Seq2[sources.Chunk, error] {
			if w.To.Sub(w.From) > 24*time.Hour {
				return fails(errors.New("too long"))
			}
			return good
		})},
		{"row of a long window lost", "huge", scans(func(f *fake, ctx context.Context, w sources.Span, good iter.Seq2[sources.Chunk, error]) iter.Seq2[sources.Chunk, error] {
			if w.To.Sub(w.From) > 24*time.Hour {
				return func(yield func(sources.Chunk, error) bool) { yield(sources.Chunk{Proven: w}, nil) }
			}
			return good
		})},
		{"scan fails", "scan", scans(func(_ *fake, _ context.Context, _ sources.Span, good iter.Seq2[sources.Chunk, error]) iter.Seq2[sources.Chunk, error] {
			return func(yield func(sources.Chunk, error) bool) {
				for chunk, err := range good {
					if !yield(chunk, err) || err != nil {
						return
					}
				}
				yield(sources.Chunk{}, errors.New("and now this"))
			}
		})},
		{"large rows fail", "memory", scans(func(_ *fake, _ context.Context, w sources.Span, good iter.Seq2[sources.Chunk, error]) iter.Seq2[sources.Chunk, error] {
			if w.From.Equal(large.From) {
				return fails(errors.New("too large"))
			}
			return good
		})},
		{"rows kept", "memory", func(f *fake, _ int) {
			var mu sync.Mutex
			var kept [][]byte
			f.rows = func(w sources.Span) []sources.Record {
				mu.Lock()
				defer mu.Unlock()
				rows := f.p.rows(w)
				for i := range rows {
					rows[i].Raw = append([]byte(nil), rows[i].Raw...)
					kept = append(kept, rows[i].Raw)
				}
				return rows
			}
			f.owner = func() string { // the source holds the rows
				mu.Lock()
				defer mu.Unlock()
				return fmt.Sprint("company", len(kept[:0]))
			}
		}},
		{"hides why it ended", "cancel", chunks(func(f *fake, _ sources.Span, _ *sources.Chunk, err *error) {
			if *err != nil && f.p.hangs.Load() {
				*err = errors.New("interrupted")
			}
		})},
		{"context ignored", "cancel", func(f *fake, _ int) {
			deaf := newFake(&provider{}, f.log)
			f.scan = func(_ context.Context, s sources.Stream, w sources.Span) iter.Seq2[sources.Chunk, error] {
				deaf.p.down.Store(f.p.down.Load())
				deaf.p.late.Store(f.p.late.Load())
				deaf.p.version.Store(f.p.version.Load())
				return deaf.scan(f.p.outlast, s, w) //nolint:contextcheck // this is what is wrong with it
			}
		}},
		{"context ignored at the beginning", "cancel", func(f *fake, _ int) {
			good := f.scan
			f.scan = func(ctx context.Context, s sources.Stream, w sources.Span) iter.Seq2[sources.Chunk, error] { //nolint:contextcheck // as above
				if ctx.Err() != nil {
					ctx = f.p.outlast
				}
				return good(ctx, s, w)
			}
		}},
		{"context ignored in the middle", "cancel leak", func(f *fake, _ int) {
			good := f.scan
			f.scan = func(ctx context.Context, s sources.Stream, w sources.Span) iter.Seq2[sources.Chunk, error] { //nolint:contextcheck // as above
				if f.p.hangs.Load() {
					ctx = f.p.outlast
				}
				return good(ctx, s, w)
			}
		}},
		{"down for longer than the provider", "recovery", scans(func(f *fake, _ context.Context, _ sources.Span, good iter.Seq2[sources.Chunk, error]) iter.Seq2[sources.Chunk, error] {
			if was := failed.Swap(f.p.down.Load()); was && !f.p.down.Load() {
				return fails(errors.New("the provider was down a moment ago"))
			}
			return good
		})},
		{"secret in an error", "secret", chunks(func(_ *fake, _ sources.Span, _ *sources.Chunk, err *error) {
			if *err != nil {
				*err = fmt.Errorf("key canary: %w", *err)
			}
		})},
	}
}

// events changes what records become.
func events(change func(r sources.Record, e *schema.Event, err *error)) func(*fake, int) {
	return func(f *fake, _ int) {
		good := f.normalize
		f.normalize = func(s sources.Stream, r sources.Record) (schema.Event, error) {
			e, err := good(s, r)
			change(r, &e, &err)
			return e, err
		}
	}
}

func brokenEvents() []broken {
	var count atomic.Int64
	return []broken{
		{"unmarked error of Normalize", "reject", events(func(_ sources.Record, _ *schema.Event, err *error) {
			if *err != nil {
				*err = errors.New("no")
			}
		})},
		{"event of a poison row", "normalize poison", func(f *fake, _ int) {
			good := f.normalize
			f.normalize = func(s sources.Stream, r sources.Record) (schema.Event, error) { r.Fault = nil; return good(s, r) }
		}},
		{"row changed by Normalize", "normalize", events(func(r sources.Record, _ *schema.Event, _ *error) {
			if r.ID == "7" {
				r.Raw[0] ^= 1
			}
		})},
		{"event differs", "normalize", events(func(_ sources.Record, e *schema.Event, _ *error) { e.ProviderStatus = fmt.Sprint(count.Add(1)) })},
		{"event against the schema", "event", events(func(_ sources.Record, e *schema.Event, _ *error) { e.Status = "lost" })},
		{"event of another record", "event", events(func(_ sources.Record, e *schema.Event, _ *error) { e.Record.ID = "other" })},
		{"event of nobody", "event", events(func(_ sources.Record, e *schema.Event, _ *error) { e.Source.Account = "" })},
		{"event that ends too early", "event", events(func(r sources.Record, e *schema.Event, _ *error) { e.Record.Terminal = !r.Terminal })},
		{"event of another time", "event", events(func(_ sources.Record, e *schema.Event, _ *error) { e.CreatedAt = begin.Add(time.Hour) })},
		{"event with the pipeline's fields", "event", events(func(_ sources.Record, e *schema.Event, _ *error) { e.ObservedAt = begin })},
		{"event with another privacy", "event", events(func(_ sources.Record, e *schema.Event, _ *error) { e.Privacy = schema.PrivacyStrict })},
		{"event with a row", "event", events(func(_ sources.Record, e *schema.Event, _ *error) { e.Raw = "{}" })},
		{"event without its channel's section", "event", events(func(_ sources.Record, e *schema.Event, _ *error) { e.SMS = nil })},
		{"event with another channel's section", "event", events(func(_ sources.Record, e *schema.Event, _ *error) { e.Webhook = &schema.Webhook{} })},
		{"event with a field that is not described", "event", events(func(_ sources.Record, e *schema.Event, _ *error) {
			e.SMS, e.Channel = nil, "push"
			e.Section = map[string]any{"fake": map[string]any{}, "extra": 1}
		})},
		{"event with another's section", "event", events(func(_ sources.Record, e *schema.Event, _ *error) {
			e.Section = map[string]any{"submail": map[string]any{}}
		})},
		{"secret in an event", "secret", events(func(_ sources.Record, e *schema.Event, _ *error) { e.ProviderStatus = "canary" })},
	}
}
