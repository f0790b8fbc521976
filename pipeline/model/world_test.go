package model

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"connector/internal/fault"
	"connector/sources"
)

// poison is why a version of a row can never become an event.
type poison int

const (
	healthy       poison = iota
	undecodable          // the row cannot be read
	noTime               // nor can its creation time
	noID                 // it has no id
	unnormal             // Source.Normalize refuses it
	tooLarge             // larger than the sink takes
	refused              // the sink rejects it
	countOfPoison        //
)

func (p poison) String() string {
	return [...]string{"healthy", "undecodable", "without time", "without id", "not normalizable", "too large", "rejected by the sink"}[p]
}

// version is one state of a row.
type version struct {
	at       time.Time // by the true clock
	rank     int64
	terminal bool
	poison   poison
	record   sources.Record
	records  []sources.Record // in all forms of a real provider; of one that cannot be read they differ
	served   bool
	reader   *process // the latest that it was served to
	taken    bool     // published or a dead letter, and the state says so
	durable  bool     // published or a dead letter
}

// row is one row of the provider and what became of it.
type row struct {
	id       string
	created  time.Time // by the provider's clock
	visible  time.Time // by the true clock, as are all others
	left     time.Time // zero: never
	order    uint64    // place among the rows of its tick
	versions []version

	doubtful bool // has been in a gap
	told     bool // reported as left
	last     int  // index of the latest version taken, -1 for none
	revision int  // of the latest event that the state remembers
}

// at returns the index of the version that shows at t, or -1.
func (r *row) at(t time.Time) int {
	if r.visible.After(t) || !r.left.IsZero() && !r.left.After(t) {
		return -1
	}
	return r.reached(t)
}

// reached returns the index of the version at t, whether the row shows or not.
func (r *row) reached(t time.Time) int {
	v := 0
	for v+1 < len(r.versions) && !r.versions[v+1].at.After(t) {
		v++
	}
	return v
}

// ordered returns old, or the first version after it that can be told from
// news: of two versions of one rank the older is not brought back after
// current when it was never published, unless a crash lost that the newer was.
func (r *row) ordered(old, current int) int {
	for old < current && r.versions[old].rank == r.versions[old+1].rank && !r.versions[old].taken && !r.versions[old+1].lost() {
		old++
	}
	return old
}

// lost reports whether v was published by a process that could not save it,
// and no other has read it.
func (v *version) lost() bool { return v.durable && !v.taken && v.reader.dead }

// world is the provider: its rows and its clock.
type world struct {
	plan  *plan
	began time.Time
	start time.Time // rows created before are not asked for; by the provider's clock
	rows  []*row    // in the order of answers
	byID  map[string]*row
}

// clock returns the provider's time at t.
func (w *world) clock(t time.Time) time.Time {
	now := t.Add(w.plan.skew)
	for _, s := range w.plan.steps {
		if !t.Before(w.began.Add(s.at)) {
			now = now.Add(s.by)
		}
	}
	return now
}

// latest returns the greatest time that the provider's clock has shown up to t,
// or that a source has made of it.
func (w *world) latest(t time.Time) time.Time {
	now := w.clock(t)
	for _, s := range w.plan.steps {
		if at := w.began.Add(s.at); !at.After(t) {
			if before := w.clock(at.Add(-1)).Add(min(t.Sub(at), w.plan.trust)); before.After(now) {
				now = before
			}
		}
	}
	return now
}

// inTime reports whether r shows within its lateness, in every answer: a stale
// one is late by its age, and a clock that jumped has made rows late.
func (w *world) inTime(r *row) bool {
	return w.latest(r.visible.Add(w.plan.maxStale)).Before(r.created.Add(w.plan.lateness))
}

