package submail

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

// TestConformance runs the kit on a simulated provider, with both calls and in both formats.
func TestConformance(t *testing.T) {
	for _, api := range []API{APILogMessage, APISMSLog} {
		for _, format := range []Format{FormatJSON, FormatXML} {
			t.Run(string(api)+"."+string(format), func(t *testing.T) {
				for _, err := range sourcetest.Check(t.Context(), conformance(t, api, format)) {
					t.Error(err)
				}
			})
		}
	}
}

// conformance returns a source of one call in one format and its simulator, which shows
// the data of hours ago, later and later, so that rows appear and change.
func conformance(t *testing.T, api API, format Format) sourcetest.Harness {
	t.Helper()
	began, day := time.Now(), noon.Add(-24*time.Hour)
	clock := func() time.Time { return noon.Add(time.Since(began)) }
	sim := apisim.NewSubmail(apisim.SubmailConfig{
		AppKey: canaryKey, Clock: clock,
		Population: apisim.Population{Seed: 1, Start: day, Every: time.Second, Change: 0.5, Limit: 500, PoisonBytes: 400 << 10},
	})
	span := sources.Span{From: day, To: day.Add(7 * time.Minute)}
	rows := []apisim.Row{
		{ID: "changing", Created: day.Add(time.Minute), Versions: []apisim.RowVersion{
			{Fields: apisim.Fields{"result_status": "request", "sent_date": ""}},
			{At: noon.Add(-150 * time.Minute), Fields: apisim.Fields{"result_status": "sending"}},
			{At: noon.Add(-90 * time.Minute), Fields: apisim.Fields{"result_status": "delivered"}},
		}},
		{ID: "late", Created: day.Add(time.Minute), Visible: noon.Add(-210 * time.Minute)},
	}
	for i, kind := range []apisim.PoisonKind{apisim.MissingID, apisim.NotObject, apisim.WrongType, apisim.Oversize} {
		rows = append(rows, apisim.Row{ID: fmt.Sprintf("poison-%d", i), Created: day.Add(time.Minute), Poison: kind})
	}
	bulk := strings.Repeat("x", 4<<10)
	for i := range 2300 {
		rows = append(rows, apisim.Row{ID: fmt.Sprint("large-", i), Created: day.Add(2*time.Hour + time.Duration(i)*time.Second), Versions: []apisim.RowVersion{{Fields: apisim.Fields{"message": bulk}}}})
	}
	h := sourcetest.Harness{
		Clock: clock, Stream: "sms", Window: span, Poison: 4, Secrets: []string{"canary"},
		Large: sources.Span{From: day.Add(2 * time.Hour), To: day.Add(3 * time.Hour)},
		IDs:   []string{"changing"},
	}
	for _, v := range sim.Current("sms")[:410] {
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
		{Name: "truncate", Set: faults(apisim.Fault{Kind: apisim.Truncate, After: 9000})},
		{Name: "cut", Set: faults(apisim.Fault{Kind: apisim.Cut, After: 9000})},
		{Name: "reset", Set: faults(apisim.Fault{Kind: apisim.Reset})},
		{Name: "html", Set: faults(apisim.Fault{Kind: apisim.HTMLPage})},
		{Name: "error", Mark: sourcetest.Fatal, Set: faults(apisim.Fault{Kind: apisim.APIError, Code: "108", Body: "签名 " + canaryKey})},
		{Name: "500", Set: faults(apisim.Fault{Kind: apisim.HTTPStatus, Status: 500, Body: "oops " + canaryKey})},
		{Name: "429", Mark: sourcetest.Throttled, Set: faults(apisim.Fault{Kind: apisim.HTTPStatus, Status: 429, RetryAfter: "7"})},
	}
	h.Hang = faults(apisim.Fault{Kind: apisim.Slow, Delay: time.Minute})

	base := serve(t, sim)
	tr := httpx.NewTransport(nil)
	t.Cleanup(tr.CloseIdleConnections)
	h.Open = func(log *slog.Logger) (sources.Source, error) {
		cfg := settings(base, base)
		cfg.API, cfg.Format, cfg.Rows, cfg.MaxRowBytes = api, format, 100, 300<<10
		return New("otp", cfg, httpx.Options{Transport: tr, Logger: log, Version: "test"})
	}
	return h
}
