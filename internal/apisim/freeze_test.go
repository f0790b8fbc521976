package apisim

import (
	"net/http"
	"strconv"
	"testing"
	"time"
)

// TestFreezeShowsWhatWasServed moves a world on after it was frozen: rows that are late, new or change show nothing of it.
func TestFreezeShowsWhatWasServed(t *testing.T) {
	clock, set := stopped(noon)
	sim, base := newSubmail(t, SubmailConfig{Clock: clock, Population: Population{
		Seed: 9, Every: time.Second, Late: 0.3, Change: 0.8, MaxChange: 30 * time.Second, Poison: 0.1, PoisonBytes: 10,
	}})
	page := func() string {
		body, err := post(t, base+SubmailLogPath+".json", map[string]string{
			"start_date": strconv.FormatInt(noon.Unix(), 10), "end_date": strconv.FormatInt(noon.Add(time.Hour).Unix(), 10), "order_by": "asc", "rows": "1000",
		})
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	set(noon.Add(50 * time.Second))
	want := page()
	set(noon.Add(60 * time.Second))
	sim.Freeze()
	served, poisoned := len(sim.Served()), len(sim.Poisoned())
	set(noon.Add(100 * time.Second))
	if got := page(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := len(sim.Served()); got != served || served < 30 {
		t.Errorf("got %d versions served, want the %d before", got, served)
	}
	if got := len(sim.Poisoned()); got != poisoned || poisoned == 0 {
		t.Errorf("got %d poison rows served, want the %d before", got, poisoned)
	}
}

func TestFreezeAwaitsAnswers(t *testing.T) {
	sim, addr := threeRows(t)
	sim.Faults.Queue(Fault{Kind: Slow, Delay: 20 * time.Millisecond, After: 200})
	answered := make(chan error, 1)
	go func() {
		_, err := get(t, http.DefaultClient, addr)
		answered <- err
	}()
	for sim.Stats().Faults[Slow] == 0 {
		time.Sleep(time.Millisecond)
	}
	sim.Freeze()
	if got := len(sim.Served()); got != 3 {
		t.Errorf("got %d versions served, want those of the answer that was under way", got)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}
