package pipeline

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// retry computes how long to wait after one more failure: jittered, doubling
// from half a second to a minute, without end.
type retry struct{ policy *backoff.ExponentialBackOff }

func newRetry() *retry {
	return &retry{policy: backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(500*time.Millisecond), backoff.WithMultiplier(2),
		backoff.WithMaxInterval(time.Minute), backoff.WithMaxElapsedTime(0))}
}

func (r *retry) next() time.Duration { return r.policy.NextBackOff() }

func (r *retry) reset() { r.policy.Reset() }

// sleep waits for d and returns true, or false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
