package scan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"connector/sources"
)

// logRow is a row of an API without pages.
type logRow struct {
	id      int
	created int // ticks
	updated int
	size    int64
	visible int // number of the request from which on it is in the log; 0: from the beginning
	moves   int // number of the request from which on updated is moved; 0: never
	moved   int
}

func (r logRow) updatedAt(request int) int {
	if r.moves > 0 && request >= r.moves {
		return r.moved
	}
	return r.updated
}

// Which rows a capped answer keeps.
const (
	keepFirst = iota
	keepLast
	keepLowIDs
	keepRandom
)

// history is an API without pages and what is asked of it: windows one after
// the other, each of some ticks.
type history struct {
	rows     []logRow
	windows  int
	ticks    int // of a window
	widen    int // ticks each request reaches beyond its span
	byUpdate bool
	limit    int // the cap; 0: none
	keep     int
	seed     uint64
	requests int
	used     []int // requests of each scan
	// What has happened.
	gaps, cuts, arrivals int
}

// time is what the API selects by.
func (h *history) time(r logRow, request int) int {
	if h.byUpdate {
		return r.updatedAt(request)
	}
	return r.created
}

func (h *history) answer(_ context.Context, s sources.Span, take func(Row) error) error {
	h.requests++
	from, to := ticksOf(s.From)-h.widen, ticksOf(s.To)+h.widen
	var rows []logRow
	for _, r := range h.rows {
		if at := h.time(r, h.requests); r.visible < h.requests && from <= at && at <= to {
			rows = append(rows, r)
		}
	}
	h.order(rows)
	if h.limit > 0 && len(rows) > h.limit {
		h.cuts++
		rows = rows[:h.limit]
	}
	for _, r := range rows {
		record := sources.Record{ID: fmt.Sprint(r.id), Created: at(r.created), Size: r.size}
		if err := take(Row{record, at(r.updatedAt(h.requests))}); err != nil {
			return err
		}
	}
	return nil
}

// order puts the rows first that a cap keeps.
func (h *history) order(rows []logRow) {
	switch h.keep {
	case keepFirst:
		slices.SortStableFunc(rows, func(a, b logRow) int { return cmp.Compare(h.time(a, h.requests), h.time(b, h.requests)) })
	case keepLast:
		slices.SortStableFunc(rows, func(a, b logRow) int { return cmp.Compare(h.time(b, h.requests), h.time(a, h.requests)) })
	case keepRandom:
		r := rand.New(rand.NewPCG(h.seed, uint64(h.requests)))
		r.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	}
}

func ticksOf(t time.Time) int { return int(t.Sub(at(0)) / tick) }

// Ways in which a scan of a history can go wrong, beside losing a row.
var (
	errRequests = errors.New("too many requests")
	errGap      = errors.New("a gap without a reason")
)

// run scans the windows with one memory and returns the first thing wrong.
func (h *history) run() error {
	memory := new(Memory)
	for w := range h.windows {
		from := w * (h.ticks + 1)
		before := h.requests
		err := h.scan(span(from, from+h.ticks), memory)
		if used, most := h.requests-before, h.bound(span(from, from+h.ticks), before); err == nil && used > most {
			err = fmt.Errorf("%w: %d, at most %d", errRequests, used, most)
		}
		if err != nil {
			return fmt.Errorf("window %d: %w", w, err)
		}
		h.used = append(h.used, h.requests-before)
	}
	return nil
}

// scan runs one scan and checks each chunk: every row that was visible before
// the scan and lies in what is proven has been yielded. A gap must have a reason.
func (h *history) scan(window sources.Span, memory *Memory) error {
	began := h.requests
	defer func() {
		for _, r := range h.rows {
			if r.visible > began && r.visible < h.requests {
				h.arrivals++
			}
		}
	}()
	seen := map[string]bool{}
	proven := sources.Span{From: window.From, To: window.From.Add(-tick)}
	for chunk, err := range Split(context.Background(), window, tick, memory, h.answer) {
		if gap, ok := errors.AsType[*sources.GapError](err); ok {
			h.gaps++
			return h.explains(window, proven, gap, began)
		}
		if err != nil {
			return err
		}
		for _, r := range chunk.Records {
			seen[r.ID] = true
		}
		if chunk.Proven.From != window.From || chunk.Proven.To.Before(proven.To) || chunk.Proven.To.After(window.To) {
			return fmt.Errorf("proven goes from %v to %v", proven, chunk.Proven)
		}
		proven = chunk.Proven
		for _, r := range h.rows {
			was, is := at(h.time(r, began)), at(h.time(r, h.requests))
			if r.visible <= began && was.Equal(is) && proven.Contains(was) && !seen[fmt.Sprint(r.id)] {
				return fmt.Errorf("row %+v is missing of the proven %v", r, proven)
			}
		}
	}
	if proven != window {
		return fmt.Errorf("got proven %v at the end, want %v", proven, window)
	}
	return nil
}

