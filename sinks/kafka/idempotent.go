package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"connector/checkpoint"
	"connector/internal/failpoint"
	"connector/internal/fault"
	"connector/internal/wait"
	"connector/sinks"
)

// idempotent is a session that publishes first and then saves the state, in
// one batch. Each message carries its mark; the state says up to where in
// each partition messages are covered, so that the next owner finds the marks
// of those that are not.
//
// Nothing keeps an earlier owner that still runs from publishing what it had
// begun to; its state does not count, and it learns of its successor before it
// publishes anything else.
type idempotent struct {
	ownership
	publisher *publisher
	part      *partition // of the state
	encoder   batchEncoder
	published bool  // whether a commit with messages began
	failed    error // what ended the session
}

// openIdempotent takes a unit over: first the claim, then the state up to
// there, then the messages that the state does not cover.
func (s *sink) openIdempotent(ctx context.Context, unit string) (sinks.Session, error) {
	state, err := s.state(unit)
	if err != nil {
		return nil, err
	}
	p, err := publisherOn(ctx, s.client, &s.cfg, s.log, s.counts, s.limits)
	if err != nil {
		return nil, err
	}
	p.headers.origin = markOrigin(s.cfg.CheckpointTopic, unit)
	session := &idempotent{
		ownership: ownership{sink: s, state: state}, publisher: p,
		part:    &partition{topic: state.view.topic, id: state.view.partition, producer: p.id},
		encoder: batchEncoder{codec: codec(s.cfg.Compression), maxBytes: math.MaxInt},
	}
	session.ownership.save = session.save
	if err := session.open(ctx, session.claim); err != nil {
		return nil, fmt.Errorf("taking over unit %s: %w", unit, err)
	}
	return session, nil
}

// Limits are those of the topics.
func (s *idempotent) Limits() sinks.Limits {
	l := s.publisher.limits
	l.Marks = true
	return l
}

// Commit publishes the messages and saves the state after them.
func (s *idempotent) Commit(ctx context.Context, c sinks.Commit) error {
	if s.failed != nil {
		return s.failed
	}
	err := s.commit(ctx, c)
	if errors.Is(err, sinks.ErrFenced) && !fault.IsFatal(err) { // by a broker
		err = sinks.Fenced(s.state.unit, checkpoint.Fence{})
	}
	if err != nil && (ctx.Err() != nil || fault.IsFatal(err)) {
		s.failed = err
	}
	return err
}

func (s *idempotent) commit(ctx context.Context, c sinks.Commit) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	failpoint.Hit(failpoint.KafkaBeforePublish)
	messages := len(c.Events)+len(c.Dead) > 0
	if messages && !s.published {
		if err := s.findLate(ctx); err != nil {
			return err
		}
		s.published = true
	}
	if err := s.publisher.Publish(ctx, c.Events, c.Dead); err != nil {
		return err
	}
	failpoint.Hit(failpoint.KafkaPublished)
	entries := s.unit.Commit(c.State, time.Now())
	covered := s.covered(s.publisher, &c)
	if messages {
		entries = append([]checkpoint.Entry{covered.entry()}, entries...)
	}
	if err := s.save(ctx, entries); err != nil {
		return err
	}
	s.unit.Committed()
	s.saved = covered
	failpoint.Hit(failpoint.KafkaCommitted)
	return nil
}

// check looks whether anyone else wrote to the state since the last look.
func (s *idempotent) check(ctx context.Context) error {
	end, err := s.state.end(ctx)
	if err != nil || end == s.state.next {
		return err
	}
	if err := s.state.read(ctx); err != nil {
		return err
	}
	return s.repair(ctx)
}

// save appends entries to the state as one, and learns where they lie.
func (s *idempotent) save(ctx context.Context, entries []checkpoint.Entry) error {
	start := s.state.next
	base, err := s.append(ctx, s.state.records(entries))
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.KafkaSaved)
	if base == start {
		s.state.wrote(base, entries)
		return nil
	}
	// Others wrote between, or this was found to be stored already.
	for {
		if err := s.state.read(ctx); err != nil {
			return err
		}
		if err := s.state.rival(s.mine); err != nil {
			return err
		}
		if s.state.counted > start {
			return s.repair(ctx)
		}
		if err := wait.For(ctx, fetchWait); err != nil { // another one's transaction is open
			return err
		}
	}
}

func (s *idempotent) claim(ctx context.Context, t takeover) error {
	_, err := s.append(ctx, []record{t.record()})
	return err
}

// append stores records in the unit's partition as one batch.
func (s *idempotent) append(ctx context.Context, records []record) (base int64, err error) {
	s.encoder.reset()
	for i := range records {
		s.encoder.add(&records[i])
	}
	set, err := s.encoder.finish(0)
	if err != nil {
		return 0, err
	}
	b := &batch{set: set, count: len(records)}
	stamp(b.set, s.part.producer, s.part.sequence)
	err = s.publisher.producer.send(ctx, s.part, b)
	if errors.Is(err, errRefused) {
		err = fault.Fatal(fmt.Errorf("saving the checkpoint, %d bytes: %w", len(set), err),
			fmt.Sprintf("raise max.message.bytes of topic %s", s.part.topic))
	}
	return b.base, err
}

// Close forgets the session; what it had in doubt stays so.
func (s *idempotent) Close() error {
	if s.failed == nil {
		s.failed = errors.New("the session is closed")
	}
	return nil
}
