package model

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"connector/checkpoint"
	"connector/internal/privacy"
	"connector/schema"
	"connector/sinks"
	"connector/sources"
)

// truth compares what the sink holds with what the provider knows. Its
// methods cite the invariants of docs/architecture.md.
type truth struct {
	h       *history
	settled time.Time // of the durable head
	ranges  []checkpoint.Range
	heard   bool // whether the state knew a record; before, silent time is read again
	unread  []sources.Span
	events  map[string]*place
	dead    map[string]*place
}

// place names a version of a row, and a message of it.
type place struct {
	row            *row
	v              int
	taken, durable bool // as of a version
}

func (p *place) version() *version { return &p.row.versions[p.v] }

func newTruth(h *history) *truth {
	t := &truth{h: h, events: map[string]*place{}, dead: map[string]*place{}}
	for _, r := range h.world.rows {
		for i := range r.versions {
			v := &r.versions[i]
			t.events[schema.EventID(account, streamName, v.record.ID, v.record.Print)] = &place{row: r, v: i}
			if v.poison == healthy {
				continue
			}
			t.bury(&place{row: r, v: i}, v.record)
			for _, rec := range v.records[min(1, len(v.records)):] {
				t.bury(&place{row: r, v: i}, rec)
			}
		}
	}
	return t
}

// bury notes the dead letter that a record becomes.
func (t *truth) bury(p *place, rec sources.Record) {
	var none *privacy.Policy
	rec = none.Seal([]sources.Record{rec})[0]
	d := schema.DeadLetter{Source: schema.Source{System: system, Account: account, Stream: streamName}, RecordID: rec.ID}
	none.DeadLetter(&d, rec, nil)
	m, _ := d.Message(schema.Format{})
	t.dead[m.ID] = p
}

// again reports whether something happened to a version before: to this message
// of it, or to any. A row that cannot be read has one in each form.
func (p *place) again(message, version bool) bool {
	return message || version && p.version().record.Fault == nil
}

// store takes one message that became durable.
func (t *truth) store(m schema.Message, dead bool) {
	if m.Type == schema.ResolutionType {
		t.resolve(m)
		return
	}
	known := t.events
	if dead {
		known = t.dead
	}
	p, ok := known[m.ID]
	if !ok && t.leaves(m) {
		return
	}
	if !ok {
		t.h.violated(8, "message of record %s is of no version, or of a healthy row (dead letter: %v)", m.RecordID, dead)
		return
	}
	v := p.version()
	switch {
	case !v.served:
		t.h.violated(1, "version %d of %s was published but never served", p.v, p.row.id)
	case p.again(p.taken, v.taken):
		t.h.violated(1, "version %d of %s is published twice", p.v, p.row.id)
	case !dead && v.poison != healthy:
		t.h.violated(8, "version %d of %s is poison (%s) and became an event", p.v, p.row.id, v.poison)
	case p.row.created.Before(t.h.world.start.Add(-t.h.plan.tick)), !v.record.Created.IsZero() && p.row.created.Before(t.h.world.start):
		t.h.violated(1, "%s, created %v, lies before the start", p.row.id, p.row.created)
	case p.again(p.durable, v.durable):
		t.h.counts[publishedAgain]++
		if !t.h.plan.repeats() {
			t.h.violated(1, "version %d of %s is published twice", p.v, p.row.id)
		}
	}
	if v.taken {
		t.h.counts[deadAgain]++
	}
	v.durable, p.durable = true, true
	t.h.tracef("stored %s version %d, dead %v", p.row.id, p.v, dead)
}

// resolve takes a resolution: of a record that had a dead letter, by an event
// that is stored.
func (t *truth) resolve(m schema.Message) {
	var r schema.Resolution
	if err := json.Unmarshal(m.Body, &r); err != nil {
		t.h.violated(8, "resolution of %s: %v", m.RecordID, err)
		return
	}
	t.h.counts[resolvedDead]++
	row := t.h.world.byID[m.RecordID]
	if row == nil || !slices.ContainsFunc(row.versions, func(v version) bool { return v.poison != healthy && v.durable }) {
		t.h.violated(8, "%s is called resolved and was no dead letter", m.RecordID)
		return
	}
	if p := t.events[r.EventID]; (p == nil || p.row != row || !p.durable) && !row.told {
		t.h.violated(8, "%s is called resolved by event %s, which is not stored", m.RecordID, r.EventID)
	}
}

// settles checks that the events of an atomic commit resolve the dead letters before them.
func (t *truth) settles(c sinks.Commit) {
	for _, m := range c.Events {
		p := t.events[m.ID]
		if p == nil || t.h.plan.paired {
			continue
		}
		died := false
		for _, v := range p.row.versions[:p.v] {
			if v.poison == healthy && v.taken {
				died = false
			}
			died = died || v.poison != healthy && v.taken && v.record.ID == m.RecordID
		}
		resolves := slices.ContainsFunc(c.Dead, func(d schema.Message) bool { return d.Type == schema.ResolutionType && d.RecordID == m.RecordID })
		if died && !resolves && !p.row.told {
			t.h.violated(8, "%s is published and its dead letters are not resolved", p.row.id)
		}
	}
}

// take notes that the state of a commit is durable, after its messages.
func (t *truth) take(c sinks.Commit) {
	t.settles(c)
	t.order(c)
	prefix := checkpoint.Prefix(account, t.h.stream)
	for _, e := range c.State {
		if e.Value == nil {
			t.h.counts[forgotten]++
		}
	}
	l, err := checkpoint.Load(account, t.h.stream, t.h.broker.resident(prefix), nil)
	if err != nil {
		t.h.violated(3, "the ledger cannot be read: %v", err)
		return
	}
	t.cover(l)
}

