package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"connector/internal/failpoint"
	"connector/internal/fault"
	"connector/internal/wait"
	"connector/schema"
	"connector/sinks"
)

// transaction is what becomes visible at once.
type transaction struct {
	events, dead []schema.Message
	records      []record // of the checkpoint
	claim        string   // id of the takeover among records; empty when there is none
}

// run makes tx durable, trying as long as it takes. It fails when another
// owner committed anything since this one did.
func (s *transactional) run(ctx context.Context, tx *transaction) error {
	retry := newRetry(s.coordinator.log, "transaction of unit "+s.state.unit)
	for {
		err := s.try(ctx, tx)
		if err == nil {
			retry.done()
		}
		if !errors.Is(err, errAnew) {
			return err
		}
		if err := retry.wait(ctx, err); err != nil {
			return err
		}
	}
}

var (
	// errAnew wraps why a transaction was aborted that is to be done anew.
	errAnew    = errors.New("aborted")
	errInDoubt = errors.New("whether the last commit is durable is unknown: open the unit again")
)

// try attempts tx once and settles its failure.
func (s *transactional) try(ctx context.Context, tx *transaction) error {
	if s.ended != nil {
		return s.ended
	}
	if s.inDoubt {
		return errInDoubt
	}
	s.counted = s.state.counted
	if !s.ready { // the transaction before this one failed, or what came after it is not known
		if _, err := s.settle(ctx, &transaction{}, errUnfinished); err != nil {
			return err
		}
	}
	s.counted = s.state.counted
	err := s.attempt(ctx, tx)
	if err == nil {
		return nil
	}
	s.ready = false
	if !canSettle(err) {
		return err
	}
	committed, unsettled := s.settle(ctx, tx, err)
	if committed || unsettled != nil {
		return unsettled
	}
	if _, rejected := errors.AsType[*sinks.RejectedError](err); rejected {
		return err
	}
	return fmt.Errorf("%w: %w", errAnew, err)
}

// canSettle reports whether the failure of a transaction is not for good.
func canSettle(err error) bool {
	_, rejected := errors.AsType[*sinks.RejectedError](err)
	return rejected || errors.Is(err, errUnfinished) || errors.Is(err, sinks.ErrFenced)
}

// attempt runs tx from its beginning to the answer that it is committed. The
// error is one of ctx, fatal, a *[sinks.RejectedError], or wraps
// [sinks.ErrFenced] or errUnfinished; after any, the transaction may be open,
// and in doubt if s.inDoubt says so.
func (s *transactional) attempt(ctx context.Context, tx *transaction) error {
	failpoint.Hit(failpoint.KafkaTxnBegin)
	defer s.publisher.forget() // what was stored counts with the transaction only
	work := s.publisher.route(tx.events, tx.dead)
	work[s.part] = nil
	for part := range work {
		part.verified = false
	}
	s.began = time.Now()
	if err := s.coordinator.add(ctx, s.producer, slices.Collect(maps.Keys(work))); err != nil {
		return err
	}
	failpoint.Hit(failpoint.KafkaTxnAdded)
	err := s.publisher.each(ctx, work, func(ctx context.Context, part *partition, items []item) error {
		if part == s.part {
			return s.writeState(ctx, tx.records)
		}
		return s.publisher.publish(ctx, part, items)
	})
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.KafkaTxnWritten)
	s.inDoubt = true
	if err := s.coordinator.end(ctx, s.producer, true); err != nil {
		return err
	}
	s.inDoubt, s.began = false, time.Time{}
	failpoint.Hit(failpoint.KafkaTxnEnded)
	return nil
}

// writeState writes records to the unit's partition.
func (s *transactional) writeState(ctx context.Context, records []record) error {
	s.base, s.whole = unknownOffset, true
	for len(records) > 0 {
		b, err := s.encode(records)
		if err != nil {
			return err
		}
		err = s.publisher.send(ctx, s.part, &s.encoder, b)
		if errors.Is(err, errRefused) {
			return fault.Fatal(fmt.Errorf("saving the checkpoint, %d bytes: %w", len(b.set), err),
				fmt.Sprintf("set max.message.bytes=%d on topic %s", stateBytes, s.part.topic))
		}
		if err != nil {
			return err
		}
		s.wrote(b)
		records = records[b.count:]
	}
	failpoint.Hit(failpoint.KafkaTxnState)
	return nil
}

// wrote notes where a batch of the state lies after those before it.
func (s *transactional) wrote(b *batch) {
	if s.base == unknownOffset {
		s.base, s.next = b.base, b.base
	}
	s.whole = s.whole && b.base != unknownOffset && b.base == s.next
	s.next = b.base + int64(b.count)
}

// encode makes a batch of as many records as fit, at least one.
func (s *transactional) encode(records []record) (*batch, error) {
	e := &s.encoder.batch
	e.reset()
	n := 0
	for n < len(records) && e.add(&records[n]) {
		n++
	}
	set, err := e.finish(inTransaction)
	if err != nil {
		return nil, err
	}
	return &batch{set: set, count: n}, nil
}

// settle aborts the transaction that failed with cause, or finds out that it
// is committed. It returns false when it is not and may be done anew.
func (s *transactional) settle(ctx context.Context, tx *transaction, cause error) (committed bool, err error) {
	failpoint.Hit(failpoint.KafkaTxnAborting)
	grace := time.Duration(0)
	if errors.Is(cause, sinks.ErrFenced) && time.Since(s.began) < s.coordinator.timeout {
		grace = s.grace
	}
	if committed, err := s.awaitOwner(ctx, tx, grace); committed || err != nil {
		s.inDoubt = s.inDoubt && !committed
		return committed, err
	}
	if err := s.initialise(ctx); err != nil {
		return false, err
	}
	failpoint.Hit(failpoint.KafkaTxnAborted)
	committed, err = s.look(ctx, tx)
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
	s.part.restart(id)
	s.publisher.restart(id)
	return nil
}

// awaitOwner looks at the state until another owner appears there, or the time
// is over: then the other ended before it had written its claim, or the
// coordinator took the transaction for abandoned. Beginning a new epoch
// earlier would interrupt the other's takeover.
func (s *transactional) awaitOwner(ctx context.Context, tx *transaction, d time.Duration) (committed bool, err error) {
	for end := time.Now().Add(d); ; {
		committed, err := s.look(ctx, tx)
		if committed || err != nil || !time.Now().Before(end) {
			return committed, err
		}
		if err := wait.For(ctx, max(d/50, busyPause)); err != nil {
			return false, err
		}
	}
}

// look reads what is committed now. It returns true when tx is, and
// [sinks.Fenced] when another owner took the unit.
func (s *transactional) look(ctx context.Context, tx *transaction) (committed bool, err error) {
	before := s.state.takeover
	if err := s.state.read(ctx); err != nil {
		return false, fmt.Errorf("reading the checkpoint of unit %s: %w", s.state.unit, err)
	}
	if tx.claim != "" && s.state.takeover.id == tx.claim {
		return true, nil
	}
	if err := s.state.rival(before); err != nil {
		s.ended = err
		return false, err
	}
	return tx.claim == "" && s.state.counted > s.counted, nil // while claiming, what counts is the earlier owner's
}
