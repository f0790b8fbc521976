package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"connector/internal/fault"
	"connector/schema"
)

// headroom is what is kept free of max_payload, for what the encoding adds to
// attributes.
const headroom = 4 << 10

// client is a connection, and the stream on its server.
type client struct {
	conn   *connection
	js     jetstream.JetStream
	cfg    Config
	stream jetstream.StreamConfig // as found or created
	log    *slog.Logger
}

// newClient connects to url and creates or checks the stream.
func newClient(ctx context.Context, cfg Config, url string, log *slog.Logger) (client, error) {
	conn, err := connect(ctx, &cfg, url, log)
	if err != nil {
		return client{}, err
	}
	c := client{conn: conn, cfg: cfg, log: log}
	if err := c.open(ctx); err != nil {
		conn.Close()
		return client{}, err
	}
	return c, nil
}

func (c *client) open(ctx context.Context) error {
	js, err := jetstream.New(c.conn.Conn, jetstream.WithPublishAsyncTimeout(ackWait), jetstream.WithPublishAsyncMaxPending(4*maxMessages))
	if err != nil {
		return fmt.Errorf("preparing JetStream: %w", err)
	}
	c.js = js
	return c.guard(ctx, func(ctx context.Context) error {
		c.stream, err = openStream(ctx, js, &c.cfg, c.log)
		return err
	})
}

// guard calls f as [connection.guard] does, and once more, with more patience,
// when there is no answer: a request may get lost while another server becomes
// the leader, or the server is busy.
func (c *client) guard(ctx context.Context, f func(context.Context) error) error {
	err := c.guardOnce(ctx, requestWait, f)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = c.guardOnce(ctx, busyWait, f)
	}
	return err
}

// guardOnce calls f as [connection.guard] does and explains a missing
// permission and a missing connection.
func (c *client) guardOnce(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	err := c.conn.guard(ctx, limit, f)
	switch {
	case errors.Is(err, natsio.ErrPermissionViolation):
		return c.denied(err)
	case errors.Is(err, natsio.ErrReconnectBufExceeded):
		return c.disconnected()
	}
	return err
}

func (c *client) denied(err error) error {
	return fault.Fatal(fmt.Errorf("using NATS stream %s: %w", c.cfg.Stream, err), fmt.Sprintf(permitRemedy, c.cfg.SubjectPrefix))
}

// maxBytes bounds a message with its headers.
func (c *client) maxBytes() int64 {
	limit := c.conn.MaxPayload()
	if c.stream.MaxMsgSize > 0 {
		limit = min(limit, int64(c.stream.MaxMsgSize))
	}
	return max(limit, 2*headroom)
}

// maxMessageBytes bounds [schema.Message.Size].
func (c *client) maxMessageBytes() int { return int(c.maxBytes() - headroom) }

// checkSize rejects a message that is too large for the server or the stream.
func (c *client) checkSize(m *schema.Message, msg *natsio.Msg) error {
	limit, header := c.maxMessageBytes(), headerBytes(msg.Header)
	size := m.Size()
	switch {
	case header > maxHeaderBytes:
		return fault.Reject("too_large", fmt.Errorf("attributes of record %.100q take %d bytes; NATS stores at most %d", m.RecordID, header, maxHeaderBytes))
	case size > limit, int64(header+len(msg.Data)) > c.maxBytes():
		return fault.Reject("too_large", fmt.Errorf("message of record %.100q has %d bytes; the NATS server or stream %s accepts at most %d",
			m.RecordID, size, c.cfg.Stream, limit))
	}
	return nil
}
