package model

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"connector/checkpoint"
	"connector/schema"
	"connector/sinks"
)

var errSink = errors.New("sink has a cold")

// broker is the durable side of a sink; it outlives the processes.
type broker struct {
	h     *history
	state map[string][]byte
	owner *process

	uncovered sinks.Commit // messages of a marked sink whose state is not saved
}

func (b *broker) save(entries []checkpoint.Entry) {
	for _, e := range entries {
		if e.Value == nil {
			delete(b.state, e.Key)
			continue
		}
		b.state[e.Key] = e.Value
	}
}

func (b *broker) load(yield func(checkpoint.Entry) error) error {
	b.h.mu.Lock()
	defer b.h.mu.Unlock()
	for _, k := range slices.Sorted(maps.Keys(b.state)) {
		if checkpoint.Paged(k) {
			continue
		}
		if err := yield(checkpoint.Entry{Key: k, Value: b.state[k]}); err != nil {
			return err
		}
	}
	return nil
}

// resident lists the state of a stream that is read at start.
func (b *broker) resident(prefix string) []checkpoint.Entry {
	var list []checkpoint.Entry
	for k, v := range b.state {
		if strings.HasPrefix(k, prefix) && !checkpoint.Paged(k) {
			list = append(list, checkpoint.Entry{Key: k, Value: v})
		}
	}
	return list
}

// Get returns a piece of state.
func (b *broker) Get(_ context.Context, key string) ([]byte, error) {
	b.h.mu.Lock()
	defer b.h.mu.Unlock()
	return b.state[key], nil
}

// rejections lists what the sink never takes.
func (b *broker) rejections(events []schema.Message) *sinks.RejectedError {
	var list []sinks.Rejection
	for i, m := range events {
		if p, ok := b.h.truth.events[m.ID]; ok && p.version().poison == refused {
			list = append(list, sinks.Rejection{Index: i, Err: errPoison})
		}
	}
	if list == nil {
		return nil
	}
	b.h.counts[commitRejected]++
	return &sinks.RejectedError{Messages: list}
}

// open returns the sink of a process: an atomic one, or a pair.
func (b *broker) open(p *process) sinks.Sink {
	if !b.h.plan.paired {
		return &atomic{broker: b, p: p}
	}
	half := &paired{broker: b, p: p, c: &sinks.Commit{}}
	if b.h.plan.marked {
		half.c = &b.uncovered
	}
	return sinks.Pair(half, func(context.Context, string) (checkpoint.Store, error) { return &store{half}, nil })
}

// atomic keeps the commit contract of sinks.Session: all or nothing, fenced.
type atomic struct {
	*broker
	p *process
}

func (a *atomic) Open(context.Context, string) (sinks.Session, error) {
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	a.owner = a.p
	return a, nil
}
func (a *atomic) Guarantee() sinks.Guarantee { return sinks.ExactlyOnce }
func (a *atomic) Close() error               { return nil }
func (a *atomic) Limits() sinks.Limits       { return sinks.Limits{MaxMessageBytes: sinkLimit} }

func (a *atomic) Recover(_ context.Context, yield func(checkpoint.Entry) error) error {
	return a.load(yield)
}

func (a *atomic) Commit(ctx context.Context, c sinks.Commit) error {
	h, messages := a.h, len(c.Events)+len(c.Dead) > 0
	h.mu.Lock()
	defer h.mu.Unlock()
	if a.p.reach(beforeCommit, messages) {
		return sinks.ErrFenced
	}
	if err := h.pause(ctx, h.latency()); err != nil {
		return err
	}
	if a.p.reach(insideCommit, messages) {
		return sinks.ErrFenced
	}
	if a.owner != a.p {
		h.counts[zombieFenced]++
		return sinks.ErrFenced
	}
	if h.fails(h.plan.rates.commit) {
		h.counts[commitFailed]++
		return errSink
	}
	if err := a.rejections(c.Events); err != nil {
		return err
	}
	for _, m := range c.Events {
		h.truth.store(m, false)
	}
	for _, m := range c.Dead {
		h.truth.store(m, true)
	}
	a.save(c.State)
	h.truth.take(c)
	if a.p.reach(afterCommit, messages) {
		return sinks.ErrFenced
	}
	return nil
}

