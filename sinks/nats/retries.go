package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v4"

	"connector/internal/wait"
)

const (
	retryFirst = 50 * time.Millisecond
	retryMost  = 5 * time.Second
	retryLog   = time.Minute // between log lines about the same cause
)

// retries waits between attempts, and says why there is another one: at once
// when the cause is new, else now and then.
type retries struct {
	log     *slog.Logger
	backoff *backoff.ExponentialBackOff

	cause  string
	logged time.Time
	last   error // that is not the end of a context
}

func newRetries(log *slog.Logger, stream string) *retries {
	return &retries{
		log:     log.With("stream", stream),
		backoff: backoff.NewExponentialBackOff(backoff.WithInitialInterval(retryFirst), backoff.WithMaxInterval(retryMost), backoff.WithMaxElapsedTime(0)),
	}
}

// pause waits after err. It returns an error when ctx ended.
func (r *retries) pause(ctx context.Context, err error, what string, args ...any) error {
	// What fails once ctx ended fails for that, if only because it breaks the connection.
	if ctx.Err() == nil || r.last == nil && !errors.Is(err, ctx.Err()) {
		r.last = err
	}
	if ctx.Err() != nil {
		return r.ended(ctx)
	}
	if err.Error() != r.cause || time.Since(r.logged) > retryLog {
		r.cause, r.logged = err.Error(), time.Now()
		r.log.Warn(what, append(args, "error", err)...)
	}
	if wait.For(ctx, r.backoff.NextBackOff()) != nil {
		return r.ended(ctx)
	}
	return nil
}

// ended returns ctx's error, and what kept the work from ending before.
func (r *retries) ended(ctx context.Context) error {
	if r.last == nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w; before that: %w", ctx.Err(), r.last)
}