// explains checks that a gap is where no request can prove anything: as many
// rows around one tick as the cap lets through, or all rows of the window in a
// few ticks. A row that moves meanwhile is a reason to try again.
func (h *history) explains(window, proven sources.Span, gap *sources.GapError, began int) error {
	if gap.Span.From != proven.To.Add(tick) || gap.Span.To != gap.Span.From {
		return fmt.Errorf("%w: %w after %v", errGap, gap, proven)
	}
	around := 0
	for _, r := range h.rows {
		if r.visible < h.requests && near(at(h.time(r, h.requests)), gap.Span, tick) {
			around++
		}
	}
	first, last, moved := h.extent(window, began)
	alone := last-first <= 2*slack
	if around < leastCap || !moved && !alone && (h.limit == 0 || around < h.limit) {
		return fmt.Errorf("%w: %w: %d rows around it, cap %d", errGap, gap, around, h.limit)
	}
	return nil
}

// dice draws a number from lo to hi.
type dice func(label string, lo, hi int) int

func rapidDice(t *rapid.T) dice {
	return func(label string, lo, hi int) int { return rapid.IntRange(lo, hi).Draw(t, label) }
}

func randDice(seed uint64) dice {
	r := rand.New(rand.NewPCG(seed, 1))
	return func(_ string, lo, hi int) int { return lo + r.IntN(hi-lo+1) }
}

func pick(d dice, label string, of ...int) int { return of[d(label, 0, len(of)-1)] }

// newHistory draws a history; calm ones have neither cap, late rows nor changes.
func newHistory(d dice, calm bool) *history {
	h := &history{
		windows: d("windows", 1, 4), ticks: pick(d, "ticks", 0, 1, 3, 20, 400, 3_600_000), widen: d("widen", 0, 1),
		byUpdate: d("by update", 0, 1) == 1, seed: uint64(d("seed", 0, 1<<30)),
	}
	late, moving := 0, 0
	if !calm {
		h.limit, h.keep = pick(d, "cap", 0, 10, 11, 12, 17, 40), d("keep", keepFirst, keepRandom)
		late, moving = pick(d, "late", 0, 3, 8, 60), d("moving", 0, 1)
	}
	h.populate(d("rows", 0, 160), d("bursts", 0, 3), pick(d, "width of bursts", 1, 3, 30), late, moving == 1)
	return h
}

// populate makes n rows, most of them in bursts.
func (h *history) populate(n, bursts, width, late int, moving bool) {
	r := rand.New(rand.NewPCG(h.seed, 0))
	all := h.windows*(h.ticks+1) + 6
	centres := []int{r.IntN(all) - 3, r.IntN(all) - 3, r.IntN(all) - 3}
	for id := range n {
		row := logRow{id: id, created: r.IntN(all) - 3, size: 200 + r.Int64N(100)}
		if bursts > 0 && r.IntN(4) > 0 {
			row.created = centres[r.IntN(bursts)] + r.IntN(width)
		}
		row.updated = row.created + r.IntN(1+r.IntN(1+min(all, 1000)))
		if late > 0 && r.IntN(3) == 0 {
			row.visible = r.IntN(late * h.windows)
		}
		if moving && r.IntN(5) == 0 {
			row.moves, row.moved = 1+r.IntN(20*h.windows), row.updated+r.IntN(all)
		}
		h.rows = append(h.rows, row)
	}
}

// bound is the most requests a scan that began after so many may take. In
// proportion to the answers that the rows need if there is a cap; else one for
// the answer and three for its proof, and some more to find the edges when all
// rows are in one place. Rows that leave the window meanwhile cost, too.
func (h *history) bound(window sources.Span, began int) int {
	first, last, moved := h.extent(window, began)
	switch {
	case h.limit > 0:
		return 24 + 8*len(h.rows)/h.limit
	case moved:
		return 24
	case last-first <= 2*slack, h.byUpdate: // and until it is seen that the cut goes by another time than the API
		return 16
	}
	return 4
}

