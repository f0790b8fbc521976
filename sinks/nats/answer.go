package nats

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"connector/internal/fault"
)

// JetStream's error codes that nats.go does not name.
const (
	codeHeaderTooLarge jetstream.ErrorCode = 10097
	codeOtherStream    jetstream.ErrorCode = 10060
	codeSealed         jetstream.ErrorCode = 10109
	codeStoreFailed    jetstream.ErrorCode = 10077
	codeDeleteFailed   jetstream.ErrorCode = 10057
)

// embeddedFullRemedy is for an embedded server that could not write: it stores
// nothing more until it is started again.
const embeddedFullRemedy = "free space under CONNECTOR_DATA_DIR and restart"

// stoppedWait is how long an embedded server to which a subject of the stream is
// unknown may take to say what it knows of the stream.
const stoppedWait = 5 * time.Second

// isTooLarge reports whether the server refuses a message for its size: its
// limits may have become smaller since they were read.
func isTooLarge(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.ErrorCode == jetstream.JSErrCodeStreamMessageExceedsMaximum || api.ErrorCode == codeHeaderTooLarge
	}
	return errors.Is(err, natsio.ErrMaxPayload)
}

// diagnose says more about why messages were not taken, and marks what
// sending them again cannot change.
func (c *client) diagnose(ctx context.Context, err error) error {
	var api *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case c.conn.IsClosed():
		return c.closed(err)
	case errors.Is(err, natsio.ErrReconnectBufExceeded): // there is no such buffer
		return c.disconnected()
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		return c.missing(ctx, err)
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return c.gone(err)
	case c.cfg.URL.Embedded() && errors.Is(err, jetstream.ErrAsyncPublishTimeout):
		// After a failed write it answers no more, until it is started again.
		return fmt.Errorf("%w from the embedded server; if its disk is full, free space under CONNECTOR_DATA_DIR and restart", err)
	case !errors.As(err, &api):
		return err
	case api.ErrorCode == codeOtherStream:
		return fault.Fatal(fmt.Errorf("publishing to NATS stream %s: another stream has its subjects now: %w", c.cfg.Stream, err),
			"give the subjects back to it, or set NATS_STREAM and restart")
	case api.ErrorCode == codeSealed:
		return fault.Fatal(fmt.Errorf("publishing to NATS stream %s: %w", c.cfg.Stream, err), "set NATS_STREAM to another stream and restart")
	case api.ErrorCode == codeStoreFailed:
		return fmt.Errorf("stream %s does not store (delete old messages, or raise its limits, when it is full): %w", c.cfg.Stream, err)
	}
	return err
}

// missing explains why nothing listens on a subject of the stream: the stream
// was deleted or changed, or the server is not ready.
func (c *client) missing(ctx context.Context, cause error) error {
	var found jetstream.StreamConfig
	err := c.conn.guard(ctx, stoppedWait, func(ctx context.Context) error {
		stream, err := c.js.Stream(ctx, c.cfg.Stream)
		if err == nil {
			found = stream.CachedInfo().Config
		}
		return err
	})
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return c.gone(err)
	case errors.Is(err, natsio.ErrPermissionViolation):
		return c.denied(err)
	case c.cfg.URL.Embedded() && errors.Is(err, context.DeadlineExceeded):
		// It listens only after it loaded its streams; then only a failed
		// write turns JetStream off.
		return fault.Fatal(fmt.Errorf("the embedded NATS server stopped storing: %w", cause), embeddedFullRemedy)
	case err != nil:
		return fmt.Errorf("%w (asking for the stream: %w)", cause, err)
	}
	if err := verifyStream(&found, &c.cfg); err != nil {
		return err
	}
	return cause
}

func (c *client) gone(cause error) error {
	return fault.Fatal(fmt.Errorf("publishing to NATS stream %s: %w", c.cfg.Stream, cause), "restore the stream, or restart to create it again")
}

// disconnected says why there is no connection at the moment.
func (c *client) disconnected() error {
	if last := c.conn.LastError(); last != nil {
		return fmt.Errorf("not connected to NATS at %s: %w", c.cfg.URL, last)
	}
	return fmt.Errorf("not connected to NATS at %s", c.cfg.URL)
}

// closed explains a connection that will not be made again.
func (c *client) closed(cause error) error {
	if last := c.conn.LastError(); last != nil {
		cause = last
	}
	remedy := "restart the connector"
	if isLogin(cause) {
		remedy = loginRemedy
	}
	return fault.Fatal(fmt.Errorf("the connection to NATS is closed: %w", cause), remedy)
}
