package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"connector/checkpoint"
	"connector/internal/failpoint"
	"connector/internal/wait"
	"connector/sinks"
)

const (
	// ownerGrace is how long an owner that was fenced waits for the other's
	// claim before it takes the unit back: longer than reading a state takes.
	ownerGrace = 30 * time.Second
	// abortTimeout bounds aborting what is open when a session is closed.
	abortTimeout = 2 * time.Second
	// markerPause is the pause between two looks for a commit that readers do
	// not see yet.
	markerPause = 10 * time.Millisecond
)

// transactional is a session whose commits are transactions: events, dead
// letters and state become visible to readers of committed messages together
// or not at all, and a newer owner of the unit's transactional id ends those of
// this one.
//
// An owner whose transaction was ended looks who owns the unit before it goes
// on: the coordinator ends what takes too long, too.
type transactional struct {
	ownership
	coordinator *coordinator
	publisher   *publisher // routes and encodes
	part        *partition // of the state
	encoder     encoder    // of the state
	producer    producerID
	grace       time.Duration

	ready   bool      // whether producer may begin a transaction
	began   time.Time // when the transaction that is open was begun; zero when none is
	counted int64     // offset after the state before it
	inDoubt bool      // whether it may be committed
	ended   error     // why there will be no other; nil as long as there may be

	base, next int64 // where its state begins and ends
	whole      bool  // whether nothing of others lies between
	marker     int64 // offset after the marker that ended the transaction before
}

// openTransactional takes a unit over: it ends what earlier owners began,
// then claims the unit in a transaction of its own and reads the state up to
// there.
func (s *sink) openTransactional(ctx context.Context, unit string) (sinks.Session, error) {
	state, err := s.state(unit)
	if err != nil {
		return nil, err
	}
	session := newTransactional(s, state)
	if err := session.initialise(ctx); err != nil {
		return nil, fmt.Errorf("taking over unit %s: %w", unit, err)
	}
	session.ready = true
	failpoint.Hit(failpoint.KafkaTxnInitialised)
	if err := session.open(ctx, session.claim); err != nil {
		session.abort(context.WithoutCancel(ctx))
		return nil, fmt.Errorf("taking over unit %s: %w", unit, err)
	}
	return session, nil
}

func newTransactional(s *sink, state *unitState) *transactional {
	id := s.cfg.transactionalID() + "-" + state.unit
	t := &transactional{
		ownership:   ownership{sink: s, state: state},
		coordinator: &coordinator{client: s.client, log: s.log, id: id, timeout: s.transactionTimeout},
		publisher:   unnumbered(s.client, &s.cfg, s.log, s.counts, s.limits),
		part:        &partition{topic: state.view.topic, id: state.view.partition},
		encoder:     *newEncoder(s.cfg.Compression, batchBytes, math.MaxInt),
		grace:       s.ownerGrace,
	}
	t.publisher.producer.transactional = id
	for range parallel {
		e := <-t.publisher.encoders
		e.flags = inTransaction
		t.publisher.encoders <- e
	}
	t.save = t.saveState
	return t
}

// claim commits the record of a takeover.
func (s *transactional) claim(ctx context.Context, t takeover) error {
	return s.run(ctx, &transaction{records: []record{t.record()}, claim: t.id})
}

// Limits are those of the topics.
func (s *transactional) Limits() sinks.Limits { return s.publisher.limits }

// Commit tries as long as it takes, until the outcome is known or ctx ends.
func (s *transactional) Commit(ctx context.Context, c sinks.Commit) error {
	if len(s.state.stale) > 0 {
		if err := s.repair(ctx); err != nil {
			return err
		}
	}
	// Whoever reads back looks at the messages after those of the commit before.
	saved := s.covered(s.publisher, &c)
	entries := append([]checkpoint.Entry{saved.entry()}, s.unit.Commit(c.State, time.Now())...)
	if err := s.store(ctx, c, entries); err != nil {
		return err
	}
	s.unit.Committed()
	s.saved = saved
	failpoint.Hit(failpoint.KafkaCommitted)
	return nil
}

// saveState commits entries alone.
func (s *transactional) saveState(ctx context.Context, entries []checkpoint.Entry) error {
	return s.store(ctx, sinks.Commit{}, entries)
}

// store commits messages and entries, and learns where the entries lie.
func (s *transactional) store(ctx context.Context, c sinks.Commit, entries []checkpoint.Entry) error {
	start, marker := s.state.next, s.marker
	if err := s.run(ctx, &transaction{events: c.Events, dead: c.Dead, records: s.state.records(entries)}); err != nil {
		return err
	}
	if s.state.counted > s.counted { // read to find out that they are committed
		return nil
	}
	if s.whole && (s.base == start || s.base == marker) {
		s.state.wrote(s.base, entries)
		s.marker = s.state.next + 1
		return nil
	}
	return s.find(ctx)
}

// find reads the state until the last transaction is in it: others wrote
// between, or a batch was found to be stored already. The session ends when
// that fails, or when another owner came later.
func (s *transactional) find(ctx context.Context) error {
	s.inDoubt = true
	for s.state.counted <= s.counted && s.ended == nil {
		if err := s.state.read(ctx); err != nil {
			return err
		}
		if err := wait.For(ctx, markerPause); err != nil {
			return err
		}
		s.ended = s.state.rival(s.mine)
	}
	s.inDoubt = false
	return nil
}

// Close aborts the transaction that is open, so that readers need not wait
// until it times out.
func (s *transactional) Close() error {
	s.abort(context.Background())
	if s.ended == nil {
		s.ended = errors.New("the session is closed")
	}
	return nil
}

// abort is for the end of a session: whether it succeeds does not matter to
// the next owner.
func (s *transactional) abort(ctx context.Context) {
	if s.began.IsZero() {
		return
	}
	s.began = time.Time{}
	ctx, cancel := context.WithTimeout(ctx, abortTimeout)
	defer cancel()
	_ = s.coordinator.end(ctx, s.producer, false)
}
