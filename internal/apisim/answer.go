package apisim

import (
	"cmp"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

const slowPiece = 1024

// answer is the response to one request, with its fault applied to the body. It logs its rows when it is complete.
type answer struct {
	w     http.ResponseWriter
	r     *http.Request
	log   *truth
	now   time.Time // the provider's clock when the request came
	data  time.Time // the time whose data is shown
	fault Fault

	left    int // bytes that still get through, for faults that stop the body
	rows    int
	entries []entry
}

// begin counts the request and lets its fault act as far as it needs no body. It returns false when that was the whole answer.
func (s *simulator) begin(w http.ResponseWriter, r *http.Request, query bool) (*answer, bool) {
	s.request(r.URL.Path)
	now := s.clock()
	w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
	a := &answer{w: w, r: r, log: s.truth, now: now, data: now, fault: s.Faults.next(r, query)}
	a.left = a.fault.After
	if a.fault.Kind != NoFault {
		s.fault(a.fault.Kind)
	}
	switch a.fault.Kind {
	case HTTPStatus:
		a.refuse(a.fault)
		return a, false
	case HTMLPage:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>")
		return a, false
	case Redirect:
		w.Header().Set("Location", a.fault.Location)
		w.WriteHeader(cmp.Or(a.fault.Status, http.StatusFound))
		return a, false
	case Drip:
		a.drip()
		return a, false
	case Reset:
		if a.left == 0 {
			a.abort()
		}
	case Stale:
		a.data = now.Add(-a.fault.Delay)
	case Slow:
		sleep(r.Context().Done(), a.fault.Delay)
	case NoFault, APIError, Truncate, Cut, Revoke, Endless:
	}
	return a, true
}

func (a *answer) refuse(f Fault) {
	if f.RetryAfter != "" {
		a.w.Header().Set("Retry-After", f.RetryAfter)
	}
	a.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if f.Status == 0 {
		f.Status = http.StatusInternalServerError
	}
	a.w.WriteHeader(f.Status)
	_, _ = io.WriteString(a.w, f.Body)
}

// Write sends a part of the body, as far as the fault lets it through.
func (a *answer) Write(p []byte) (int, error) {
	switch a.fault.Kind {
	case Truncate, Reset, Cut:
		return a.writeUntilStop(p)
	case Slow:
		return a.writeSlowly(p)
	default:
		return a.pass(p)
	}
}

func (a *answer) pass(p []byte) (int, error) {
	return a.w.Write(p) //nolint:gosec // an API, no web page
}

func (a *answer) writeUntilStop(p []byte) (int, error) {
	if len(p) <= a.left {
		a.left -= len(p)
		return a.pass(p)
	}
	if _, err := a.pass(p[:a.left]); err != nil {
		return 0, err
	}
	a.left = 0
	if a.fault.Kind != Cut {
		a.abort()
	}
	return len(p), nil
}

func (a *answer) writeSlowly(p []byte) (int, error) {
	piece := a.fault.After
	if piece <= 0 {
		piece = slowPiece
	}
	for sent := 0; sent < len(p); {
		sleep(a.r.Context().Done(), a.fault.Delay)
		n, err := a.pass(p[sent:min(sent+piece, len(p))])
		sent += n
		if err == nil {
			err = a.flush()
		}
		if err != nil {
			return sent, err
		}
	}
	return len(p), nil
}

// drip sends spaces until the client is gone.
func (a *answer) drip() {
	for a.r.Context().Err() == nil {
		if _, err := a.pass([]byte(" ")); err != nil || a.flush() != nil {
			return
		}
		sleep(a.r.Context().Done(), a.fault.Delay)
	}
}

// end logs the answer as complete and writes the last bytes of its body, in that order, so that a client which has seen the
// end finds its rows in the log. What did not reach the client is not logged, and
// complete is not called.
func (a *answer) end(tail string, complete func()) {
	if a.fault.Kind == Truncate || a.fault.Kind == Reset {
		_, _ = a.pass([]byte(tail)[:min(a.left, len(tail))])
		a.abort()
	}
	if a.flush() != nil || a.r.Context().Err() != nil || a.fault.Kind == Cut && a.left < len(tail) {
		_, _ = a.Write([]byte(tail))
		return
	}
	a.log.complete(a.rows, a.entries)
	complete()
	_, _ = a.pass([]byte(tail))
}

// add notes a row written to the body.
func (a *answer) add(e entry) {
	a.rows++
	if !a.log.off {
		a.entries = append(a.entries, e)
	}
}

// flush sends what was written so far; an error says that some of it, or of what came before, did not get through.
func (a *answer) flush() error {
	err := http.NewResponseController(a.w).Flush()
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}

// abort ends the connection in the middle of the answer; it does not return.
func (a *answer) abort() {
	if a.fault.Kind != Reset || a.fault.After > 0 {
		_ = a.flush()
	}
	if conn, ok := a.r.Context().Value(connKey{}).(*net.TCPConn); ok && a.fault.Kind == Reset {
		_ = conn.SetLinger(0) // close with RST
	}
	panic(http.ErrAbortHandler)
}

// sleep waits for d or until done is closed.
func sleep(done <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-done:
	}
}
