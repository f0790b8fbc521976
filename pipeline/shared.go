package pipeline

import (
	"log/slog"
	"sync"
)

// shared is what the streams of one account share.
type shared struct {
	mu   sync.Mutex
	said map[string]bool // fatal errors that were logged
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
