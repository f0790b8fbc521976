package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"connector/checkpoint"
	"connector/internal/failpoint"
	"connector/internal/fault"
	"connector/internal/wait"
	"connector/schema"
	"connector/sinks"
)

// transaction is what one commit writes.
type transaction struct {
	events, dead []schema.Message
	entries      []checkpoint.Entry
}

// attempt runs tx once, from its beginning to the answer that it is
// committed. The error is one of ctx, fatal, a *[sinks.RejectedError], or
// wraps [sinks.ErrFenced] or errUnfinished; after any, the transaction may be
// open, and in doubt if s.inDoubt says so.
func (s *transactional) attempt(ctx context.Context, tx *transaction) error {
	failpoint.Hit(failpoint.KafkaTxnBegin)
	clear(s.publisher.settled) // what earlier attempts wrote was aborted
	work := s.publisher.route(tx.events, tx.dead)
	work[s.state] = nil
	s.began = time.Now()
	if err := s.coordinator.add(ctx, s.producer, slices.Collect(maps.Keys(work))); err != nil {
		return err
	}
	failpoint.Hit(failpoint.KafkaTxnAdded)
	err := s.publisher.each(ctx, work, func(ctx context.Context, part *partition, items []item) error {
		if part == s.state {
			return s.writeState(ctx, tx.entries)
		}
		defer failpoint.Hit(failpoint.KafkaTxnProduced)
		return s.publisher.publish(ctx, part, items)
	})
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.KafkaTxnAll)
	s.inDoubt = true
	if err := s.coordinator.end(ctx, s.producer, true); err != nil {
		return err
	}
	s.inDoubt, s.began = false, time.Time{}
	failpoint.Hit(failpoint.KafkaTxnEnded)
	return nil
}

// writeState writes entries to the unit's partition.
func (s *transactional) writeState(ctx context.Context, entries []checkpoint.Entry) error {
	defer failpoint.Hit(failpoint.KafkaTxnState)
	var e *encoder
	select {
	case e = <-s.publisher.encoders:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { s.publisher.encoders <- e }()
	for len(entries) > 0 {
		b, err := e.encodeState(entries, time.Now())
		if err != nil {
			return err
		}
		err = s.publisher.send(ctx, s.state, e, b)
		if errors.Is(err, errRefused) {
			return fault.Fatal(fmt.Errorf("writing the checkpoint to %v: %w", s.state, err),
				fmt.Sprintf("set max.message.bytes of topic %s to 1048588 or more", s.state.topic))
		}
		if err != nil {
			return err
		}
		entries = entries[b.count:]
	}
	return nil
}

// settle aborts the transaction that failed with cause, or finds out that it
// is committed. It returns nil when it is not and may be done anew.
func (s *transactional) settle(ctx context.Context, cause error) (committed bool, err error) {
	failpoint.Hit(failpoint.KafkaTxnAborting)
	grace := time.Duration(0)
	if errors.Is(cause, sinks.ErrFenced) && time.Since(s.began) < s.coordinator.timeout {
		grace = s.grace
	}
	if committed, err := s.awaitOwner(ctx, grace); committed || err != nil {
		s.inDoubt = s.inDoubt && !committed
		return committed, err
	}
	if err := s.initialise(ctx); err != nil {
		return false, err
	}
	failpoint.Hit(failpoint.KafkaTxnAborted)
	committed, err = s.compareFence(ctx)
	if err == nil {
		s.ready, s.inDoubt = true, false
	}
	return committed, err
}

// initialise obtains a new epoch, which ends the transaction before it and
// keeps earlier owners from any other.
func (s *transactional) initialise(ctx context.Context) error {
	id, err := s.coordinator.init(ctx)
	if err != nil {
		return err
	}
	s.producer, s.began = id, time.Time{}
	s.state.restart(id)
	for _, partitions := range s.publisher.partitions {
		for _, part := range partitions {
			part.restart(id)
		}
	}
	return nil
}

// restart makes part begin anew under a producer id or epoch that it was not
// written with yet.
func (p *partition) restart(id producerID) { p.producer, p.sequence, p.doubt = id, 0, nil }

// awaitOwner compares fences until that of another owner appears, or the time
// is over: then the other ended before it had written its fence, or the
// coordinator took the transaction for abandoned. Beginning a new epoch
// earlier would interrupt the other's takeover.
func (s *transactional) awaitOwner(ctx context.Context, d time.Duration) (committed bool, err error) {
	for end := time.Now().Add(d); ; {
		committed, err := s.compareFence(ctx)
		if committed || err != nil || !time.Now().Before(end) {
			return committed, err
		}
		if err := wait.For(ctx, max(d/50, busyPause)); err != nil {
			return false, err
		}
	}
}

// compareFence reads the fence that is committed now. It returns false when
// it is the one that was known, true when it is that of the commit under way,
// and [sinks.Fenced] when it is another.
func (s *transactional) compareFence(ctx context.Context) (committed bool, err error) {
	durable, err := s.readFence(ctx)
	switch {
	case err != nil:
		return false, fmt.Errorf("reading the fence of unit %s: %w", s.name, err)
	case durable == s.unit.Fence():
		return false, nil
	case durable == s.unit.Next():
		return true, nil
	default:
		s.fenced = sinks.Fenced(s.name, durable)
		return false, s.fenced
	}
}
