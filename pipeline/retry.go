package pipeline

import (
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
