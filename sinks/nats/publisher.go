// Package nats is the sink that stores messages in a NATS JetStream stream,
// on a server of the user's or on one inside this process, and reads them back.
//
// Messages are CloudEvents 1.0 events in binary mode, under
// <prefix>.event.<system>.<account>.<stream>, and for dead letters
// <prefix>.deadletter.<system>.<account>.<stream>.
package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v4"
	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"connector/internal/fault"
	"connector/internal/wait"
	"connector/schema"
	"connector/sinks"
)

const (
	maxMessages = 1000             // of one Publish, and most in flight
	maxInFlight = 16 << 20         // bytes
	ackWait     = 10 * time.Second // for the server's answer to one message
	headroom    = 4 << 10          // of max_payload, for what the encoding adds to attributes

	retryFirst = 50 * time.Millisecond
	retryMost  = 5 * time.Second
	retryLog   = time.Minute // between log lines about the same cause
)

var _ sinks.Publisher = (*Publisher)(nil)

// Publisher stores messages in a JetStream stream, each under its id as
// Nats-Msg-Id, so that the server drops repetitions inside the stream's
// duplicate window.
type Publisher struct {
	conn   *connection
	js     jetstream.JetStream
	cfg    Config
	stream jetstream.StreamConfig // as found or created
	log    *slog.Logger
}

// NewPublisher connects to url, the address of the embedded server or the
// servers of cfg.URL, and creates the stream, or checks an existing one and
// leaves it as it is. A server that cannot be reached is a fatal error here;
// afterwards lost connections are made again without end.
func NewPublisher(ctx context.Context, cfg Config, url string, log *slog.Logger) (*Publisher, error) {
	conn, err := connect(ctx, &cfg, url, log)
	if err != nil {
		return nil, err
	}
	p := &Publisher{conn: conn, cfg: cfg, log: log}
	if err := p.open(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return p, nil
}

func (p *Publisher) open(ctx context.Context) error {
	js, err := jetstream.New(p.conn.Conn, jetstream.WithPublishAsyncTimeout(ackWait), jetstream.WithPublishAsyncMaxPending(4*maxMessages))
	if err != nil {
		return fmt.Errorf("preparing JetStream: %w", err)
	}
	p.js = js
	err = p.conn.guard(ctx, func(ctx context.Context) error {
		p.stream, err = openStream(ctx, js, &p.cfg, p.log)
		return err
	})
	if errors.Is(err, natsio.ErrPermissionViolation) {
		return p.denied(err)
	}
	return err
}

// Limits follow the server's max_payload and the stream's max_msg_size.
func (p *Publisher) Limits() sinks.Limits {
	return sinks.Limits{MaxMessageBytes: int(p.maxBytes() - headroom), MaxMessages: maxMessages}
}

// maxBytes bounds a message with its headers.
func (p *Publisher) maxBytes() int64 {
	limit := p.conn.MaxPayload()
	if p.stream.MaxMsgSize > 0 {
		limit = min(limit, int64(p.stream.MaxMsgSize))
	}
	return max(limit, 2*headroom)
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

func (p *Publisher) checkSize(m *schema.Message, msg *natsio.Msg) error {
	limit, header := p.Limits().MaxMessageBytes, headerBytes(msg.Header)
	size := m.Size()
	switch {
	case header > maxHeaderBytes:
		return fault.Reject("too_large", fmt.Errorf("attributes of record %.100q take %d bytes; NATS stores at most %d", m.RecordID, header, maxHeaderBytes))
	case size > limit, int64(header+len(msg.Data)) > p.maxBytes():
		return fault.Reject("too_large", fmt.Errorf("message of record %.100q has %d bytes; the NATS server or stream %s accepts at most %d",
			m.RecordID, size, p.cfg.Stream, limit))
	}
	return nil
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
	retry := backoff.NewExponentialBackOff(backoff.WithInitialInterval(retryFirst), backoff.WithMaxInterval(retryMost), backoff.WithMaxElapsedTime(0))
	var rejected []sinks.Rejection
	var logged time.Time
	var last error // that is not the end of ctx
	for cause := ""; ; {
		failed, refused, err := p.attempt(ctx, wave)
		rejected = append(rejected, refused...)
		if len(failed) == 0 && err == nil {
			return rejected, nil
		}
		if err != nil && !errors.Is(err, ctx.Err()) {
			last = err
		}
		if ctx.Err() != nil {
			return nil, endedError(ctx, last)
		}
		if fault.IsFatal(err) {
			return nil, err
		}
		if err.Error() != cause || time.Since(logged) > retryLog {
			cause, logged = err.Error(), time.Now()
			p.log.Warn("NATS did not take messages; trying again", "stream", p.cfg.Stream, "messages", len(failed), "err", err)
		}
		wave = failed
		if wait.For(ctx, retry.NextBackOff()) != nil {
			return nil, endedError(ctx, last)
		}
	}
}

// endedError returns ctx's error, and what kept the publish from ending before.
func endedError(ctx context.Context, last error) error {
	if last == nil || errors.Is(last, ctx.Err()) {
		return ctx.Err()
	}
	return fmt.Errorf("%w; before that: %w", ctx.Err(), last)
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

func (p *Publisher) denied(err error) error {
	return fault.Fatal(fmt.Errorf("using NATS stream %s: %w", p.cfg.Stream, err), fmt.Sprintf(permitRemedy, p.cfg.SubjectPrefix))
}
