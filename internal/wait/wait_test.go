package wait_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"connector/internal/wait"
)

func TestFor(t *testing.T) {
	for name, tt := range map[string]struct {
		wait, end time.Duration // end of the context
		took      time.Duration
		err       error
	}{
		"the whole time":      {time.Minute, time.Hour, time.Minute, nil},
		"the context ends":    {time.Hour, time.Minute, time.Minute, context.DeadlineExceeded},
		"nothing to wait for": {-time.Second, time.Hour, 0, nil},
		"ended before":        {-time.Second, 0, 0, context.DeadlineExceeded},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), tt.end)
			defer cancel()
			began := time.Now()
			err := wait.For(ctx, tt.wait)
			if got := time.Since(began); !errors.Is(err, tt.err) || got != tt.took {
				t.Errorf("%s: got %v after %v, want %v after %v", name, err, got, tt.err, tt.took)
			}
		})
	}
}
