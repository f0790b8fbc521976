package ekuaibao

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"connector/internal/apisim"
	"connector/sources"
)

// TestCap reads hours of a provider that silently cuts its answers, twice.
func TestCap(t *testing.T) {
	orders := map[string]apisim.Order{"unordered": apisim.Unordered, "oldest first": apisim.OldestFirst, "newest first": apisim.NewestFirst}
	for name, order := range orders {
		for _, limit := range []int{0, 50, 1000} {
			for _, byUpdate := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, cap %d, by update %v", name, limit, byUpdate), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						switches := apisim.EkuaibaoSwitches{Order: order, Cap: limit, ByUpdateTime: byUpdate}
						s, sim := inBubble(t, apisim.EkuaibaoConfig{Switches: switches}, nil) // a row every 10 s
						readCapped(t, s, sim, limit)
					})
				})
			}
		}
	}
}

// readCapped reads the hour before now, which has 360 rows, and an hour after it.
func readCapped(t *testing.T, s *Source, sim *apisim.Ekuaibao, limit int) {
	t.Helper()
	now := time.Now()
	seen := map[string]bool{}
	for hour, most := range []int{3, 3} {
		w := sources.Span{From: now.Add(time.Duration(hour-1) * time.Hour), To: now.Add(time.Duration(hour)*time.Hour - tick)}
		time.Sleep(time.Until(w.To) + time.Second)
		before := sim.Stats().Requests[logPath]
		records, proven, err := read(t.Context(), s, flow(s), w)
		if err != nil || proven != w {
			t.Fatalf("got proven %v, %v, want %v", proven, err, w)
		}
		for _, r := range records {
			seen[r.ID] = true
		}
		if limit == 50 {
			most = 60
		}
		if got := sim.Stats().Requests[logPath] - before; got > most {
			t.Errorf("hour %d took %d requests, want at most %d", hour, got, most)
		}
	}
	missing := 0
	for _, v := range sim.Current("flow") {
		if !seen[v.RecordID] {
			missing++
		}
	}
	if missing > 1 || len(seen) < 700 { // the row of the last second may be younger than the window
		t.Errorf("%d rows are missing, %d were read", missing, len(seen))
	}
}

// TestCapTick has a millisecond with more rows than an answer: the scan ends in front of it.
func TestCapTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sim := inBubble(t, apisim.EkuaibaoConfig{Switches: apisim.EkuaibaoSwitches{Cap: 50}}, nil)
		at := time.Now().Add(-30 * time.Minute)
		for i := range 60 {
			if err := sim.Add(apisim.Row{ID: fmt.Sprint("tie", i), Created: at}); err != nil {
				t.Fatal(err)
			}
		}
		w := sources.Span{From: at.Add(-20 * time.Minute), To: at.Add(20 * time.Minute)}
		_, proven, err := read(t.Context(), s, flow(s), w)
		gap, ok := errors.AsType[*sources.GapError](err)
		if !ok || !proven.To.Before(at) || at.Sub(proven.To) > 5*tick || !gap.Span.From.Equal(proven.To.Add(tick)) {
			t.Errorf("got proven %v, %v, want a gap at %v", proven, err, at)
		}
	})
}
