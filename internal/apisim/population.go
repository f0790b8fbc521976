package apisim

import (
	"hash/fnv"
	"iter"
	"math/rand/v2"
	"slices"
	"sort"
	"sync"
	"time"
)

// Population describes the rows a simulator generates. What exists at a time is a pure function of its fields and that time:
// rows are computed when a request asks for them, never kept, so that a demo of minutes and ten million rows cost the same memory.
// The zero value generates nothing; rows placed by hand with Add work with any Population.
type Population struct {
	Seed  uint64
	Start time.Time     // creation of the first row; zero: the simulator's clock when it is made
	Every time.Duration // mean distance between two rows of one stream; 0: no generated rows
	Limit int           // rows per stream; 0: without end
	Tick  time.Duration // creation times are cut to it, a Tick above Every makes ties; default the API's own (1 ms, 1 s)

	Late      float64       // share of rows that appear after their creation
	MaxLate   time.Duration // by at most this much; default 5 s
	Change    float64       // share of rows that change after their creation
	MaxChange time.Duration // all changes fall within it, counted from the creation; default 10 s
	Leave     float64       // share of rows that leave the log after their last change, within MaxChange of it

	Poison      float64 // share of rows that are poison, all four kinds alike; these never change
	PoisonBytes int     // size of the filling of an Oversize row; default 5 MiB
}

func (p Population) withDefaults(now time.Time, tick time.Duration) Population {
	if p.Start.IsZero() {
		p.Start = now
	}
	p.Tick = max(p.Tick, tick)
	if p.MaxLate <= 0 {
		p.MaxLate = 5 * time.Second
	}
	if p.MaxChange <= 0 {
		p.MaxChange = 10 * time.Second
	}
	if p.PoisonBytes <= 0 {
		p.PoisonBytes = 5 << 20
	}
	return p
}

// item is the timeline of one row, generated or placed by hand, without its fields.
type item struct {
	stream   string
	created  time.Time
	visible  time.Time
	gone     time.Time   // zero: never
	versions []time.Time // when each version begins, ascending, at least one
	poison   PoisonKind
	number   uint64  // of a generated row
	placed   *placed // nil for a generated row
}

// version returns the index of the version the row has at now.
func (it item) version(now time.Time) int {
	v := len(it.versions) - 1
	for v > 0 && it.versions[v].After(now) {
		v--
	}
	return v
}

func (it item) exists(now time.Time) bool {
	return !it.visible.After(now) && (it.gone.IsZero() || it.gone.After(now))
}

// query selects the rows of one stream that exist at now and whose creation (or, byUpdate, last change) lies in [from, to].
type query struct {
	stream   string
	from, to time.Time
	now      time.Time
	byUpdate bool
	desc     bool
}

func (q query) matches(it item) bool {
	at := it.created
	if q.byUpdate {
		at = it.versions[it.version(q.now)]
	}
	return it.exists(q.now) && !at.Before(q.from) && !at.After(q.to)
}

// world is a Population as one provider fills it, plus the rows placed by hand.
type world struct {
	Population
	provider provider

	mu     sync.Mutex
	placed map[string][]item // by stream; sorted by creation unless dirty
	known  map[record]bool
	dirty  map[string]bool
}

// provider is what one of the two APIs adds to the timelines: names, and the fields of rows.
type provider struct {
	system        string
	streams       []string
	defaultStream string
	tick          time.Duration
	maxChanges    int      // largest number of versions after the first of a generated row
	idField       string   // holds the row's id
	timeField     string   // holds its creation time
	bulkField     string   // may hold any amount of text
	shortKey      string   // the field that alone tells most versions of a row apart
	longKey       []string // all fields that do
	order         []string // of the fields in an answer; others follow
	json          encoder  // of rows in JSON, with all switches off

	// fields builds a generated row as it is in version v.
	fields func(r *rand.Rand, it item, v int) Fields
	// fill sets the fields that follow from a placed row's id and times.
	fill func(f Fields, id string, it item, v int)
}

func newWorld(p Population, by provider) *world {
	return &world{
		Population: p, provider: by,
		placed: map[string][]item{}, known: map[record]bool{}, dirty: map[string]bool{},
	}
}

