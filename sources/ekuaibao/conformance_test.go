package ekuaibao

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"connector/internal/apisim"
	"connector/sources"
	"connector/sources/httpx"
	"connector/sources/sourcetest"
)

// TestConformance runs the kit on a simulated provider. It shows the data of
// hours ago, later and later, so that rows appear and change.
func TestConformance(t *testing.T) {
	began, noon := time.Now(), time.Date(2025, 3, 1, 4, 0, 0, 0, time.UTC)
	clock := func() time.Time { return noon.Add(time.Since(began)) }
	day := noon.Add(-24 * time.Hour)
	sim := apisim.NewEkuaibao(apisim.EkuaibaoConfig{
		AppKey: canaryKey, AppSecurity: canarySecurity, Clock: clock,
		Population: apisim.Population{Seed: 1, Start: day, Every: 3 * time.Second, Limit: 700, Change: 0.5, PoisonBytes: 400 << 10},
	})
	span := sources.Span{From: day, To: day.Add(31 * time.Minute)}
	rows := []apisim.Row{
		{ID: "changing", Created: day.Add(time.Minute), Versions: []apisim.RowVersion{{}, {At: noon.Add(-150 * time.Minute)}, {At: noon.Add(-90 * time.Minute), Fields: apisim.Fields{"state": "SUCCESS"}}}},
		{ID: "late", Created: day.Add(time.Minute), Visible: noon.Add(-210 * time.Minute)},
	}
	for i, kind := range []apisim.PoisonKind{apisim.MissingID, apisim.NotObject, apisim.WrongType, apisim.Oversize} {
		rows = append(rows, apisim.Row{ID: fmt.Sprintf("poison-%d", i), Created: span.To.Add(-time.Minute), Poison: kind})
	}
	bulk := strings.Repeat("x", 64<<10)
	for i := range 150 {
		rows = append(rows, apisim.Row{ID: fmt.Sprint("large-", i), Created: day.Add(2*time.Hour + time.Duration(i)*time.Second), Versions: []apisim.RowVersion{{Fields: apisim.Fields{"request": bulk}}}})
	}
	h := sourcetest.Harness{
		Clock: clock, Stream: "flow", Window: span, Poison: 4, Secrets: []string{"canary", "%3A"}, // the colon of an access token in a URL
		Large: sources.Span{From: day.Add(2 * time.Hour), To: day.Add(3 * time.Hour)},
		IDs:   []string{"changing"},
	}
	for _, v := range sim.Current("flow")[:600] {
		h.IDs = append(h.IDs, v.RecordID)
	}
	if err := sim.Add(rows...); err != nil {
		t.Fatal(err)
	}
	age := 4 * time.Hour
	show := func(f apisim.Fault) { sim.Faults.Random(1, 1, f) }
	older := func() { show(apisim.Fault{Kind: apisim.Stale, Delay: age}) }
	newer := func() { age -= time.Hour; older() }
	older()
	faults := func(f apisim.Fault) func(bool) {
		return func(on bool) {
			if show(f); !on {
				older()
			}
		}
	}
	h.Late = func() string { newer(); return "late" }
	h.Change = func() string {
		if newer(); age < time.Hour {
			return ""
		}
		return "changing"
	}
	h.Failures = []sourcetest.Failure{
		{Name: "truncate", Set: faults(apisim.Fault{Kind: apisim.Truncate, After: 200_000})},
		{Name: "cut", Set: faults(apisim.Fault{Kind: apisim.Cut, After: 200_000})},
		{Name: "reset", Set: faults(apisim.Fault{Kind: apisim.Reset})},
		{Name: "html", Set: faults(apisim.Fault{Kind: apisim.HTMLPage})},
		{Name: "error", Set: faults(apisim.Fault{Kind: apisim.APIError, Code: "500", Body: "错误"})},
		{Name: "500", Set: faults(apisim.Fault{Kind: apisim.HTTPStatus, Status: 500, Body: "oops"})},
		{Name: "429", Mark: sourcetest.Throttled, Set: faults(apisim.Fault{Kind: apisim.HTTPStatus, Status: 429, RetryAfter: "7"})},
	}
	h.Hang = faults(apisim.Fault{Kind: apisim.Slow, Delay: time.Minute})

	base := serve(t, sim)
	tr := httpx.NewTransport(nil)
	t.Cleanup(tr.CloseIdleConnections)
	h.Open = func(log *slog.Logger) (sources.Source, error) {
		cfg := settings(base)
		cfg.MaxRowBytes = 300 << 10
		return New("hq", cfg, httpx.Options{Transport: tr, Logger: log, Version: "test"})
	}
	for _, err := range sourcetest.Check(t.Context(), h) {
		t.Error(err)
	}
}
