package scan

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
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
	other   int // tick of another time; 0: none
}

func (r row) row() Row {
	row := Row{Record: sources.Record{ID: r.id, Created: at(r.tick), Raw: []byte("{}")}}
	if r.other != 0 {
		row.Other = at(r.other)
	}
	return row
}

// How an API says how many rows there are.
const (
	noTotal = iota
	pageTotal
	trueTotal
)

// provider answers pages of rows the way a paged API does.
type provider struct {
	rows     []row
	size     int
	order    func(a, b row) int
	descends bool
	byOther  bool // whether it selects by the other time
	total    int
	shuffles bool // rows of one tick change places
	widen    int  // ticks each request reaches beyond its span
	requests int
	most     int // requests, a sign of an endless loop when there are more
}

// time is what the API selects by.
func (p *provider) time(r row) int {
	if p.byOther {
		return r.other
	}
	return r.tick
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
		if r.visible < p.requests && !at(p.time(r)).Before(from) && !at(p.time(r)).After(to) {
			all = append(all, r)
		}
	}
	if p.shuffles {
		rand.New(rand.NewPCG(0, uint64(p.requests))).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
	slices.SortStableFunc(all, p.order)
	count := len(all)
	all = all[min(offset*p.size, len(all)):]
	page := Page{Full: len(all) >= p.size}
	for _, r := range all[:min(p.size, len(all))] {
		page.Rows = append(page.Rows, r.row())
	}
	switch p.total {
	case pageTotal:
		page.Total = len(page.Rows)
	case trueTotal:
		page.Total = count
	}
	return page, nil
}

// check runs a scan and checks each chunk: every row that was visible before
// the scan and lies in what is proven has been yielded.
func check(p *provider, window sources.Span) error {
	seen := map[string]bool{}
	before := sources.Span{From: window.From, To: window.From.Add(-tick)}
	for chunk, err := range Keyset(context.Background(), window, tick, p.page) {
		if gap, ok := errors.AsType[*sources.GapError](err); ok && (gap.Span.From != before.To.Add(tick) || gap.Span.To != gap.Span.From) {
			return fmt.Errorf("gap %w after %v", gap, before)
		}
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
			if r.visible == 0 && before.Contains(at(p.time(r))) && !seen[r.id] {
				return fmt.Errorf("row %+v is missing of the proven %v", r, before)
			}
		}
	}
	if before != window {
		return fmt.Errorf("got proven %v at the end, want %v", before, window)
	}
	return nil
}

// newProvider draws a provider with rows in and around the first ticks.
func newProvider(d dice, ticks int) *provider {
	p := &provider{
		size: d("page size", 1, 12), widen: d("widen", 0, 1), byOther: d("by other", 0, 1) == 1,
		total: d("total", noTotal, trueTotal), shuffles: d("shuffles", 0, 1) == 1, most: 3000,
	}
	p.descends = pick(d, "descending", 0, 0, 0, 1) == 1
	sign := 1
	if p.descends {
		sign = -1
	}
	p.order = func(a, b row) int { return sign * cmp.Compare(p.time(a), p.time(b)) }
	late, delay := pick(d, "late", 0, 10), pick(d, "delay", 0, 1, 5)
	n, few := d("rows", 0, 150), pick(d, "ticks with rows", 1, 3, 30)
	for i := range n {
		r := row{id: fmt.Sprintf("%03d", d("place", 0, 9)*200+i), tick: min(d("tick", -3, ticks+3), d("few", 0, few)+1), visible: d("visible", 0, late)}
		r.other = r.tick + d("delay", 0, delay)
		if !p.byOther && d("lacks the other", 0, 9) == 0 {
			r.other = 0
		}
		p.rows = append(p.rows, r)
	}
	return p
}

// explained reports whether a provider gives a reason for a gap: a tick of more
// than a page whose rows it does not count, or not in an order that lasts.
func (p *provider) explained(err error) bool {
	gap, ok := errors.AsType[*sources.GapError](err)
	if !ok {
		return false
	}
	around, late := 0, false
	for _, r := range p.rows {
		if t := ticksOf(gap.Span.From) - p.time(r); max(t, -t) <= p.widen {
			around++
			late = late || r.visible > 0
		}
	}
	return around >= p.size && (p.total != trueTotal || p.shuffles || late || around == p.size)
}

func TestKeysetNeverLoses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ticks := rapid.IntRange(1, 30).Draw(t, "ticks")
		p := newProvider(rapidDice(t), ticks)
		if p.descends {
			p.size = max(p.size, 10) // a smaller page may ascend by chance
		}
		if err := check(p, span(0, ticks)); err != nil && !p.explained(err) {
			t.Fatal(err)
		}
	})
}

