package pipeline

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"connector/checkpoint"
	"connector/internal/fault"
	"connector/schema"
	"connector/sinks"
	"connector/sources"
)

// batch is what one chunk changes: messages to publish and the state that
// remembers them.
type batch struct {
	runner  *runner
	ledger  *checkpoint.Batch
	events  []schema.Message
	records []sources.Record // those of events, in the same order
	dead    []schema.Message
	buried  []burial     // what is told of the dead letters once they are durable
	window  sources.Span // in which all of it was read

	settles map[string]settlement // by record id: dead letters, once an event of the record is published
	retried map[string]*trial     // by record id: what to do when its event is refused; nil but in a retry

	rows     int  // that were read
	backfill bool // of what is marked for it
}

// stage begins a batch, unless ctx has ended. What the ledger must fold before is
// committed.
func (r *runner) stage(ctx context.Context) (*batch, error) {
	for ctx.Err() == nil && r.ledger.Behind() {
		if err := r.commits.commit(ctx, r.newBatch()); err != nil {
			return nil, err
		}
	}
	return r.newBatch(), ctx.Err()
}

func (r *runner) newBatch() *batch {
	return &batch{runner: r, ledger: r.ledger.Begin(), window: r.present.window, settles: map[string]settlement{}}
}

// admit asks the ledger which records are new and turns them into events, or
// into dead letters when they never can be (invariant 8). Rows of the ticks
// next to w belong to it, because requests reach a tick further, unless nothing
// reads those. It returns the records that do not fit one commit with these.
func (r *runner) admit(ctx context.Context, records []sources.Record, w sources.Span, t turn) (_ *batch, rest []sources.Record, err error) {
	b, err := r.stage(ctx)
	if err != nil {
		return nil, nil, err
	}
	b.backfill = t.backfill
	if err := r.own(b); err != nil {
		return nil, nil, err
	}
	records, rest = r.commits.first(records)
	near := sources.Span{From: w.From.Add(-r.stream.Tick), To: w.To.Add(r.stream.Tick)}
	if err := b.ledger.Read(ctx, records, near); err != nil {
		return nil, nil, err
	}
	for i, rec := range records {
		if b.full(rec) {
			records, rest = records[:i], slices.Concat(records[i:], rest)
			break
		}
		if near.Contains(rec.Created) && !w.Contains(rec.Created) && r.ledger.Closed(rec.Created) {
			continue
		}
		v, err := b.ledger.Admit(ctx, rec, near)
		if err != nil {
			return nil, nil, err
		}
		if !v.Fresh {
			r.metrics.stale.Inc()
			continue
		}
		b.add(rec, v, nil)
	}
	b.rows = len(records)
	r.metrics.rows.Add(float64(len(records)))
	r.found(b, records, w)
	return b, rest, nil
}

// full reports whether there may be no room for what becomes of rec, or a version of it
// may be taken back, and this one with it.
func (b *batch) full(rec sources.Record) bool {
	if b.retried[rec.ID] != nil {
		return true
	}
	room := b.runner.commits.most() - b.messages()
	return room <= 0 || room == 1 && b.messages() > 0 && b.ledger.Known(rec).Unresolved
}

// messages returns how many the batch holds at most.
func (b *batch) messages() int { return len(b.events) + len(b.dead) + len(b.settles) }

// add adds the event of a version, or its dead letter, as published again by a
// replay unless that is nil.
func (b *batch) add(rec sources.Record, v checkpoint.Version, again *Replay) {
	m, err := b.runner.event(rec, v, again)
	switch {
	case err == nil && v.Resolves:
		b.settle(rec)
		b.publish(rec, m)
	case err == nil:
		b.publish(rec, m)
	case again == nil:
		b.bury(rec, err)
	default:
		b.letter(rec, err, again.ID, nil)
	}
}

// publish adds the event of the version just admitted.
func (b *batch) publish(rec sources.Record, m schema.Message) {
	if m.Replay == "" {
		m.Mark = b.mark(rec)
	}
	b.events, b.records = append(b.events, m), append(b.records, rec)
}