// paired is a publisher that cannot dedupe.
type paired struct {
	*broker
	p *process
	c *sinks.Commit // messages stored since the state was saved

	acknowledged map[string]bool // those of c that the pair knows of
}

func (s *paired) Guarantee() sinks.Guarantee { return sinks.ExactlyOnceUnlessCrash }
func (s *paired) Close() error               { return nil }
func (s *paired) Limits() sinks.Limits {
	return sinks.Limits{MaxMessageBytes: sinkLimit, Marks: s.h.plan.marked}
}

func (s *paired) Publish(ctx context.Context, events, dead []schema.Message) error {
	h := s.h
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.p.reach(beforeCommit, true) {
		return sinks.ErrFenced
	}
	if err := h.pause(ctx, h.latency()); err != nil {
		return err
	}
	if s.p.reach(insideCommit, true) {
		return sinks.ErrFenced
	}
	for _, m := range slices.Concat(events, dead) {
		if s.acknowledged[m.ID] {
			h.violated(1, "the message of %s is published again without a crash", m.RecordID)
		}
	}
	if h.fails(h.plan.rates.commit) {
		h.counts[commitFailed]++
		return errSink
	}
	rejected := s.rejections(events)
	stored := len(events) + len(dead)
	if h.fails(h.plan.rates.partial) {
		h.counts[publishPartial]++
		stored = h.rand.IntN(stored + 1)
	}
	partial := stored < len(events)+len(dead)
	s.store(events, dead, rejected, stored)
	if s.p.reach(afterPublish, true) {
		return sinks.ErrFenced
	}
	if partial {
		return errSink
	}
	s.acknowledge()
	if rejected != nil {
		return rejected
	}
	return nil
}

func (s *paired) acknowledge() {
	s.acknowledged = map[string]bool{}
	for _, m := range slices.Concat(s.c.Events, s.c.Dead) {
		s.acknowledged[m.ID] = true
	}
}

// store makes the first n messages durable that are not rejected.
func (s *paired) store(events, dead []schema.Message, rejected *sinks.RejectedError, n int) {
	refused := map[int]bool{}
	if rejected != nil {
		for _, r := range rejected.Messages {
			refused[r.Index] = true
		}
	}
	for i, m := range events {
		if i < n && !refused[i] {
			s.c.Events = s.with(s.c.Events, m, false)
		}
	}
	for i, m := range dead {
		if len(events)+i < n {
			s.c.Dead = s.with(s.c.Dead, m, true)
		}
	}
}

// with stores m and appends it to list unless it is there; a marked sink does
// not store it twice either.
func (s *paired) with(list []schema.Message, m schema.Message, dead bool) []schema.Message {
	known := slices.ContainsFunc(list, func(o schema.Message) bool { return o.ID == m.ID })
	if !known || !s.h.plan.marked {
		s.h.truth.store(m, dead)
	}
	if known {
		return list
	}
	return append(list, m)
}

// store is the other half of a pair.
type store struct{ *paired }

func (s *store) Load(_ context.Context, yield func(checkpoint.Entry) error) error {
	if err := s.load(yield); err != nil || !s.h.plan.marked {
		return err
	}
	for i, m := range slices.Concat(s.c.Dead, s.c.Events) {
		if m.Mark == nil { // a resolution changes nothing
			continue
		}
		e, err := checkpoint.MarkEntry(i, m.Mark)
		if err != nil {
			return err
		}
		s.h.counts[markRecovered]++
		if err := yield(e); err != nil {
			return err
		}
	}
	return nil
}

func (s *store) Save(ctx context.Context, entries []checkpoint.Entry) error {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if s.p.dead {
		return sinks.ErrFenced
	}
	if err := s.h.pause(ctx, s.h.latency()); err != nil {
		return err
	}
	if s.h.fails(s.h.plan.rates.commit) {
		s.h.counts[commitFailed]++
		return errSink
	}
	s.c.State = entries
	s.save(entries)
	s.h.truth.take(*s.c)
	messages := len(s.c.Events)+len(s.c.Dead) > 0
	*s.c, s.acknowledged = sinks.Commit{}, nil
	if s.p.reach(afterCommit, messages) {
		return sinks.ErrFenced
	}
	return nil
}

func (s *store) Close() error { return nil }
