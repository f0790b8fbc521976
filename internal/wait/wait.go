// Package wait waits.
package wait

import (
	"context"
	"time"
)

// For returns nil after d, at once when d is not positive, or the error of ctx
// when ctx ends first.
func For(ctx context.Context, d time.Duration) error {
	if d <= 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
