package checkpoint_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"connector/checkpoint"
	"connector/sources"
)

// model is what the ledger must do, with a map of everything.
type model struct {
	records           map[string]remembered
	settled, frontier time.Time
	forgotten, sealed time.Time // before them, nothing need be read again, and nothing is
}

type remembered struct {
	rank        int64
	print, prev string
	revision    int
	terminal    bool
	bucket      time.Time
	until       time.Time // latest hour in which it was found
	found       []time.Time
}

func newModel() *model {
	return &model{records: map[string]remembered{}, settled: t0.Add(-tick), frontier: t0.Add(-tick)}
}

func (m *model) clone() *model {
	c := *m
	c.records = map[string]remembered{}
	for id, r := range m.records {
		r.found = slices.Clone(r.found)
		c.records[id] = r
	}
	return &c
}

func (m *model) admit(r sources.Record, w sources.Span) (int, bool) {
	at := r.Created
	if at.Before(w.From.Add(-2*time.Second)) || at.After(w.To.Add(2*time.Second)) {
		at = w.To
	}
	at = at.Truncate(time.Hour)
	was, known := m.records[r.ID]
	if !known {
		was.bucket = r.Created.Truncate(5 * time.Minute)
		if r.Created.IsZero() {
			was.bucket = at
		}
	}
	next, fresh := was, false
	if !known || r.Rank >= was.rank && r.Print != was.print && r.Print != was.prev {
		next.rank, next.print, next.prev, next.revision, next.terminal = r.Rank, r.Print, was.print, was.revision+1, r.Terminal
		fresh = true
	}
	if !r.Created.IsZero() || !known {
		if at.After(next.until) {
			next.until = at
		}
	}
	if !next.terminal {
		next.found = append(slices.Clone(next.found), at)
	}
	m.records[r.ID] = next
	if !fresh {
		return 0, false
	}
	return next.revision, true
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// forget drops the records of buckets that nothing reads again: all records
// of a bucket stay as long as one of them.
func (m *model) forget(t time.Time, staged map[string]bool) {
	t = t.Truncate(time.Hour)
	if t.After(m.forgotten) {
		m.forgotten = t
	}
	if end := earliest(t, m.settled.Add(tick)); end.After(m.sealed) {
		m.sealed = end
	}
	type bucket struct {
		start   time.Time
		undated bool
	}
	until := map[bucket]time.Time{}
	keep := map[bucket]bool{}
	of := func(id string, r remembered) bucket { return bucket{r.bucket, id[0] == 'u'} }
	for id, r := range m.records {
		b := of(id, r)
		if r.until.After(until[b]) {
			until[b] = r.until
		}
		keep[b] = keep[b] || staged[id]
	}
	for id, r := range m.records {
		if b := of(id, r); !keep[b] && until[b].Before(t) && !until[b].Add(2*time.Hour).After(m.sealed) {
			delete(m.records, id)
		}
	}
}

// world draws rows and windows of one history.
type world struct {
	rows  []sources.Record // latest versions
	hours int
}

func (w *world) row(t *rapid.T) sources.Record {
	i := rapid.IntRange(0, 40).Draw(t, "row")
	for len(w.rows) <= i {
		n := len(w.rows)
		id := fmt.Sprintf("d%d", n)
		created := t0.Add(time.Duration(n%5*(w.hours*60/5-7))*time.Minute + time.Duration(n)*time.Second)
		if n%10 == 9 {
			id, created = fmt.Sprintf("u%d", n), time.Time{}
		}
		w.rows = append(w.rows, sources.Record{ID: id, Created: created, Print: "0"})
	}
	r := &w.rows[i]
	switch rapid.IntRange(0, 3).Draw(t, "change") {
	case 0: // the next version
		r.Rank++
		r.Print = fmt.Sprint(r.Rank)
		r.Terminal = rapid.Bool().Draw(t, "terminal")
	case 1: // a stale one
		old := *r
		old.Rank = max(0, old.Rank-rapid.Int64Range(1, 2).Draw(t, "stale"))
		old.Print = fmt.Sprint(old.Rank)
		return old
	}
	return *r
}

// TestModel drives the ledger and the model through the same history of
// commits, crashes before and after them, and forgotten hours, with pages of a
// few records, hardly any memory for them, and folds all the time.
func TestModel(t *testing.T) {
	seen := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		d, m := newDisk(), newModel()
		d.budget = rapid.SampledFrom([]int{0, 300, 3000}).Draw(t, "budget")
		records, deltas := rapid.IntRange(1, 6).Draw(t, "page"), rapid.IntRange(1, 30).Draw(t, "delta")
		young := rapid.Uint64Range(1, 32).Draw(t, "young")
		d.shrink = func(l *checkpoint.Ledger) { l.Shrink(records, deltas, young, young+16) }
		w := &world{hours: 12}
		l := d.ledger(t)
		for range rapid.IntRange(1, 120).Draw(t, "commits") {
			b, next, staged := l.Begin(), m.clone(), map[string]bool{}
			from := rapid.IntRange(0, w.hours*60).Draw(t, "from")
			window := span(from*60, from*60+rapid.SampledFrom([]int{0, 300, 3600}).Draw(t, "length"))
			// Undated rows belong to one window, or nothing could tell where they are.
			for range rapid.IntRange(0, 6).Draw(t, "rows") {
				r, in := w.row(t), window
				if r.Created.IsZero() {
					in = span(7200, 7200+600)
				}
				got, fresh := admit(t, b, r, in)
				want, wantFresh := next.admit(r, in)
				if got != want || fresh != wantFresh {
					t.Fatalf("record %+v: got revision %d, %v, want %d, %v", r, got, fresh, want, wantFresh)
				}
				staged[r.ID] = true
			}
			if rapid.IntRange(0, 5).Draw(t, "cover") == 0 {
				s := sources.Span{From: l.Settled(), To: window.To}
				b.Cover(s, window.To, 0)
				if s.To.After(next.settled) {
					next.settled = s.To
				}
				if s.To.After(next.frontier) {
					next.frontier = s.To
				}
			}
			if rapid.IntRange(0, 5).Draw(t, "forget") == 0 {
				b.Seal(window.To)
				before := len(next.records)
				next.forget(window.To, staged)
				seen["forgot"] += before - len(next.records)
			}
			switch rapid.IntRange(0, 9).Draw(t, "crash") {
			case 0:
				l = d.ledger(t)
				seen["crash before"]++
				continue
			case 1:
				d.save(entries(t, b))
				l = d.ledger(t)
				seen["crash after"]++
			case 2:
				entries(t, b) // the store refused it once
				d.commit(t, b)
			default:
				if !b.Empty() {
					d.commit(t, b)
				}
			}
			m = next
			checkOpen(t, l, m)
		}
		seen["pages read"] += d.gets
		seen["splits"] += l.Parts()
	})
	for _, event := range []string{"forgot", "crash before", "crash after", "pages read", "splits"} {
		if seen[event] < 10 {
			t.Errorf("%s: happened %d times, which proves nothing", event, seen[event])
		}
	}
}

