package pipeline

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// shared is what the streams of one account share.
type shared struct {
	mu    sync.Mutex
	until time.Time       // no request before, because the provider throttles
	said  map[string]bool // fatal errors that were logged
}

// shut holds the account back for d, or for longer if it already is.
func (s *shared) shut(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if until := time.Now().Add(d); until.After(s.until) {
		s.until = until
	}
}

// wait returns true when requests may be made, or false when ctx ends.
func (s *shared) wait(ctx context.Context, of *status) bool {
	s.mu.Lock()
	d := time.Until(s.until)
	s.mu.Unlock()
	return of.sleep(ctx, d)
}

// stop logs why a stream stops; a reason that another stream had, a wrong
// key for example, is not repeated.
func (s *shared) stop(log *slog.Logger, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.said[err.Error()] {
		log.Info("stream stopped for the same reason")
		return
	}
	s.said[err.Error()] = true
	log.Error("stream stopped", "error", err)
}
