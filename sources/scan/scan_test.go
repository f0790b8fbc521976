package scan

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"connector/sources"
)

const tick = time.Second

func TestMain(m *testing.M) {
	_ = flag.Set("rapid.checks", "3000") // a flag on the command line wins
	os.Exit(m.Run())
}

func at(n int) time.Time             { return time.Unix(1_700_000_000+int64(n), 0) }
func span(from, to int) sources.Span { return sources.Span{From: at(from), To: at(to)} }

// row is a row of a provider; it is in answers from request number visible on.
type row struct {
	id      string
	tick    int
	visible int
}

func (r row) record() sources.Record {
	return sources.Record{ID: r.id, Created: at(r.tick), Raw: []byte("{}")}
}

// provider answers pages of rows the way a paged API does.
type provider struct {
	rows     []row
	size     int
	order    func(a, b row) int
	widen    int // ticks each request reaches beyond its span
	requests int
	most     int // requests, a sign of an endless loop when there are more
}

func byTime(a, b row) int {
	return cmp.Or(cmp.Compare(a.tick, b.tick), strings.Compare(a.id, b.id))
}

func (p *provider) page(_ context.Context, s sources.Span, offset int) (Page, error) {
	p.requests++
	if p.requests > p.most {
		return Page{}, errors.New("too many requests")
	}
	from, to := s.From.Add(-time.Duration(p.widen)*tick), s.To.Add(time.Duration(p.widen)*tick)
	var all []row
	for _, r := range p.rows {
		if r.visible < p.requests && !at(r.tick).Before(from) && !at(r.tick).After(to) {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, p.order)
	all = all[min(offset*p.size, len(all)):]
	page := Page{Full: len(all) >= p.size}
	for _, r := range all[:min(p.size, len(all))] {
		page.Records = append(page.Records, r.record())
	}
	return page, nil
}

// check runs a scan and checks each chunk: every row that was visible before
// the scan and lies in what is proven has been yielded.
func check(p *provider, window sources.Span) error {
	seen := map[string]bool{}
	before := sources.Span{From: window.From, To: window.From.Add(-tick)}
	for chunk, err := range Keyset(context.Background(), window, tick, p.page) {
		if err != nil {
			return err
		}
		for _, r := range chunk.Records {
			seen[r.ID] = true
		}
		if chunk.Proven.From != window.From || chunk.Proven.To.Before(before.To) || chunk.Proven.To.After(window.To) {
			return fmt.Errorf("proven goes from %v to %v", before, chunk.Proven)
		}
		before = chunk.Proven
		for _, r := range p.rows {
			if r.visible == 0 && before.Contains(at(r.tick)) && !seen[r.id] {
				return fmt.Errorf("row %+v is missing of the proven %v", r, before)
			}
		}
	}
	if before != window {
		return fmt.Errorf("got proven %v at the end, want %v", before, window)
	}
	return nil
}

func TestKeysetNeverLoses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ticks := rapid.IntRange(1, 30).Draw(t, "ticks")
		p := &provider{
			size: rapid.IntRange(1, 12).Draw(t, "page size"), widen: rapid.IntRange(0, 1).Draw(t, "widen"), order: byTime, most: 2000,
		}
		if rapid.Bool().Draw(t, "descending") {
			p.order = func(a, b row) int { return byTime(b, a) }
		}
		late := rapid.SampledFrom([]int{0, 10}).Draw(t, "late")
		n := rapid.IntRange(0, 150).Draw(t, "rows")
		for i := range n {
			p.rows = append(p.rows, row{
				id: fmt.Sprintf("%03d", rapid.IntRange(0, 9).Draw(t, "order in the tick")*200+i), tick: rapid.IntRange(-3, ticks+3).Draw(t, "tick"),
				visible: rapid.IntRange(0, late).Draw(t, "visible"),
			})
		}
		err := check(p, span(0, ticks))
		if late > 0 && errors.Is(err, ErrOffset) {
			return // as many rows as a page arrived in between: the scan is tried again
		}
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestKeyset(t *testing.T) {
	byID := func(a, b row) int { return strings.Compare(a.id, b.id) }
	spread := func(n, perTick int) (rows []row) {
		for i := range n {
			rows = append(rows, row{id: fmt.Sprint((i * 7919) % 10007), tick: i / perTick})
		}
		return rows
	}
	tests := []struct {
		name     string
		rows     []row
		order    func(a, b row) int
		window   sources.Span
		requests int // at most
	}{
		{"no rows", nil, byTime, span(0, 100), 1},
		{"one page", spread(9, 1), byTime, span(0, 100), 1},
		{"exactly a page", spread(10, 1), byTime, span(0, 100), 2},
		{"many pages", spread(100, 1), byTime, span(0, 100), 14},
		{"ties within a page", spread(100, 4), byTime, span(0, 100), 40},
		{"ticks that fill pages", spread(100, 25), byTime, span(0, 3), 50},
		{"no order", spread(100, 1), byID, span(0, 100), 40},
		{"no order, one tick", spread(35, 35), byID, span(0, 100), 20},
		{"one tick is the window", spread(35, 35), byTime, span(0, 0), 10},
		{"empty window", spread(35, 35), byTime, span(0, -1), 0},
		{"full page reaches beyond the window", spread(20, 5), byTime, span(0, 0), 2},
	}
	for _, tt := range tests {
		for widen := range 2 {
			p := &provider{rows: tt.rows, size: 10, order: tt.order, widen: widen, most: tt.requests}
			if err := check(p, tt.window); err != nil {
				t.Errorf("%s, widened by %d: %v", tt.name, widen, err)
			}
		}
	}
}

func TestKeysetUnreadableTimes(t *testing.T) {
	p := &provider{rows: []row{{"a", 1, 0}, {"b", 1, 0}, {"c", 2, 0}, {"d", 3, 0}, {"e", 4, 0}}, size: 2, order: byTime, most: 100}
	poison := func(ctx context.Context, s sources.Span, offset int) (Page, error) {
		page, err := p.page(ctx, s, offset)
		for i, r := range page.Records {
			if r.ID == "b" || r.ID == "d" {
				page.Records[i].Created = time.Time{}
			}
		}
		return page, err
	}
	seen := map[string]bool{}
	var proven sources.Span
	for chunk, err := range Keyset(t.Context(), span(0, 9), tick, poison) {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range chunk.Records {
			seen[r.ID] = true
		}
		proven = chunk.Proven
	}
	if len(seen) != 5 || proven != span(0, 9) {
		t.Errorf("got rows %v, proven %v, want all five and the window", seen, proven)
	}
}

func TestKeysetErrors(t *testing.T) {
	fails := errors.New("page fails")
	tests := []struct {
		name string
		page PageFunc
		want error
	}{
		{"page fails", func(_ context.Context, s sources.Span, _ int) (Page, error) {
			if s.From.Equal(at(0)) {
				return Page{Full: true, Records: []sources.Record{{ID: "a", Created: at(0)}, {ID: "b", Created: at(1)}}}, nil
			}
			return Page{}, fails
		}, fails},
		{"index is ignored", func(context.Context, sources.Span, int) (Page, error) {
			return Page{Full: true, Records: []sources.Record{{ID: "a", Created: at(0)}}}, nil
		}, ErrOffset},
	}
	for _, tt := range tests {
		var got error
		for chunk, err := range Keyset(t.Context(), span(0, 9), tick, tt.page) {
			if got != nil {
				t.Errorf("%s: something follows the error", tt.name)
			}
			if got = err; chunk.Proven == span(0, 9) {
				t.Errorf("%s: got the window proven", tt.name)
			}
		}
		if !errors.Is(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestChunks(t *testing.T) {
	window := span(0, 9)
	record := func(size int) sources.Record { return sources.Record{Raw: make([]byte, size)} }
	tests := []struct {
		name    string
		records []sources.Record
		want    []int // records per chunk
	}{
		{"none", nil, []int{0}},
		{"few", slices.Repeat([]sources.Record{record(10)}, 3), []int{3}},
		{"many", slices.Repeat([]sources.Record{record(10)}, 2*MaxRecords+1), []int{MaxRecords, MaxRecords, 1}},
		{"large", slices.Repeat([]sources.Record{record(MaxBytes / 4)}, 9), []int{4, 4, 1}},
		{"larger than a chunk", []sources.Record{record(1), record(2 * MaxBytes), record(1)}, []int{1, 1, 1}},
	}
	for _, tt := range tests {
		var got []int
		var proven []bool
		for chunk, err := range Run(window, tick, func(c *Chunks) error {
			for _, r := range tt.records {
				if err := c.Add(r); err != nil {
					return err
				}
			}
			return c.Prove(window.To)
		}) {
			if err != nil {
				t.Fatal(err)
			}
			got, proven = append(got, len(chunk.Records)), append(proven, chunk.Proven == window)
		}
		if !slices.Equal(got, tt.want) || slices.Index(proven, true) != len(proven)-1 {
			t.Errorf("%s: got chunks of %v records, proven %v, want %v, proven in the last", tt.name, got, proven, tt.want)
		}
	}
}

func TestStop(t *testing.T) {
	p := &provider{rows: []row{{"a", 0, 0}, {"b", 1, 0}, {"c", 2, 0}}, size: 1, order: byTime, most: 1000}
	for range Keyset(t.Context(), span(0, 9), tick, p.page) {
		break
	}
	if p.requests > 3 {
		t.Errorf("got %d requests after the consumer stopped at the first chunk", p.requests)
	}
}
