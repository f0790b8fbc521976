package nats

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"connector/internal/failpoint"
	"connector/schema"
)

// batchWait is how long a batch may stay without an answer before the stream is
// asked. A server whose storage ran out does not answer.
const batchWait = 5 * time.Second

// attempt sends b once, under a new id, and waits for the answer: the sequence
// of its last message. After an error it may be stored nevertheless when its id
// is among s.attempts.
func (s *session) attempt(ctx context.Context, b *batch) (uint64, error) {
	_ = s.conn.takeDenied() // of an earlier attempt
	s.answers.forget()
	id := rand.Text()
	s.encoder.begin(id)
	err := errors.Join(s.publish(ctx, b.events, false), s.publish(ctx, b.dead, true))
	if err != nil {
		return 0, err
	}
	failpoint.Hit(failpoint.NATSEventsSent)
	end := len(b.state) - 1
	for i := range b.state[:end] {
		if err := s.conn.PublishMsg(s.encoder.entry(&b.state[i])); err != nil {
			return 0, err
		}
	}
	failpoint.Hit(failpoint.NATSStateSent)
	msg := s.encoder.entry(&b.state[end])
	s.encoder.commit(b.fenced, s.expect)
	msg.Reply = s.answers.subject(id)
	s.attempts[id] = true
	if err := s.conn.PublishMsg(msg); err != nil {
		return 0, err
	}
	failpoint.Hit(failpoint.NATSCommitSent)
	seq, err := s.answers.wait(ctx, id, b.size())
	if errors.Is(err, natsio.ErrPermissionViolation) {
		err = s.denied(err)
	}
	failpoint.Hit(failpoint.NATSAnswered)
	return seq, err
}

func (s *session) publish(ctx context.Context, list []schema.Message, dead bool) error {
	for i := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.conn.PublishMsg(s.encoder.message(&list[i], dead)); err != nil {
			return err
		}
	}
	return nil
}

// answers receives the server's answers to batches.
type answers struct {
	conn   *connection
	inbox  string
	sub    *natsio.Subscription
	got    chan *natsio.Msg
	status chan natsio.Status // that the connection was lost
}

func newAnswers(conn *connection) (*answers, error) {
	a := &answers{conn: conn, inbox: conn.NewInbox(), got: make(chan *natsio.Msg, 64)}
	sub, err := conn.ChanSubscribe(a.inbox+".*", a.got)
	if err != nil {
		return nil, fmt.Errorf("subscribing to answers of NATS: %w", err)
	}
	a.sub, a.status = sub, conn.StatusChanged(natsio.RECONNECTING, natsio.CLOSED)
	return a, nil
}

func (a *answers) close() error {
	a.conn.RemoveStatusListener(a.status)
	err := a.sub.Unsubscribe()
	if errors.Is(err, natsio.ErrConnectionClosed) {
		return nil
	}
	return err
}

// subject returns where the answer to a batch is to be sent.
func (a *answers) subject(id string) string { return a.inbox + "." + id }

// forget drops what belongs to earlier batches.
func (a *answers) forget() {
	for {
		select {
		case <-a.got:
		case <-a.status:
		default:
			return
		}
	}
}

// wait waits for the answer to a batch of size messages.
func (a *answers) wait(ctx context.Context, id string, size int) (uint64, error) {
	timer := time.NewTimer(batchWait)
	defer timer.Stop()
	for {
		select {
		case msg := <-a.got:
			if msg.Subject == a.subject(id) {
				return decodeAnswer(msg, id, size)
			}
		case <-a.status:
			return 0, natsio.ErrDisconnected
		case err := <-a.conn.denied:
			return 0, err
		case <-timer.C:
			return 0, jetstream.ErrAsyncPublishTimeout
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// decodeAnswer returns the sequence of the last message of a batch.
func decodeAnswer(msg *natsio.Msg, id string, size int) (uint64, error) {
	if len(msg.Data) == 0 { // no responders
		return 0, jetstream.ErrNoStreamResponse
	}
	var answer struct {
		Error *jetstream.APIError `json:"error"`
		Seq   uint64              `json:"seq"`
		Batch string              `json:"batch"`
		Count int                 `json:"count"`
	}
	err := json.Unmarshal(msg.Data, &answer)
	switch {
	case err != nil:
		return 0, fmt.Errorf("answer of NATS to a batch: %w", err)
	case answer.Error != nil:
		return 0, answer.Error
	case answer.Batch != id || answer.Count != size:
		return 0, fmt.Errorf("NATS stored %d messages of batch %q, not the %d of %q", answer.Count, answer.Batch, size, id)
	}
	return answer.Seq, nil
}