// rows yields the rows of q in order of creation. Rows added meanwhile are not seen.
func (w *world) rows(q query) iter.Seq[item] {
	byHand := w.byHand(q)
	lo, hi := w.span(q)
	return func(yield func(item) bool) {
		next, rest := 0, byHand
		for next < hi-lo || len(rest) > 0 {
			var it item
			if next < hi-lo {
				it = w.generate(q.stream, number(lo, hi, next, q.desc))
			}
			if len(rest) > 0 && (next >= hi-lo || precedes(rest[0], it, q.desc)) {
				it, rest = rest[0], rest[1:]
			} else {
				next++
			}
			if q.matches(it) && !yield(it) {
				return
			}
		}
	}
}

func number(lo, hi, n int, desc bool) uint64 {
	if desc {
		return uint64(hi - 1 - n)
	}
	return uint64(lo + n)
}

func precedes(a, b item, desc bool) bool {
	if desc {
		return a.created.After(b.created)
	}
	return a.created.Before(b.created)
}

// span returns the numbers [lo, hi) among which all generated rows of q are.
func (w *world) span(q query) (lo, hi int) {
	if w.Every <= 0 || !slices.Contains(w.provider.streams, q.stream) {
		return 0, 0
	}
	from, to := q.from, q.to
	if q.byUpdate {
		from = from.Add(-w.MaxChange)
	}
	if to.After(q.now) {
		to = q.now
	}
	lo = int(from.Sub(w.Start)/w.Every) - 2
	hi = int((to.Add(w.Tick).Sub(w.Start))/w.Every) + 2
	if w.Limit > 0 {
		hi = min(hi, w.Limit)
	}
	lo = max(lo, 0)
	return lo, max(lo, hi)
}

// generate computes the timeline of row n of a stream.
func (w *world) generate(stream string, n uint64) item {
	r := w.dice(stream, n, 0)
	at := w.Start.Add(time.Duration(n)*w.Every + within(r, w.Every))
	it := item{stream: stream, created: at.Truncate(w.Tick), visible: at, number: n, versions: []time.Time{at}}
	if chance(r, w.Late) {
		it.visible = at.Add(within(r, w.MaxLate))
	}
	if chance(r, w.Poison) {
		it.poison = poisonKinds[r.IntN(len(poisonKinds))]
	} else if chance(r, w.Change) {
		it.versions = w.changes(r, at)
	}
	if chance(r, w.Leave) {
		it.gone = it.versions[len(it.versions)-1].Add(1 + within(r, w.MaxChange))
	}
	return it
}

// changes draws when the versions of a row created at begin.
func (w *world) changes(r *rand.Rand, at time.Time) []time.Time {
	n := 1 + r.IntN(w.provider.maxChanges)
	versions := make([]time.Time, 1, n+1)
	versions[0] = at
	for range n {
		versions = append(versions, at.Add(1+within(r, w.MaxChange)))
	}
	slices.SortFunc(versions, time.Time.Compare)
	return slices.Compact(versions)
}

// dice returns the random numbers of row n of a stream; use tells independent sequences of one row apart.
func (w *world) dice(stream string, n, use uint64) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(stream))
	return rand.New(rand.NewPCG(w.Seed^h.Sum64(), n<<2|use)) //nolint:gosec // simulated data
}

func chance(r *rand.Rand, share float64) bool { return r.Float64() < share }

// within draws a duration from [0, d).
func within(r *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(r.Float64() * float64(d))
}

// byHand returns the placed rows that q may match, in its order.
func (w *world) byHand(q query) []item {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dirty[q.stream] {
		sorted := slices.Clone(w.placed[q.stream])
		slices.SortStableFunc(sorted, func(a, b item) int { return a.created.Compare(b.created) })
		w.placed[q.stream], w.dirty[q.stream] = sorted, false
	}
	items := w.placed[q.stream]
	if !q.byUpdate {
		from := sort.Search(len(items), func(i int) bool { return !items[i].created.Before(q.from) })
		to := sort.Search(len(items), func(i int) bool { return items[i].created.After(q.to) })
		items = items[from:max(from, to)]
	}
	if q.desc {
		items = slices.Clone(items)
		slices.Reverse(items)
	}
	return items
}