// TestKeysetHistories counts what happens in a fixed set of scans.
func TestKeysetHistories(t *testing.T) {
	gaps, proven, requests := 0, 0, 0
	for i := range 5_000 {
		d := randDice(uint64(i))
		p := newProvider(d, 30)
		err := check(p, span(0, 30))
		if err != nil && !p.explained(err) {
			t.Fatalf("history %d: %v", i, err)
		}
		if requests += p.requests; err != nil {
			gaps++
		} else {
			proven++
		}
	}
	t.Logf("%d scans proven, %d end in a gap, %d requests", proven, gaps, requests)
	if proven < 1000 || gaps < 1000 {
		t.Error("the histories hold too little of either")
	}
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
			p := &provider{rows: tt.rows, size: 10, order: tt.order, total: trueTotal, widen: widen, most: tt.requests}
			if err := check(p, tt.window); err != nil {
				t.Errorf("%s, widened by %d: %v", tt.name, widen, err)
			}
		}
	}
}

func TestKeysetUnreadableTimes(t *testing.T) {
	p := &provider{rows: []row{{"a", 1, 0, 0}, {"b", 1, 0, 0}, {"c", 2, 0, 0}, {"d", 3, 0, 0}, {"e", 4, 0, 0}}, size: 2, order: byTime, total: trueTotal, most: 100}
	poison := func(ctx context.Context, s sources.Span, offset int) (Page, error) {
		page, err := p.page(ctx, s, offset)
		for i, r := range page.Rows {
			if r.ID == "b" || r.ID == "d" {
				page.Rows[i].Created = time.Time{}
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
		want string
	}{
		{"page fails", func(_ context.Context, s sources.Span, _ int) (Page, error) {
			if s.From.Equal(at(0)) {
				return Page{Full: true, Rows: []Row{{Record: sources.Record{ID: "a", Created: at(0)}}, {Record: sources.Record{ID: "b", Created: at(1)}}}}, nil
			}
			return Page{}, fails
		}, "page fails"},
		{"index is ignored", func(context.Context, sources.Span, int) (Page, error) {
			return Page{Full: true, Rows: []Row{{Record: sources.Record{ID: "a", Created: at(0)}}}}, nil
		}, "page 1 of this one instant holds no row"},
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
		if got == nil || !strings.Contains(got.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, got, tt.want)
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

// Rows that were read before an error may have changed by the next scan: they
// are yielded, and prove nothing. A scan that is cancelled ends at once.
func TestRowsBeforeAnError(t *testing.T) {
	for _, tt := range []struct {
		err  error
		rows int
	}{{errors.New("cut"), 1}, {&sources.GapError{Span: span(0, 9)}, 1}, {fmt.Errorf("reading: %w", context.Canceled), 0}} {
		rows, last := 0, error(nil)
		for chunk, err := range Run(span(0, 9), tick, func(c *Chunks) error {
			return errors.Join(c.Add(row{id: "a", tick: 1}.row().Record), tt.err)
		}) {
			if rows += len(chunk.Records); err == nil && !chunk.Proven.Empty() {
				t.Errorf("%v: got %s proven, want nothing", tt.err, chunk.Proven)
			}
			last = err
		}
		if rows != tt.rows || !errors.Is(last, tt.err) {
			t.Errorf("%v: got %d rows and %v, want %d and the error", tt.err, rows, last, tt.rows)
		}
	}
}

func TestStop(t *testing.T) {
	p := &provider{rows: []row{{"a", 0, 0, 0}, {"b", 1, 0, 0}, {"c", 2, 0, 0}}, size: 1, order: byTime, most: 1000}
	for range Keyset(t.Context(), span(0, 9), tick, p.page) {
		break
	}
	if p.requests > 3 {
		t.Errorf("got %d requests after the consumer stopped at the first chunk", p.requests)
	}
}

// TestKeysetAscendsByChance has an API without an order, most of whose rows
// share a tick: a page often ascends all the same. The totals tell.
func TestKeysetAscendsByChance(t *testing.T) {
	chance := 0
	for i := range 300 {
		rng := rand.New(rand.NewPCG(uint64(i), 0))
		p := &provider{size: 25, total: trueTotal, most: 3000}
		for n := range 75 {
			p.rows = append(p.rows, row{id: fmt.Sprintf("%02d", n), tick: 4 * max(0, n-71) / max(1, n-71)})
		}
		rng.Shuffle(len(p.rows), func(a, b int) { p.rows[a], p.rows[b] = p.rows[b], p.rows[a] })
		p.order = func(row, row) int { return 0 }
		if slices.IsSortedFunc(p.rows[:25], func(a, b row) int { return a.tick - b.tick }) && p.rows[24].tick > 0 {
			chance++
		}
		if err := check(p, span(-10, 10)); err != nil {
			t.Fatalf("history %d: %v", i, err)
		}
	}
	if chance == 0 {
		t.Error("no page ascends by chance")
	}
}
