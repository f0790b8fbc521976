package pipeline

import (
	"log/slog"
	"sync"
)

// shared is what the streams of one account share.
type shared struct {
	mu       sync.Mutex
	said     map[string]bool // fatal errors that were logged
	answers  bool            // whether the provider answers
	answered bool            // whether it did since the latest error
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

// good says that a stream was read, or a part of it.
func (s *shared) good() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers, s.answered = true, true
}

// bad says that reading a stream failed. The provider answers none the less
// when it did since the failure before.
func (s *shared) bad() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers, s.answered = s.answered, false
}

// works reports whether the provider answers, as far as is known; it does not
// before its first answer.
func (s *shared) works() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answers
}
