package apisim

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// BenchmarkTimelines is the cost of skipping over a generated row, as paging does.
func BenchmarkTimelines(b *testing.B) {
	w := demoWorld(Population{Every: time.Second, Late: 0.1, Change: 0.3})
	for n := 0; b.Loop(); n++ {
		_ = w.generate("flow", uint64(n))
	}
}

// BenchmarkAnswer is the cost of a served row.
func BenchmarkAnswer(b *testing.B) {
	const rows = 10_000
	sim := NewEkuaibao(EkuaibaoConfig{
		AccessToken: fixedToken, NoLog: true, Clock: func() time.Time { return noon },
		Population: Population{Start: noon.Add(-rows * time.Second), Every: time.Second, Limit: rows, Change: 0.3},
	})
	addr := ekuaibaoURL("", "flow", noon.Add(-2*rows*time.Second), noon)
	for b.Loop() {
		w := httptest.NewRecorder()
		sim.ServeHTTP(w, httptest.NewRequestWithContext(b.Context(), http.MethodGet, addr, nil))
		b.SetBytes(int64(w.Body.Len()))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
}
