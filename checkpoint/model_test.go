package checkpoint_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
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
	forgotten, closed time.Time // before them, nothing need be read again, and nothing is
	sealed            map[time.Time]checkpoint.Day
}

type remembered struct {
	rank        int64
	print, prev string
	revision    int
	terminal    bool
	bucket      time.Time
	created     time.Time
	missing     time.Time // of the reading that it was absent from; zero: it is there
	left        bool
	until       time.Time // latest hour in which it was found
	found       []time.Time
}

func newModel() *model {
	return &model{records: map[string]remembered{}, sealed: map[time.Time]checkpoint.Day{}, settled: t0.Add(-tick), frontier: t0.Add(-tick)}
}

func (m *model) clone() *model {
	c := *m
	c.records, c.sealed = map[string]remembered{}, maps.Clone(m.sealed)
	for id, r := range m.records {
		r.found = slices.Clone(r.found)
		c.records[id] = r
	}
	return &c
}

func (m *model) admit(r sources.Record, w sources.Span) checkpoint.Version {
	at := r.Created
	if at.Before(w.From.Add(-2*time.Second)) || at.After(w.To.Add(2*time.Second)) {
		at = w.To
	}
	at = at.Truncate(time.Hour)
	was, known := m.records[r.ID]
	if !known {
		was.bucket, was.created = r.Created.Truncate(5*time.Minute), r.Created
		if r.Created.IsZero() {
			was.bucket = at
		}
	}
	next, fresh, returned := was, false, was.left && r.Print == was.print && r.Rank >= was.rank
	next.missing = time.Time{}
	if !known || returned || r.Rank >= was.rank && r.Print != was.print && r.Print != was.prev {
		next.rank, next.print, next.prev, next.revision, next.terminal, next.left = r.Rank, r.Print, was.print, was.revision+1, r.Terminal, false
		fresh = true
	}
	if returned {
		next.prev = was.prev
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
		return checkpoint.Version{}
	}
	return checkpoint.Version{Revision: next.revision, Fresh: true, Returned: returned}
}

// absent does what a reading of a span at some time says, which showed the
// records named, and returns those that left.
func (m *model) absent(s sources.Span, shown map[string]bool, at time.Time) (gone []string) {
	if m.settled.Before(s.To) {
		s.To = m.settled
	}
	noted := map[string]bool{}
	for id, r := range m.records {
		switch {
		case r.terminal || r.left || r.created.IsZero() || shown[id] || !s.Contains(r.created) || r.created.Before(m.closed):
			continue
		case r.missing.IsZero():
			r.missing = at
		case at.Sub(r.missing) < apart:
			continue
		default:
			r.left, r.revision, r.missing = true, r.revision+1, time.Time{}
			gone = append(gone, fmt.Sprint(id, " ", r.revision, " ", r.created))
		}
		m.records[id], noted[id] = r, true
	}
	maps.Copy(shown, noted) // the batch knows them now
	slices.Sort(gone)
	return gone
}

// apart is how far the readings are apart of which two say that a record left.
const apart = time.Minute

// count sums records created from one time on up to before another.
func (m *model) count(from, to time.Time) (records, open int) {
	for _, r := range m.records {
		if !r.bucket.Before(from) && r.bucket.Before(to) {
			records++
			if !r.terminal {
				open++
			}
		}
	}
	return records, open
}

