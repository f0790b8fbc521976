// Package pigeontest simulates Pigeon, a provider that does not exist.
package pigeontest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Row is a row of the log; fields may be left out, or have the wrong type.
type Row map[string]any

// Server answers GET /v1/pushes. It is an http.Handler.
type Server struct {
	Key   string
	Clock func() time.Time

	mu   sync.Mutex
	rows []Row
	fail func(http.ResponseWriter, *http.Request)
}

// Put adds rows, in place of those with the same id.
func (s *Server) Put(rows ...Row) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, row := range rows {
		same := func(r Row) bool { return r["id"] != nil && r["id"] == row["id"] }
		s.rows = append(slices.DeleteFunc(slices.Clone(s.rows), same), row)
	}
	slices.SortStableFunc(s.rows, func(a, b Row) int { return cmp.Compare(created(a), created(b)) })
}

// Fail lets fail answer all requests; nil ends it.
func (s *Server) Fail(fail func(http.ResponseWriter, *http.Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

// created returns the time by which a row is selected; one that is not shown
// right is the simulator's secret.
func created(r Row) int64 {
	at, ok := r["created"].(int64)
	if !ok {
		at, _ = r["hidden"].(int64)
	}
	return at
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	rows, fail := s.rows, s.fail
	s.mu.Unlock()
	w.Header().Set("Date", s.Clock().UTC().Format(http.TimeFormat))
	switch {
	case fail != nil:
		fail(w, r)
	case r.Header.Get("Authorization") != "Bearer "+s.Key:
		http.Error(w, "wrong key "+r.Header.Get("Authorization"), http.StatusUnauthorized)
	default:
		s.answer(w, r, rows)
	}
}

// answer writes the page asked for.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, rows []Row) {
	var number [4]int64
	for i, name := range []string{"from", "to", "page", "limit"} {
		n, err := strconv.ParseInt(r.FormValue(name), 10, 64)
		if err != nil {
			http.Error(w, fmt.Sprintf("%s is no number", name), http.StatusBadRequest)
			return
		}
		number[i] = n
	}
	from, to, page, limit := number[0], number[1], int(number[2]), int(number[3])
	match := []Row{}
	for _, row := range rows {
		if at := created(row); at >= from && at <= to {
			match = append(match, row)
		}
	}
	begin := min(page*limit, len(match))
	_ = json.NewEncoder(w).Encode(map[string]any{"total": len(match), "rows": match[begin:min(begin+limit, len(match))]})
}
