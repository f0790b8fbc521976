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

// logEvery is the least time between two lines of the log about failures in a
// row: they go on as long as a provider is away.
const logEvery = 5 * time.Minute

// failures are the readings of a stream that failed in a row.
type failures struct {
	count  int
	logged time.Time
}

// add notes one more and reports whether it is to be logged: the first, and
// then one in logEvery.
func (f *failures) add() bool {
	f.count++
	if f.count > 1 && time.Since(f.logged) < logEvery {
		return false
	}
	f.logged = time.Now()
	return true
}
