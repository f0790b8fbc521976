package pipeline

import (
	"cmp"
	"slices"
	"time"

	"connector/schema"
	"connector/sources"
)

// settlement is what the last event of a record in a batch resolves.
type settlement struct {
	at   int // how many dead letters of the batch come before it
	list []resolved
}

// resolved is a dead letter that needs nothing more.
type resolved struct {
	record  string // as the dead letter names it
	letter  string // id of the dead letter; empty: all of the record
	replay  string // that wrote the dead letter last
	outcome schema.Outcome
}

// settle notes that the event of a record which is added next resolves dead
// letters: unless they are named, those of earlier versions of it.
func (b *batch) settle(rec sources.Record, list ...resolved) {
	if len(list) == 0 {
		list = []resolved{{record: b.runner.shortID(rec.ID), outcome: schema.Superseded}}
	}
	if was, ok := b.settles[rec.ID]; ok {
		list = was.list
	}
	b.settles[rec.ID] = settlement{at: len(b.dead), list: list}
}

// trial is the event of a version that was a dead letter.
type trial struct {
	undo    func() // what the batch changed of the ledger for it
	refused func(error)
}

// refuse takes the trial back, because the sink refuses the event.
func (t *trial) refuse(err error) {
	t.undo()
	t.refused(err)
}

// retry notes that the event of a record which is added next is a trial.
func (b *batch) retry(rec sources.Record, t *trial) {
	if b.retried == nil {
		b.retried = map[string]*trial{}
	}
	b.retried[rec.ID] = t
}

// settled returns the dead letters of the batch with the resolutions in their
// places: behind the dead letters that they resolve, and before later ones of the record.
func (b *batch) settled() []schema.Message {
	if len(b.settles) == 0 {
		return b.dead
	}
	var all []schema.Message
	next := 0
	for _, s := range b.resolutions() {
		all = append(append(all, b.dead[next:s.at]...), s.messages...)
		next = s.at
	}
	return append(all, b.dead[next:]...)
}

// settledApart returns the resolutions for a commit that follows the batch, but for
// records with a later dead letter in it, which would seem to be resolved.
func (b *batch) settledApart() (list []schema.Message) {
	latest := map[string]int{}
	for i := range b.dead {
		latest[b.dead[i].RecordID] = i
	}
	for _, s := range b.resolutions() {
		for _, m := range s.messages {
			if i, ok := latest[m.RecordID]; !ok || i < s.at {
				list = append(list, m)
			}
		}
	}
	return list
}

// placed are messages, and how many dead letters come before them.
type placed struct {
	at       int
	messages []schema.Message
}

// resolutions returns what the events of the batch resolve, by their places.
func (b *batch) resolutions() (all []placed) {
	last := map[string]int{}
	for i := range b.records {
		last[b.records[i].ID] = i
	}
	for i, rec := range b.records {
		if s, ok := b.settles[rec.ID]; ok && last[rec.ID] == i {
			all = append(all, placed{s.at, b.runner.resolutions(s.list, b.events[i].ID)})
		}
	}
	slices.SortStableFunc(all, func(x, y placed) int { return cmp.Compare(x.at, y.at) })
	return all
}

// resolutions encodes what an event resolves.
func (r *runner) resolutions(list []resolved, event string) []schema.Message {
	messages := make([]schema.Message, 0, len(list))
	for _, d := range list {
		res := schema.Resolution{
			SchemaVersion: schema.Version, Source: r.from, RecordID: d.record, DeadLetterID: d.letter, LetterReplay: d.replay,
			Outcome: d.outcome, EventID: event, ResolvedAt: time.Now().UTC(),
		}
		m, _ := res.Message(r.format) // plain text always encodes
		messages = append(messages, m)
	}
	return messages
}
