// Package nats is the sink that stores messages in a NATS JetStream stream,
// on a server of the user's or on one inside this process, and reads them back.
//
// Messages are CloudEvents 1.0 events in either mode, under
// <prefix>.event.<system>.<account>.<stream>, and for dead letters
// <prefix>.deadletter.<system>.<account>.<stream>. Where the server can store
// several messages as one, the checkpoint lies beside them, under
// <prefix>.checkpoint.<unit>: see docs/adr/0007-nats-one-atomic-batch.md.
package nats

import (
	"context"
	"log/slog"
	"time"

	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"connector/internal/fault"
	"connector/schema"
	"connector/sinks"
)

const (
	maxMessages = 1000             // of one Publish, and most in flight
	maxInFlight = 16 << 20         // bytes
	ackWait     = 10 * time.Second // for the server's answer to one message
)

var _ sinks.Publisher = (*Publisher)(nil)

// Publisher stores messages in a JetStream stream, each under its id as
// Nats-Msg-Id, so that the server drops repetitions inside the stream's
// duplicate window.
type Publisher struct{ client }

// NewPublisher connects to url, the address of the embedded server or the
// servers of cfg.URL, and creates the stream, or checks an existing one and
// leaves it as it is. A server that cannot be reached is a fatal error here;
// afterwards lost connections are made again without end.
func NewPublisher(ctx context.Context, cfg Config, url string, log *slog.Logger) (*Publisher, error) {
	c, err := newClient(ctx, cfg, url, log)
	if err != nil {
		return nil, err
	}
	return &Publisher{c}, nil
}

// Limits follow the server's max_payload and the stream's max_msg_size.
func (p *Publisher) Limits() sinks.Limits {
	return sinks.Limits{MaxMessageBytes: p.maxMessageBytes(), MaxMessages: maxMessages}
}

// Guarantee implements [sinks.Publisher].
func (p *Publisher) Guarantee() sinks.Guarantee { return sinks.DedupedInWindow }

// Close closes the connection. Messages of a Publish that was cut short may
// still be stored.
func (p *Publisher) Close() error {
	p.conn.Close()
	return nil
}

// Publish stores events, then dead letters. It retries what the server did
// not acknowledge, under the same message id, until ctx ends. A version of a
// record is sent only after the earlier ones were acknowledged or rejected,
// so that a retry never stores it behind a later one.
func (p *Publisher) Publish(ctx context.Context, events, dead []schema.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	defer p.conn.unblock(ctx)()
	batch, rejected := p.encode(events, dead)
	for len(batch) > 0 {
		n := waveLength(batch)
		refused, err := p.store(ctx, batch[:n])
		if err != nil {
			return err
		}
		rejected = append(rejected, refused...)
		batch = batch[n:]
	}
	if len(rejected) > 0 {
		return &sinks.RejectedError{Messages: rejected}
	}
	return nil
}

// outgoing is a message on its way.
type outgoing struct {
	msg   *natsio.Msg
	key   string // of its record
	dead  bool
	index int // among events or dead letters
}

func (o *outgoing) reject(err error) sinks.Rejection {
	return sinks.Rejection{Dead: o.dead, Index: o.index, Err: err}
}

// encode returns what can be sent, and rejects what is too large.
func (p *Publisher) encode(events, dead []schema.Message) ([]outgoing, []sinks.Rejection) {
	batch := make([]outgoing, 0, len(events)+len(dead))
	var rejected []sinks.Rejection
	add := func(list []schema.Message, dead bool) {
		for i := range list {
			m := &list[i]
			o := outgoing{msg: encode(p.cfg.SubjectPrefix, p.cfg.Stream, m, dead), key: m.Source.System + "/" + m.Key(), dead: dead, index: i}
			if err := p.checkSize(m, o.msg); err != nil {
				rejected = append(rejected, o.reject(err))
				continue
			}
			batch = append(batch, o)
		}
	}
	add(events, false)
	add(dead, true)
	return batch, rejected
}

// waveLength returns how many messages from the start of batch may be in
// flight together: at most one of a record.
func waveLength(batch []outgoing) int {
	seen := make(map[string]bool, min(len(batch), maxMessages))
	size := 0
	for i := range batch {
		size += len(batch[i].msg.Data)
		if i > 0 && (i == maxMessages || size > maxInFlight || seen[batch[i].key]) {
			return i
		}
		seen[batch[i].key] = true
	}
	return len(batch)
}

// store sends a wave until each message of it is acknowledged or rejected.
func (p *Publisher) store(ctx context.Context, wave []outgoing) ([]sinks.Rejection, error) {
	var rejected []sinks.Rejection
	for retry := newRetries(p.log, p.cfg.Stream); ; {
		failed, refused, err := p.attempt(ctx, wave)
		rejected = append(rejected, refused...)
		if len(failed) == 0 && err == nil {
			return rejected, nil
		}
		if ctx.Err() == nil && fault.IsFatal(err) {
			return nil, err
		}
		if err := retry.pause(ctx, err, "NATS did not take messages; trying again", "messages", len(failed)); err != nil {
			return nil, err
		}
		wave = failed
	}
}

// attempt sends a wave once and waits for all its answers. It returns the
// messages to send again, which may be stored nevertheless, with the first
// cause; the messages that can never be stored; and an error that ends the
// publish.
func (p *Publisher) attempt(ctx context.Context, wave []outgoing) (failed []outgoing, rejected []sinks.Rejection, err error) {
	_ = p.conn.takeDenied() // of an earlier attempt
	futures := make([]jetstream.PubAckFuture, len(wave))
	errs := make([]error, len(wave))
	for i := range wave {
		futures[i], errs[i] = p.js.PublishMsgAsync(wave[i].msg, jetstream.WithRetryAttempts(0))
	}
	for i := range wave {
		if errs[i] == nil {
			errs[i] = p.await(ctx, futures[i])
		}
		switch {
		case errs[i] == nil:
		case ctx.Err() != nil, fault.IsFatal(errs[i]):
			return wave, nil, errs[i]
		case isTooLarge(errs[i]):
			rejected = append(rejected, wave[i].reject(fault.Reject("too_large", errs[i])))
		default:
			if err == nil {
				err = errs[i]
			}
			failed = append(failed, wave[i])
		}
	}
	return failed, rejected, p.diagnose(ctx, err)
}

// await waits for the answer to one message.
func (p *Publisher) await(ctx context.Context, f jetstream.PubAckFuture) error {
	select {
	case <-f.Ok():
		return nil
	case err := <-f.Err():
		return err
	case err := <-p.conn.denied:
		return p.denied(err)
	case <-ctx.Done():
		return ctx.Err()
	}
}
