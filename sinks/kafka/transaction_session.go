package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connector/checkpoint"
	"connector/sinks"
)

const (
	// ownerGrace is how long an owner that was fenced waits for the other's
	// fence before it takes the unit back: longer than reading a state takes.
	ownerGrace = 30 * time.Second
	// abortTimeout bounds aborting what is open when a session is closed.
	abortTimeout = 2 * time.Second
)

// transactional is the ownership of a unit whose commits are transactions:
// events, dead letters and the entries of the checkpoint become visible to
// readers of committed messages together or not at all, and a newer owner of
// the unit's transactional id ends those of this one.
type transactional struct {
	coordinator *coordinator
	publisher   *Publisher // routes and encodes
	name        string     // of the unit
	unit        *checkpoint.Unit
	state       *partition // where the entries of the unit's checkpoint lie
	producer    producerID
	grace       time.Duration

	stub    stub
	ready   bool      // whether producer may begin a transaction
	began   time.Time // when the transaction that is open was begun; zero when none is
	fenced  error     // why there will be no other commit; nil as long as there may be
	inDoubt bool      // whether the transaction may be committed
}

var errInDoubt = errors.New("whether the last commit is durable is unknown: open the unit again")

// Limits returns those of the topics.
func (s *transactional) Limits() sinks.Limits { return s.publisher.limits }

// Commit tries as long as it takes, until the outcome is known or ctx ends.
func (s *transactional) Commit(ctx context.Context, c sinks.Commit) error {
	if err := s.write(ctx, &transaction{c.Events, c.Dead, s.unit.Commit(c.State, time.Now())}); err != nil {
		return err
	}
	s.unit.Committed()
	return nil
}

// write makes tx durable, if no other owner has committed anything since this
// one did.
func (s *transactional) write(ctx context.Context, tx *transaction) error {
	retry := newRetry(s.coordinator.log, "transaction of unit "+s.name)
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

// errAnew wraps why a transaction was aborted that is to be done anew.
var errAnew = errors.New("aborted")

// try attempts tx once and settles its failure.
func (s *transactional) try(ctx context.Context, tx *transaction) error {
	if s.fenced != nil {
		return s.fenced
	}
	if s.inDoubt {
		return errInDoubt
	}
	if !s.ready { // a commit before this one failed
		if _, err := s.settle(ctx, errUnfinished); err != nil {
			return err
		}
	}
	err := s.attempt(ctx, tx)
	if err == nil {
		return nil
	}
	s.ready = false
	if !canSettle(err) {
		return err
	}
	committed, unsettled := s.settle(ctx, err)
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

// Close aborts the transaction that is open, so that readers need not wait
// until it times out.
func (s *transactional) Close() error {
	if !s.began.IsZero() {
		s.began = time.Time{}
		ctx, cancel := context.WithTimeout(context.Background(), abortTimeout)
		defer cancel()
		_ = s.coordinator.end(ctx, s.producer, false) // the next owner does it otherwise
	}
	return s.publisher.Close()
}