// order checks that versions advance and revisions count, events before dead
// letters as they stand in a commit (invariant 2). A dead letter may be of an
// earlier version than an event of its commit.
func (t *truth) order(c sinks.Commit) {
	reached := map[*row]int{}
	for _, m := range c.Events {
		p := t.events[m.ID]
		if p == nil {
			t.gone(m)
			continue
		}
		if p.v <= p.row.last {
			t.h.violated(2, "version %d of %s follows version %d", p.v, p.row.id, p.row.last)
		}
		p.row.last = p.v
		got, want := revision(m.Body), p.row.revision+1
		if got != want && (got < want || !t.buries(c, p.row)) {
			t.h.violated(2, "version %d of %s has revision %d, want %d", p.v, p.row.id, got, want)
		}
		p.row.revision = got
		p.version().taken, p.taken = true, true
	}
	for _, m := range c.Dead {
		if p := t.dead[m.ID]; p != nil {
			p.version().taken, p.taken = true, true
			reached[p.row] = max(reached[p.row], p.v)
		}
	}
	for r, v := range reached {
		r.last = max(r.last, v)
	}
}

// buries reports whether a version of r is a dead letter of c: it may have
// taken a revision that a later version of the same commit follows.
func (t *truth) buries(c sinks.Commit, r *row) bool {
	return slices.ContainsFunc(c.Dead, func(m schema.Message) bool { p := t.dead[m.ID]; return p != nil && p.row == r })
}

var revisionField = []byte(`"revision":`)

func revision(body []byte) int {
	_, rest, _ := bytes.Cut(body, revisionField)
	end := bytes.IndexAny(rest, ",}")
	n, _ := strconv.Atoi(string(rest[:max(end, 0)]))
	return n
}

// cover checks what a durable head claims (invariants 3, 4, 5 and 6).
func (t *truth) cover(l *checkpoint.Ledger) {
	if end := l.End(); len(l.Ranges()) > 0 && end.After(t.h.now.Add(-t.h.plan.lag)) {
		t.h.violated(6, "coverage ends at %v and passes the provider's %v less the lag", end, t.h.now)
	}
	was, heard := t.ranges, t.heard
	t.heard = !l.Latest().IsZero()
	t.settled, t.ranges = l.Settled(), l.Ranges()
	t.unread = l.In(checkpoint.Unread)
	if len(t.unread) > 0 {
		t.h.counts[newestFirst]++
	}
	t.h.counts[gapListed] += max(0, count(t.ranges, checkpoint.Gap)-count(was, checkpoint.Gap))
	for _, r := range t.h.world.rows {
		before, now := state(was, r.created), state(t.ranges, r.created)
		gone := now == checkpoint.Gap || now == checkpoint.Lost
		r.doubtful = r.doubtful || gone
		if now < before && !gone && r.last >= 0 && heard {
			t.h.violated(5, "coverage of %s, created %v, went back from %v to %v", r.id, r.created, before, now)
		}
		if (now == checkpoint.Watched || now == checkpoint.Sealed) && now != before && t.due(r) && !r.durable() {
			t.h.violated(4, "%s, created %v, is %v and not published", r.id, r.created, now)
		}
	}
}

func count(ranges []checkpoint.Range, s checkpoint.State) (n int) {
	for _, r := range ranges {
		if r.State == s {
			n++
		}
	}
	return n
}

func state(ranges []checkpoint.Range, at time.Time) checkpoint.State {
	for _, r := range ranges {
		if r.Contains(at) {
			return r.State
		}
	}
	return checkpoint.Unread
}

func (r *row) durable() bool {
	for i := range r.versions {
		if r.versions[i].durable {
			return true
		}
	}
	return false
}

// due reports whether r must be published at some time.
func (t *truth) due(r *row) bool {
	return r.left.IsZero() && !r.created.Before(t.h.world.start) && t.h.world.inTime(r)
}

// listed reports whether r lies in a gap that the durable head lists.
func (t *truth) listed(r *row) bool {
	s := state(t.ranges, r.created)
	return s == checkpoint.Gap || s == checkpoint.Lost
}

// followed reports whether the changes of r, once it is known, must show.
func (t *truth) followed(r *row, horizon time.Time) bool {
	return r.left.IsZero() && !r.created.Before(t.h.world.start) && r.created.After(horizon)
}

// end checks, after the quiet time, that nothing is missing (invariant 1).
func (t *truth) end() {
	horizon := t.h.now.Add(-t.h.plan.giveUp)
	if recent := t.h.now.Add(-t.h.plan.lag - 3*t.h.plan.poll); len(t.unread) > 0 && t.unread[0].To.Before(recent) {
		t.h.violated(1, "%s is still unread", t.unread[0])
	}
	for _, r := range t.h.world.rows {
		last := &r.versions[len(r.versions)-1]
		switch {
		case t.due(r) && !r.durable() && !t.listed(r) && (!r.doubtful || r.created.After(horizon)):
			t.h.violated(1, "%s, created %v, visible %v, is not published", r.id, r.created, t.h.at(r.visible))
		case t.followed(r, horizon) && r.durable() && !last.taken && !t.listed(r):
			t.h.violated(1, "the last version of %s, at %v, is not published", r.id, t.h.at(last.at))
		}
		for i := range r.versions {
			if v := &r.versions[i]; !v.served && i < len(r.versions)-1 && last.served {
				t.h.counts[versionUnseen]++
			}
		}
	}
}
