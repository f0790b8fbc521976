package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v4"

	"connector/internal/fault"
)

// logInterval is how often a run of failures is reported while it lasts.
const logInterval = 30 * time.Second

// retry paces the attempts at one thing and reports its run of failures: when
// the run begins, every logInterval, and when it is over.
type retry struct {
	log      *slog.Logger
	subject  string
	backoff  *backoff.ExponentialBackOff // nil before the first failure
	failures int
	since    time.Time // of the first failure
	logged   time.Time
	missing  time.Time // since when the topic is missing; zero if it is not
}

func newRetry(log *slog.Logger, subject string) *retry { return &retry{log: log, subject: subject} }

// wait sleeps before the next attempt. It returns the error of ctx when ctx
// ends first, and a fatal error when the topic has been missing for too long.
func (r *retry) wait(ctx context.Context, err error) error {
	if ctx.Err() != nil { // err is its consequence
		return ctx.Err()
	}
	r.failed(err)
	if !r.missing.IsZero() && time.Since(r.missing) >= missingTimeout {
		return fault.Fatal(fmt.Errorf("%s: %w", r.subject, err), "create the topic again, or check KAFKA_TOPIC, KAFKA_DEADLETTER_TOPIC and KAFKA_CHECKPOINT_TOPIC")
	}
	timer := time.NewTimer(r.backoff.NextBackOff())
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *retry) failed(err error) {
	now := time.Now()
	if r.failures == 0 {
		r.since = now
		r.backoff = backoff.NewExponentialBackOff(backoff.WithInitialInterval(10*time.Millisecond),
			backoff.WithMultiplier(2), backoff.WithMaxInterval(2*time.Second), backoff.WithMaxElapsedTime(0))
	}
	r.failures++
	if now.Sub(r.logged) >= logInterval {
		r.logged = now
		r.log.Warn("Kafka does not accept a request: trying again", "subject", r.subject,
			"attempts", r.failures, "since", r.since, "error", err)
	}
	switch {
	case !isMissing(err):
		r.missing = time.Time{}
	case r.missing.IsZero():
		r.missing = now
	}
}

// done reports the end of a run of failures.
func (r *retry) done() {
	if r.failures > 0 {
		r.log.Info("Kafka accepts requests again", "subject", r.subject,
			"attempts", r.failures+1, "after", time.Since(r.since).Round(time.Millisecond))
	}
}
