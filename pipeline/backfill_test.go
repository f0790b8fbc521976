package pipeline_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"connector/pipeline"
	"connector/sources"
)

// past asks for what lies a while back.
func past(from, to time.Duration) *pipeline.Backfill {
	return &pipeline.Backfill{Account: "a", Span: sources.Span{From: at(-from), To: at(-to)}}
}

// oldRows has rows before the start of the streams, three hours back, and one after it.
func oldRows() map[string][]row {
	return map[string][]row{"s": {
		{id: "too old", created: at(-20 * time.Hour)},
		{id: "a", created: at(-9 * time.Hour)},
		{id: "b", created: at(-5 * time.Hour)},
		{id: "new", created: at(-time.Hour)},
	}, "other": {{id: "c", created: at(-5 * time.Hour)}}}
}

func TestBackfillReadsThePastOnceAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &memory{}
		for range 2 {
			opts := options(&provider{streams: []string{"s"}, rows: oldRows()}, sink)
			opts.Backfill = past(10*time.Hour, time.Minute)
			began := time.Now()
			p := pipeline.New(opts)
			if err := p.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > time.Minute {
				t.Errorf("took %v, want less than a minute", took)
			}
			got, total := p.Progress()[0], 10*time.Hour-3*time.Hour-time.Second
			if len(sink.events) == 3 && got.Total == total {
				want := pipeline.Progress{Source: got.Source, Done: total, Total: total, Rows: 2, Events: 2, Stopped: true}
				if got != want {
					t.Errorf("first: got %+v, want %+v", got, want)
				}
			} else if got.Total != 0 {
				t.Errorf("again: got %+v, want nothing to do", got)
			}
		}
		if got, want := sink.versions(), []string{"new", "a", "b"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestBackfillOfOneStreamAfterMarkOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &memory{}
		p := &provider{streams: []string{"s", "other"}, rows: oldRows()}
		opts := options(p, sink)
		opts.Backfill = past(10*time.Hour, 4*time.Hour)
		opts.Backfill.Stream, opts.Backfill.MarkOnly = "s", true
		if err := pipeline.New(opts).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(p.scans) != 0 || len(sink.events) != 0 {
			t.Errorf("marking: got %d scans and %d events, want none", len(p.scans), len(sink.events))
		}
		opts.Backfill = nil
		if err := runFor(t, opts, time.Minute); err != nil {
			t.Fatal(err)
		}
		if got, want := sink.versions(), []string{"new", "a", "b"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// TestBackfillEndsAlthoughAStreamStops must not wait for a stream that no one reads.
func TestBackfillEndsAlthoughAStreamStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := options(&provider{streams: []string{"s", "other"}, rows: oldRows(), fail: func(stream string, _ int) error {
			if stream == "other" {
				return fatal()
			}
			return nil
		}}, &memory{})
		opts.Backfill = past(10*time.Hour, time.Hour)
		p := pipeline.New(opts)
		if err := p.Run(t.Context()); err == nil {
			t.Error("got no error, want the fatal one")
		}
		got := p.Progress()
		if got[0].Done != got[0].Total || got[0].Total == 0 || got[1].Done != 0 || !got[1].Stopped {
			t.Errorf("got %+v, want the first stream read and the second stopped", got)
		}
	})
}

// TestBackfillCountsGaps reads past what cannot be proven, and ends.
func TestBackfillCountsGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hole := sources.Span{From: at(-8 * time.Hour), To: at(-8*time.Hour + time.Minute)}
		opts := options(&provider{streams: []string{"s"}, rows: oldRows(), gap: func() *sources.Span { return &hole }}, &memory{})
		opts.Backfill = past(10*time.Hour, time.Hour)
		p := pipeline.New(opts)
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := p.Progress()[0]; got.Gaps != 1 || got.Done != got.Total || got.Rows != 2 {
			t.Errorf("got %+v, want one gap, two rows, and all read", got)
		}
	})
}

// TestBackfillBesideTheStart reads a window up to the start after what was read
// from there on is given up. Answers reach a tick further than asked.
func TestBackfillBesideTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := at(-3 * time.Hour).Truncate(time.Second)
		edge := row{id: "edge", created: start.Add(-time.Second), final: true}
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {edge, {id: "first", created: start, final: true}}}}
		p.wider = time.Second
		sink := &memory{}
		opts := options(p, sink)
		opts.Start = func(time.Time) time.Time { return start }
		if err := runFor(t, opts, 10*time.Hour); err != nil {
			t.Fatal(err)
		}
		if got, want := sink.versions(), []string{"first"}; !slices.Equal(got, want) {
			t.Errorf("from the start on: got %q, want %q", got, want)
		}
		opts.Backfill = &pipeline.Backfill{Span: sources.Span{From: start.Add(-time.Hour), To: start}}
		if err := runFor(t, opts, time.Hour); err != nil {
			t.Fatal(err)
		}
		if got, want := sink.versions(), []string{"first", "edge"}; !slices.Equal(got, want) {
			t.Errorf("with what lies before: got %q, want %q", got, want)
		}
	})
}