// checkOpen checks times, and the hours to read again: they hold every open
// record, and are hours in which a bucket with open records was ever found.
func checkOpen(t *rapid.T, l *checkpoint.Ledger, m *model) {
	if !l.Settled().Equal(m.settled) || !l.Frontier().Equal(m.frontier) {
		t.Fatalf("got settled %v, frontier %v, want %v, %v", l.Settled(), l.Frontier(), m.settled, m.frontier)
	}
	spans := l.Open(t0.Add(-48*time.Hour), t0.Add(48*time.Hour))
	bucketOf := func(id string, r remembered) string { return fmt.Sprint(id[:1], r.bucket) }
	open := map[string]bool{}
	for id, r := range m.records {
		if r.terminal {
			continue
		}
		open[bucketOf(id, r)] = true
		for _, at := range []time.Time{r.found[len(r.found)-1], r.bucket} {
			if !at.Before(m.forgotten.Truncate(time.Hour)) && !slices.ContainsFunc(spans, func(s sources.Span) bool { return s.Contains(at) }) {
				t.Fatalf("record %s found at %v is open, not read again in %v", id, at, spans)
			}
		}
	}
	may := map[time.Time]bool{}
	for id, r := range m.records {
		if open[bucketOf(id, r)] {
			for _, at := range append(slices.Clone(r.found), r.bucket.Truncate(time.Hour)) {
				may[at] = true
			}
		}
	}
	for i, s := range spans {
		if i > 0 && !s.From.After(spans[i-1].To) {
			t.Fatalf("got %v, want ascending hours, merged", spans)
		}
		for at := s.From; at.Before(s.To); at = at.Add(time.Hour) {
			if !may[at] {
				t.Fatalf("nothing is open at %v, got %v", at, spans)
			}
		}
	}
}
