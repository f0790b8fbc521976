package nats

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connector/checkpoint"
	"connector/internal/failpoint"
	"connector/internal/fault"
	"connector/schema"
	"connector/sinks"
)

// reserve is how many messages of a batch are kept free for the manifest and
// the fence.
const reserve = 2

var _ sinks.Session = (*session)(nil)

// session is the ownership of a unit whose state lies in the stream of its
// events. Each commit is one atomic batch that ends with the fence, which the
// server stores only in place of the fence of the commit before.
type session struct {
	client

	unit    string
	at      place
	state   *checkpoint.Unit
	loaded  []checkpoint.Entry // by Open, until Recover
	encoder *encoder
	answers *answers

	expect uint64 // sequence of the fence
	// attempts are the ids of the batches of the commit under way; older ones
	// are those of commits that the caller changed meanwhile.
	attempts, older map[string]bool
	superseded      map[string]uint64 // by subject: the first sequence to keep
	unknown         error             // set once a commit was left in doubt, or the session closed
}

var errClosed = errors.New("the session is closed")

// Limits implements [sinks.Session].
func (s *session) Limits() sinks.Limits {
	return sinks.Limits{MaxMessageBytes: s.maxMessageBytes(), MaxMessages: maxBatch - reserve}
}

// Recover implements [sinks.Session]. It yields the entries once.
func (s *session) Recover(ctx context.Context, yield func(checkpoint.Entry) error) error {
	if s.loaded == nil {
		return errors.New("the state was read already; open the unit again")
	}
	for _, e := range s.loaded {
		if e.Key == checkpoint.FenceKey || e.Key == checkpoint.ManifestKey {
			continue
		}
		if err := errors.Join(ctx.Err(), yield(e)); err != nil {
			return err
		}
	}
	s.loaded = nil
	return nil
}

// Get implements [sinks.Session]. It asks the stream's leader.
func (s *session) Get(ctx context.Context, key string) ([]byte, error) {
	return s.value(ctx, s.at, key)
}

// value returns the value of a key, nil when there is none.
func (c *client) value(ctx context.Context, at place, key string) ([]byte, error) {
	m, err := c.last(ctx, at.subject(key))
	if err != nil {
		return nil, fmt.Errorf("reading checkpoint entry %s: %w", key, err)
	}
	if m == nil || m.deleted() {
		return nil, nil
	}
	return m.data, nil
}

// Commit implements [sinks.Session].
func (s *session) Commit(ctx context.Context, c sinks.Commit) error {
	if s.unknown != nil {
		return s.unknown
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	defer s.conn.unblock(ctx)()
	b := &batch{events: c.Events, dead: c.Dead, state: s.state.Commit(c.State, time.Now()), fenced: true}
	failpoint.Hit(failpoint.NATSSend)
	err := s.store(ctx, b)
	if by, ok := errors.AsType[*otherOwner](err); ok {
		return sinks.Fenced(s.unit, by.fence)
	}
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.NATSPurge)
	s.purgeSuperseded()
	return nil
}

// committed notes that b is durable, its last message under sequence seq.
func (s *session) committed(b *batch, seq uint64) {
	first := seq - uint64(b.size()-1) + uint64(len(b.events)+len(b.dead))
	for i, e := range b.state {
		keep := first + uint64(i)
		if e.Value == nil {
			keep++ // a deleted key needs no message once the older ones are gone
		}
		s.superseded[s.at.subject(e.Key)] = keep
	}
	if b.fenced {
		s.expect = seq
		s.state.Committed()
	}
	clear(s.attempts)
	clear(s.older)
}

// purgeSuperseded deletes the state messages that later ones replaced. The
// answers are of no interest: what stays behind is never read, and deleted at
// the next start.
func (s *session) purgeSuperseded() {
	for subject, seq := range s.superseded {
		if s.tell(opPurge, purgeRequest{Filter: subject, Seq: seq}) != nil {
			return // it stays for the next time
		}
		delete(s.superseded, subject)
	}
}

// Close implements [sinks.Session].
func (s *session) Close() error {
	s.purgeSuperseded()
	s.unknown = errClosed
	return s.answers.close()
}

// check lists the messages of b that are too large. State that is too large is
// a fatal error.
func (s *session) check(b *batch) error {
	if n := b.size(); n > maxBatch {
		return fault.Fatal(fmt.Errorf("commit of %d messages; NATS takes %d as one", n, maxBatch), "report it: the connector made it larger than it may")
	}
	s.encoder.begin("")
	var rejected []sinks.Rejection
	for i := range b.events {
		if err := s.checkMessage(&b.events[i], false); err != nil {
			rejected = append(rejected, sinks.Rejection{Index: i, Err: err})
		}
	}
	for i := range b.dead {
		if err := s.checkMessage(&b.dead[i], true); err != nil {
			rejected = append(rejected, sinks.Rejection{Dead: true, Index: i, Err: err})
		}
	}
	if len(rejected) > 0 {
		return &sinks.RejectedError{Messages: rejected}
	}
	for i := range b.state {
		if err := s.checkEntry(&b.state[i]); err != nil {
			return err
		}
	}
	return nil
}

// attributeBytes bounds what the headers of a message take beside the values
// that its rows determine, and escaping what these grow by.
const (
	attributeBytes  = 1 << 10
	attributeGrowth = 3
)

// checkMessage encodes only messages that come near the limit.
func (s *session) checkMessage(m *schema.Message, dead bool) error {
	rest := len(m.RecordID) + len(m.ID) + len(m.Type) + len(m.DataSchema) + len(m.Replay) + 3*(len(m.Source.System)+len(m.Source.Account)+len(m.Source.Stream))
	header := attributeBytes + attributeGrowth*rest
	if header <= maxHeaderBytes && len(m.Body)+header <= s.maxMessageBytes() {
		return nil
	}
	return s.checkSize(m, s.encoder.message(m, dead))
}

func (s *session) checkEntry(e *checkpoint.Entry) error {
	const headers = 512
	switch subject := s.at.subject(e.Key); {
	case len(subject) > maxSubject:
		return fault.Fatal(fmt.Errorf("checkpoint entry %.100q has a key too long for a NATS subject", e.Key), "shorten the account's name")
	case int64(len(e.Value)+headers) > s.maxBytes():
		return fault.Fatal(fmt.Errorf("checkpoint entry %s has %d bytes; the NATS server or stream %s accepts at most %d a message", e.Key, len(e.Value), s.cfg.Stream, s.maxBytes()),
			"raise max_payload of the server, and max_msg_size of the stream where it is set")
	}
	return nil
}