func (m *model) seal(id string, r remembered) {
	day := r.bucket.Truncate(24 * time.Hour)
	s := m.sealed[day]
	sum := sha256.Sum256([]byte(id))
	s.Start, s.Records, s.Digest = day, s.Records+1, s.Digest+binary.BigEndian.Uint64(sum[:])
	if !r.terminal {
		s.Open++
	}
	m.sealed[day] = s
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
	if end := earliest(t, m.settled.Add(tick)); end.After(m.closed) {
		m.closed = end
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
		if b := of(id, r); !keep[b] && until[b].Before(t) && !until[b].Add(2*time.Hour).After(m.closed) {
			m.seal(id, r)
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

// published are the new versions of one batch, with their marks.
type published struct {
	records []sources.Record
	windows []sources.Span
	marks   [][]byte
	mixed   bool // whether the batch changes something else
}

func (p *published) add(b *checkpoint.Batch, r sources.Record, in sources.Span, fresh bool) {
	if !fresh {
		p.mixed = true
		return
	}
	p.records, p.windows, p.marks = append(p.records, r), append(p.windows, in), append(p.marks, b.Mark(r.ID))
}

// recover restarts after the messages of some versions were stored and their
// state was not: the ledger and the model are as if only those had been committed.
func (p *published) recover(t *rapid.T, d *disk, m *model) (*checkpoint.Ledger, *model) {
	n := rapid.IntRange(0, len(p.marks)).Draw(t, "stored")
	next := m.clone()
	var marks []checkpoint.Entry
	for i := range n {
		next.admit(p.records[i], p.windows[i])
		e, err := checkpoint.MarkEntry(i, p.marks[i])
		if err != nil {
			t.Fatal(err)
		}
		marks = append(marks, e)
	}
	d.marks = marks
	l := d.ledger(t)
	d.marks = nil
	for range 2 { // the second time nothing is left
		b, err := l.Recovered(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if b != nil {
			d.commit(t, b)
		}
	}
	return l, next
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
		d.stream.Leaves = true
		tidy := rapid.IntRange(0, 3).Draw(t, "tidy") > 0 // whether rows are found by their creation
		d.shrink = func(l *checkpoint.Ledger) { l.Shrink(records, deltas, young, young+16) }
		w := &world{hours: 12}
		l := d.ledger(t)
		clock := t0.Add(100 * time.Hour)
		for range rapid.IntRange(1, 120).Draw(t, "commits") {
			b, next, staged := l.Begin(), m.clone(), map[string]bool{}
			stored := &published{mixed: len(d.state) == 0} // a stream without a head has no events
			from := rapid.IntRange(0, w.hours*60).Draw(t, "from")
			window := span(from*60, from*60+rapid.SampledFrom([]int{0, 300, 3600}).Draw(t, "length"))
			// Undated rows belong to one window, or nothing could tell where they are.
			for range rapid.IntRange(0, 6).Draw(t, "rows") {
				r, in := w.row(t), window
				switch {
				case r.Created.IsZero():
					in = span(7200, 7200+600)
				case tidy:
					in = sources.Span{From: r.Created.Add(-tick), To: r.Created}
				}
				got, err := b.Admit(t.Context(), r, in)
				if want := next.admit(r, in); err != nil || got != want {
					t.Fatalf("record %+v: got %+v, %v, want %+v", r, got, err, want)
				}
				if got.Returned {
					seen["returned"]++
				}
				staged[r.ID] = true
				stored.add(b, r, in, got.Fresh)
			}
			if clock = clock.Add(time.Duration(rapid.IntRange(0, 90).Draw(t, "wait")) * time.Second); tidy && rapid.IntRange(0, 2).Draw(t, "absent") == 0 {
				b, stored.mixed = sweep(t, d, l, b, next, m, staged, clock), true
				seen["left"] += lefts(next) - min(lefts(next), lefts(m))
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
				stored.mixed = true
				before := len(next.records)
				next.forget(window.To, staged)
				seen["forgot"] += before - len(next.records)
			}
			crash := rapid.IntRange(0, 9).Draw(t, "crash")
			if crash == 3 && !stored.mixed { // after some messages were stored
				l, next = stored.recover(t, d, m)
				seen["crash between"]++
			}
			switch crash {
			case 0:
				l = d.ledger(t)
				seen["crash before"]++
				continue
			case 1:
				d.save(entries(t, b))
				l = d.ledger(t)
				seen["crash after"]++
			case 3:
				if !stored.mixed {
					break
				}
				fallthrough
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
			checkSums(t, l, m)
		}
		seen["pages read"] += d.gets
		seen["splits"] += l.Parts()
	})
	for _, event := range []string{"left", "returned", "forgot", "crash before", "crash between", "crash after", "pages read", "splits"} {
		if seen[event] < 3 { // of the rarest, some thirty are to be expected
			t.Errorf("%s: happened %d times, which proves nothing", event, seen[event])
		}
	}
}

// sweep tells a batch what a reading lacks; at times in several commits.
func sweep(t *rapid.T, d *disk, l *checkpoint.Ledger, b *checkpoint.Batch, next, was *model, shown map[string]bool, now time.Time) *checkpoint.Batch {
	from := rapid.IntRange(0, 12*60).Draw(t, "absent from")
	r := checkpoint.Reading{
		Span: span(from*60, from*60+rapid.SampledFrom([]int{0, 600, 3600, 12 * 3600}).Draw(t, "absent length")),
		Seen: new(checkpoint.Sightings), At: now, Apart: apart, Most: rapid.SampledFrom([]int{1, 3, 1000, 1000}).Draw(t, "most"),
	}
	for id := range shown {
		r.Seen.Add(id)
	}
	want := next.absent(r.Span, shown, now)
	var got []string
	several := false
	for {
		gone, all, err := b.Absent(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range gone {
			got = append(got, fmt.Sprint(a.ID, " ", a.Revision, " ", a.Created))
		}
		if all && !several {
			break // the caller commits, or crashes
		}
		several = true
		if len(gone) > r.Most {
			t.Fatalf("got %d at once, want %d", len(gone), r.Most)
		}
		d.commit(t, b)
		b = l.Begin()
		clear(shown) // the next batch has read none of them
		if all {
			*was = *next.clone()
			break
		}
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Fatalf("absent from %v: got %q, want %q", r.Span, got, want)
	}
	return b
}

func lefts(m *model) int {
	n := 0
	for _, r := range m.records {
		if r.left {
			n++
		}
	}
	return n
}

// checkSums checks the counts of what is kept and of what was given up.
func checkSums(t *rapid.T, l *checkpoint.Ledger, m *model) {
	from := t0.Add(time.Duration(rapid.IntRange(-1, 12).Draw(t, "count from")) * 50 * time.Minute)
	to := from.Add(2 * time.Hour)
	records, open := l.Records(from, to.Add(-time.Nanosecond))
	if wantRecords, wantOpen := m.count(from, to); records != wantRecords || open != wantOpen {
		t.Fatalf("from %v: got %d records, %d open, want %d, %d", from, records, open, wantRecords, wantOpen)
	}
	want := slices.SortedFunc(maps.Values(m.sealed), func(x, y checkpoint.Day) int { return x.Start.Compare(y.Start) })
	if got := l.Sealed(); !slices.Equal(got, want) {
		t.Fatalf("sealed: got %v, want %v", got, want)
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
