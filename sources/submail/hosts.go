package submail

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"connector/internal/config"
	"connector/sources/httpx"
)

// backupFor is how long the backup is preferred after the main host failed.
const backupFor = 5 * time.Minute

// send sends q to the preferred host, and to the other when that is down.
func (s *Source) send(ctx context.Context, q query) (*http.Response, error) {
	var errs []error
	for _, base := range s.hosts.order() {
		resp, err := s.attempt(ctx, base, q)
		if ctx.Err() != nil {
			return resp, err
		}
		if err == nil || !down(err) {
			s.hosts.use(base)
			return resp, s.explain(base, err)
		}
		errs = append(errs, s.explain(base, err))
	}
	return nil, errors.Join(errs...)
}

// explain adds to the error of a request to base what the user can check, or
// returns the error that the API reports in that answer.
func (s *Source) explain(base config.URL, err error) error {
	if refused := s.refusal(err); refused != nil {
		return refused
	}
	if !httpx.Misdirected(err) {
		return err
	}
	variable := s.variable("BASE_URL")
	if base != s.hosts.urls[0] {
		variable = s.variable("BACKUP_URL")
	}
	if lacks(err) {
		return fmt.Errorf("%w; the host may not have the call %s: %s", err, s.call.api, s.elsewhere(variable))
	}
	return fmt.Errorf("%w; check %s", err, variable)
}

// down reports whether err is a host's rather than the account's.
func down(err error) bool {
	status, ok := errors.AsType[*httpx.StatusError](err)
	return !ok || status.Server()
}

// hosts orders the addresses of the API, the main one first. It is safe for
// concurrent use.
type hosts struct {
	urls []config.URL

	mu     sync.Mutex
	backup time.Time // local time until which the backup is preferred
}

func (h *hosts) order() []config.URL {
	h.mu.Lock()
	defer h.mu.Unlock()
	order := slices.Clone(h.urls)
	if time.Now().Before(h.backup) {
		slices.Reverse(order)
	}
	return order
}

// use notes that base answered.
func (h *hosts) use(base config.URL) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case base == h.urls[0]:
		h.backup = time.Time{}
	case !time.Now().Before(h.backup):
		h.backup = time.Now().Add(backupFor)
	}
}