// extent returns the first and last tick with rows in window that were there
// when a scan began, and whether one of them has been moved since.
func (h *history) extent(window sources.Span, began int) (first, last int, moved bool) {
	asked := span(ticksOf(window.From)-h.widen, ticksOf(window.To)+h.widen)
	first, last = ticksOf(window.To), ticksOf(window.From)
	for _, r := range h.rows {
		if was := h.time(r, began); r.visible <= began && asked.Contains(at(was)) {
			first, last = min(first, was), max(last, was)
		}
		moved = moved || h.time(r, began) != h.time(r, h.requests)
	}
	return first, last, moved
}

func TestSplitNeverLoses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if err := newHistory(rapidDice(t), false).run(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestSplitCalm has neither cap, late rows nor changes: scans end proven, in three
// requests, but where all rows of a window are in one place.
func TestSplitCalm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(rapidDice(t), true)
		if err := h.run(); err != nil {
			t.Fatal(err)
		}
		for w, used := range h.used {
			from := w * (h.ticks + 1)
			if most := h.bound(span(from, from+h.ticks), 0); used > 3 && most == 4 {
				t.Fatalf("window %d took %d requests", w, used)
			}
		}
	})
}

// TestSplitHistories counts what goes wrong in a fixed set of histories, and
// how often what the proof is for has happened.
func TestSplitHistories(t *testing.T) {
	var capped, late, scans, requests, gaps, wrong int
	for i := range 5_000 {
		h := newHistory(randDice(uint64(i)), false)
		if err := h.run(); err != nil {
			t.Errorf("history %d: %d rows, cap %d, keep %d, %d windows of %d ticks: %v", i, len(h.rows), h.limit, h.keep, h.windows, h.ticks, err)
			wrong++
		}
		if wrong > 5 {
			t.FailNow()
		}
		capped += h.cuts
		late += h.arrivals
		gaps += h.gaps
		for _, n := range h.used {
			scans, requests = scans+1, requests+n
		}
	}
	t.Logf("%d scans, %d requests, %d cut answers, %d rows that arrived during a scan, %d gaps", scans, requests, capped, late, gaps)
	if capped < 1000 || late < 1000 || gaps < 100 {
		t.Error("the histories hold too little of what the proof is for")
	}
}

// TestSplitRequests counts the requests of scans one after the other.
func TestSplitRequests(t *testing.T) {
	tests := []struct {
		name string
		rows []int   // of each window, one a tick
		size []int64 // of a row
		want []int
	}{
		{"empty", []int{0, 0}, []int64{9, 9}, []int{1, 1}},
		{"first rows, then fewer", []int{30, 29, 1, 0}, []int64{9, 9, 9, 9}, []int{3, 1, 1, 1}},
		{"as many", []int{30, 30, 29}, []int64{9, 9, 9}, []int{3, 3, 1}},
		{"more and more", []int{5, 6, 7}, []int64{9, 9, 9}, []int{3, 3, 3}},
		{"fewer and longer", []int{30, 20, 29}, []int64{9, 90, 9}, []int{3, 3, 1}},
		{"one row", []int{1, 1, 2, 1}, []int64{9, 9, 9, 9}, []int{3, 3, 3, 1}},
	}
	for _, tt := range tests {
		h := &history{windows: len(tt.rows), ticks: 99, widen: 1, keep: keepFirst}
		for w, n := range tt.rows {
			for i := range n {
				h.rows = append(h.rows, logRow{id: len(h.rows), created: w*100 + 10 + 2*i, updated: w*100 + 10 + 2*i, size: tt.size[w]})
			}
		}
		if err := h.run(); err != nil || !slices.Equal(h.used, tt.want) {
			t.Errorf("%s: got %v requests, %v, want %v", tt.name, h.used, err, tt.want)
		}
	}
}