func drawWorld(r *rand.Rand, p *plan, began time.Time) *world {
	w := &world{plan: p, began: began, byID: map[string]*row{}}
	w.start = w.clock(began.Add(-p.backlog)).Truncate(p.tick)
	for groups := 3 + r.IntN(p.groups); groups > 0; groups-- {
		at := began.Add(between(r, -p.backlog-p.lateness, p.active))
		size := 1
		if sometimes(r, 0.3) {
			size = 1 + r.IntN(6)
		}
		if p.page > 0 && sometimes(r, 0.12) {
			size = p.page + r.IntN(2*p.page+p.crowd)
		}
		tie := sometimes(r, 0.5) || size > 6 && !p.spread
		for range size {
			w.drawRow(r, at)
			if !tie {
				at = at.Add(upTo(r, 3*p.tick))
			}
		}
	}
	slices.SortFunc(w.rows, func(a, b *row) int {
		c := a.created.Compare(b.created)
		if p.descends {
			c = -c
		}
		if c != 0 {
			return c
		}
		if a.order < b.order {
			return -1
		}
		return 1
	})
	return w
}

func (w *world) drawRow(r *rand.Rand, at time.Time) {
	p := w.plan
	row := &row{id: "r" + strconv.Itoa(len(w.rows)), created: w.clock(at).Truncate(p.tick), visible: at, order: r.Uint64(), last: -1}
	switch n := r.IntN(20); {
	case n == 0:
		row.visible = at.Add(p.lateness + upTo(r, p.lateness))
	case n < 9:
		row.visible = at.Add(upTo(r, p.lateness-p.maxStale))
	}
	bad, rate := healthy, 0.1
	if len(p.wire.forms) > 1 {
		rate = 0.25
	}
	if sometimes(r, rate) {
		bad = poison(1 + r.IntN(int(countOfPoison)-1))
	}
	changes := 0
	if sometimes(r, 0.5) && bad != noID && bad != noTime {
		changes = 1 + r.IntN(3)
	}
	if bad == refused {
		changes = 3
	}
	w.drawVersions(r, row, at, changes, bad)
	if sometimes(r, 0.03) {
		row.left = row.visible.Add(upTo(r, p.active))
	}
	w.rows = append(w.rows, row)
	w.byID[row.versions[0].record.ID] = row
}

// drawVersions gives row its first version and changes. At most two in a row
// have the same rank: the ledger tells the latest print and the one before from news.
func (w *world) drawVersions(r *rand.Rand, row *row, at time.Time, changes int, bad poison) {
	times := []time.Time{at}
	from, reach := row.visible, pick(r, w.plan.lateness, w.plan.active)
	if from.Before(w.began) && sometimes(r, 0.7) {
		from = w.began
	}
	for range changes {
		next := from.Add(upTo(r, reach))
		if end := w.began.Add(w.plan.active); next.After(end) {
			next = end
		}
		times = append(times, next)
	}
	slices.SortFunc(times[1:], time.Time.Compare)
	rank, same, badAt := int64(0), false, r.IntN(len(times))
	if bad == refused && sometimes(r, 0.5) {
		badAt = 0
	}
	for i, t := range times {
		same = i > 0 && !same && sometimes(r, 0.4)
		if !same {
			rank++
		}
		v := version{at: t, rank: rank, terminal: i == len(times)-1 && sometimes(r, 0.6)}
		if i == badAt {
			v.poison = bad
		}
		v.record = w.record(row, i, v, sometimes(r, 0.05))
		row.versions = append(row.versions, v)
	}
}

// heavy is a row that fills more than half of a chunk.
var heavy = make([]byte, 600<<10)

var errPoison = errors.New("poison")

// record is what a source makes of version v of row.
func (w *world) record(row *row, index int, v version, big bool) sources.Record {
	raw := fmt.Appendf(nil, `{"id":%q,"v":%d}`, row.id, index)
	rec := sources.Record{ID: row.id, Created: row.created, Print: strconv.Itoa(index), Rank: v.rank, Terminal: v.terminal, Raw: raw}
	switch v.poison {
	default: // the row is good, what is made of it is not
	case healthy:
		if big {
			rec.Raw = heavy
		}
	case noTime:
		rec.Created, rec.Fault = time.Time{}, fault.Reject("decode", errPoison)
	case noID:
		sum := sha256.Sum256(raw)
		rec.ID, rec.Fault = sources.HashID+hex.EncodeToString(sum[:]), fault.Reject("no_id", errPoison)
	case undecodable:
		rec.Fault = fault.Reject("decode", errPoison)
	}
	return rec
}
