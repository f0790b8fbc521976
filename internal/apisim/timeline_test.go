package apisim

import (
	"testing"
	"time"
)

// TestTimelinesHoldWhatWasServed reads a world again and again: each answer
// must be found in the timelines, and the last one at their ends.
func TestTimelinesHoldWhatWasServed(t *testing.T) {
	clock, set := stopped(noon)
	sim := NewEkuaibao(EkuaibaoConfig{AccessToken: fixedToken, Clock: clock, Population: Population{
		Seed: 3, Every: time.Second, Late: 0.3, Change: 0.8, MaxChange: 30 * time.Second, Poison: 0.1, PoisonBytes: 10,
	}})
	base := start(t, sim)
	now := noon
	read := func(until time.Time) {
		for ; now.Before(until); now = now.Add(time.Second) {
			set(now)
			items(t, base, "flow")
		}
	}
	read(noon.Add(60 * time.Second))
	sim.End()
	read(noon.Add(100 * time.Second))
	list, err := sim.Timelines("flow")
	if err != nil {
		t.Fatal(err)
	}
	known, poison := map[Version]bool{}, map[Poisoned]bool{}
	var last []Version
	for _, row := range list {
		for _, v := range row.Versions {
			known[v] = true
		}
		if row.Poison != nil {
			poison[*row.Poison] = true
			continue
		}
		last = append(last, row.Versions[len(row.Versions)-1])
	}
	for _, v := range sim.Served() {
		if !known[v] {
			t.Errorf("%v was served and is in no timeline", v)
		}
	}
	for _, p := range sim.Poisoned() {
		if !poison[p] {
			t.Errorf("%+v was served and is in no timeline", p)
		}
	}
	if len(poison) != len(sim.Poisoned()) || len(poison) == 0 {
		t.Errorf("got %d poison rows, want the %d served", len(poison), len(sim.Poisoned()))
	}
	wantEqual(t, "last versions", versions(last), versions(sim.Current("flow")))
	if len(list) != 60 {
		t.Errorf("got %d rows, want those of 59 s and the next", len(list))
	}
}