// TestSplitGap has more rows in one tick than an answer holds: what comes before is proven.
func TestSplitGap(t *testing.T) {
	h := &history{ticks: 99, limit: 10, keep: keepFirst}
	for i := range 40 {
		h.rows = append(h.rows, logRow{id: i, created: min(2*i, 40), updated: min(2*i, 40), size: 9})
	}
	var proven sources.Span
	var gap *sources.GapError
	for chunk, err := range Split(t.Context(), span(0, 99), tick, new(Memory), h.answer) {
		if errors.As(err, &gap) {
			continue
		}
		if err != nil || gap != nil {
			t.Fatalf("got %v after %v", err, gap)
		}
		proven = chunk.Proven
	}
	if gap == nil || gap.Span != span(40, 40) || proven != span(0, 39) {
		t.Errorf("got %v proven and gap %v, want a gap at %v", proven, gap, at(40))
	}
}

// TestSplitLongAnswer has more rows, one a tick, than are compared.
func TestSplitLongAnswer(t *testing.T) {
	const rows = maxDigest + 1000
	requests, yielded := 0, 0
	answer := func(_ context.Context, s sources.Span, take func(Row) error) error {
		requests++
		for i := max(0, ticksOf(s.From)); i <= min(ticksOf(s.To), rows-1); i++ {
			if err := take(Row{Record: sources.Record{ID: strconv.Itoa(i), Created: at(i), Size: 9}}); err != nil {
				return err
			}
		}
		return nil
	}
	var proven sources.Span
	for chunk, err := range Split(t.Context(), span(0, 3_600_000), tick, new(Memory), answer) {
		if err != nil {
			t.Fatal(err)
		}
		proven, yielded = chunk.Proven, yielded+len(chunk.Records)
	}
	if proven != span(0, 3_600_000) || requests > 10 || yielded < rows {
		t.Errorf("got %d rows in %d requests, proven %v", yielded, requests, proven)
	}
}

// TestSplitTooLong has answers that are read up to so many rows, which may be none.
func TestSplitTooLong(t *testing.T) {
	for most, want := range map[int]int{30: 23, 5: 75} { // requests
		requests, long := 0, 0
		seen := map[string]bool{}
		answer := func(_ context.Context, s sources.Span, take func(Row) error) error {
			requests++
			from, to := ticksOf(s.From), min(ticksOf(s.To), 99)
			for i := max(0, from); i <= to; i++ {
				if to-from >= most && (i-from == most || most == 5) {
					long++
					return fmt.Errorf("reading: %w", ErrLong)
				}
				if err := take(Row{Record: sources.Record{ID: strconv.Itoa(i), Created: at(i), Size: 9}}); err != nil {
					return err
				}
			}
			return nil
		}
		var proven sources.Span
		for chunk, err := range Split(t.Context(), span(0, 200), tick, new(Memory), answer) {
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range chunk.Records {
				seen[r.ID] = true
			}
			proven = chunk.Proven
		}
		if proven != span(0, 200) || len(seen) != 100 || long == 0 || requests != want {
			t.Errorf("up to %d: got %d rows in %d requests, %d of them too long, proven %v; want %d requests", most, len(seen), requests, long, proven, want)
		}
	}
	tooLong := func(context.Context, sources.Span, func(Row) error) error { return ErrLong }
	for _, err := range Split(t.Context(), span(0, 0), tick, new(Memory), tooLong) {
		if gap, ok := errors.AsType[*sources.GapError](err); !ok || gap.Span != span(0, 0) {
			t.Errorf("got %v, want a gap", err)
		}
	}
}

func TestSplitErrors(t *testing.T) {
	fails := errors.New("answer fails")
	for n := 1; n <= 4; n++ {
		h := &history{ticks: 99, limit: 10, keep: keepFirst}
		for i := range 30 {
			h.rows = append(h.rows, logRow{id: i, created: 3 * i, updated: 3 * i, size: 9})
		}
		answer := func(ctx context.Context, s sources.Span, take func(Row) error) error {
			err := h.answer(ctx, s, take)
			if h.requests == n {
				return fails
			}
			return err
		}
		var got error
		for chunk, err := range Split(t.Context(), span(0, 99), tick, new(Memory), answer) {
			if got = err; chunk.Proven.To.After(chunk.Proven.From) {
				t.Errorf("request %d fails: got %v proven", n, chunk.Proven)
			}
		}
		if !errors.Is(got, fails) || h.requests != n {
			t.Errorf("got %v after %d requests, want the error of request %d", got, h.requests, n)
		}
	}
}