// mark returns what the state will say of the version just admitted, if the sink
// wants to keep it with the message.
func (b *batch) mark(rec sources.Record) []byte {
	if !b.runner.commits.limits.Marks {
		return nil
	}
	return b.ledger.Mark(rec.ID)
}

// event normalizes and encodes one version of a record, marked when a replay
// publishes it again. Every error is a reason to bury it.
func (r *runner) event(rec sources.Record, v checkpoint.Version, again *Replay) (schema.Message, error) {
	if rec.Fault != nil {
		return schema.Message{}, rec.Fault
	}
	if err := checkpoint.CheckRank(rec.Rank); err != nil {
		return schema.Message{}, fault.Reject("rank", err)
	}
	e, err := r.account.Source.Normalize(r.stream, rec)
	if err != nil {
		return schema.Message{}, err
	}
	print := rec.Print
	if v.Returned { // published before with this print
		print += "\x00returned\x00" + strconv.Itoa(v.Revision)
	}
	e.ID = schema.EventID(r.from.Account, r.from.Stream, rec.ID, print)
	e.Record.Revision = v.Revision
	e.ObservedAt = time.Now().UTC()
	again.mark(&e, rec)
	return r.encode(e, rec)
}

// encode is where every event gets what holds for all, and becomes a message.
func (r *runner) encode(e schema.Event, rec sources.Record) (schema.Message, error) {
	if err := r.account.Privacy.Event(&e, rec, r.stream.Fields); err != nil {
		return schema.Message{}, err
	}
	m, err := e.Message(r.format)
	if err == nil {
		err = r.validate.check(&m)
	}
	if err != nil {
		return schema.Message{}, err
	}
	return m, r.commits.fits(m)
}

// replace turns the events that the sink refuses into dead letters. It
// returns false when a dead letter itself was refused. A later version of the
// same record in the batch may be stored already: it keeps its revision, and
// the refused one keeps its own.
func (b *batch) replace(rejected *sinks.RejectedError) bool {
	refused := map[int]error{}
	for _, m := range rejected.Messages {
		if m.Dead {
			return false
		}
		refused[m.Index] = m.Err
	}
	events, records := b.events, b.records
	b.events, b.records = nil, nil
	for i := range events {
		if err := refused[i]; err != nil {
			if _, classed := fault.Class(err); !classed {
				err = fault.Reject("sink", err)
			}
			if t := b.retried[records[i].ID]; t != nil {
				t.refuse(err)
				continue
			}
			if again := events[i].Replay; again != "" { // the ledger knows the record as it is
				b.letter(records[i], err, again, nil)
				continue
			}
			if followed(records, i, refused) {
				b.letter(records[i], err, "", events[i].Mark)
				b.settle(records[i])
			} else {
				b.bury(records[i], err)
			}
			continue
		}
		b.events, b.records = append(b.events, events[i]), append(b.records, records[i])
	}
	return true
}

// followed reports whether a later version of record i is accepted.
func followed(records []sources.Record, i int, refused map[int]error) bool {
	for j := i + 1; j < len(records); j++ {
		if records[j].ID == records[i].ID && refused[j] == nil {
			return true
		}
	}
	return false
}

// done counts what became durable, and tells the ledger.
func (b *batch) done() {
	b.runner.metrics.events.Add(float64(len(b.events)))
	b.tell()
	if b.backfill {
		b.runner.status.count(b)
	}
	b.ledger.Apply()
}

// commit is the sink's view of the batch.
func (b *batch) commit(ctx context.Context) (sinks.Commit, error) {
	state, err := b.ledger.Entries(ctx)
	c := sinks.Commit{Events: b.events, Dead: b.dead, State: state}
	if !b.runner.commits.apart {
		c.Dead = b.settled()
	}
	return c, err
}

var errTooLarge = errors.New("larger than the sink takes")
