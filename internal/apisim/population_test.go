package apisim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

func demoWorld(p Population) *world {
	by := ekuaibaoProvider("corp")
	return newWorld(p.withDefaults(noon, by.tick), by)
}

// numbers lists what a query finds.
func numbers(w *world, q query) []uint64 {
	var found []uint64
	for it := range w.rows(q) {
		found = append(found, it.number)
	}
	return found
}

func TestRowsFindsAllOfAWindow(t *testing.T) {
	for _, p := range []Population{
		{Every: time.Second},
		{Every: 5 * time.Millisecond / 3},
		{Every: 10 * time.Millisecond, Tick: time.Second}, // ties
		{Every: time.Second, Late: 0.5, MaxLate: time.Minute, Change: 0.7, MaxChange: time.Minute, Leave: 0.3, Poison: 0.1},
		{Every: time.Second, Limit: 50},
	} {
		p.Start = noon.Add(-100*p.Every - time.Second)
		w := demoWorld(p)
		for shift := range 20 {
			q := query{stream: "flow", from: noon.Add(time.Duration(shift-25) * 5 * p.Every), now: noon}
			q.to = q.from.Add(time.Duration(shift) * 2 * p.Every)
			q.byUpdate = shift%2 == 1
			var want []uint64
			for n := range uint64(1500) {
				if it := w.generate("flow", n); q.matches(it) && (p.Limit == 0 || n < uint64(p.Limit)) {
					want = append(want, n)
				}
			}
			wantEqual(t, fmt.Sprintf("%+v shift %d", p, shift), numbers(w, q), want)
			q.desc = true
			slices.Reverse(want)
			wantEqual(t, "desc", numbers(w, q), want)
		}
	}
}

func TestWorldIsAFunctionOfSeedAndTime(t *testing.T) {
	p := Population{Seed: 1, Start: noon.Add(-time.Hour), Every: time.Second, Late: 0.3, Change: 0.5, Leave: 0.1}
	show := func(p Population, now time.Time) string {
		w := demoWorld(p)
		var b strings.Builder
		for it := range w.rows(query{stream: "flow", from: p.Start, to: now, now: now}) {
			f, e := w.show(it, now)
			fmt.Fprintln(&b, f, e)
		}
		return b.String()
	}
	if again := show(p, noon); again != show(p, noon) {
		t.Error("the same seed gives another world")
	}
	other := p
	other.Seed = 2
	if show(p, noon) == show(other, noon) {
		t.Error("another seed gives the same world")
	}
}

// TestTimelines checks over many rows that each appears late, changes, leaves and is poison as the shares say, and that no two of
// its versions look the same to a reader.
func TestTimelines(t *testing.T) {
	p := Population{Seed: 5, Start: noon, Every: time.Second, Late: 0.25, Change: 0.5, Leave: 0.2, Poison: 0.1}
	for _, by := range []provider{ekuaibaoProvider("corp"), submailProvider(shanghai())} {
		w := newWorld(p.withDefaults(noon, by.tick), by)
		late, changed, left, poison := 0, 0, 0, 0
		seen := map[string]bool{}
		status := map[string]int{}
		for n := range uint64(2000) {
			it := w.generate(by.defaultStream, n)
			late += count(it.visible.After(it.versions[0]))
			changed += count(len(it.versions) > 1)
			left += count(!it.gone.IsZero())
			poison += count(it.poison != "")
			if it.visible.Before(it.created) || it.visible.Sub(it.created) > w.MaxLate+w.Tick {
				t.Fatalf("%+v: visible out of range", it)
			}
			for v, at := range it.versions {
				_, e := w.show(it, at)
				if got := it.version(at); got != v {
					t.Fatalf("%+v: version at %s: got %d, want %d", it, at, got, v)
				}
				key := e.RecordID + "@" + e.Version.Version
				if seen[key] {
					t.Fatalf("%s occurs twice", key)
				}
				seen[key] = true
				status[e.Version.Version]++
			}
		}
		for what, share := range map[string][2]float64{
			"late": {float64(late), 0.25}, "changed": {float64(changed), 0.45}, "left": {float64(left), 0.2}, "poison": {float64(poison), 0.1},
		} {
			if got := share[0] / 2000; got < share[1]-0.05 || got > share[1]+0.05 {
				t.Errorf("%s: share of %s: got %v, want %v", by.system, what, got, share[1])
			}
		}
		want := []string{"1", "2", "3", "4", "5"}
		if by.system == "submail" {
			want = []string{"delivered", "dropped", "pending", "request", "sending", "unknown"}
		}
		wantEqual(t, "versions", slices.Sorted(maps.Keys(status)), want)
	}
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

func TestAddRefuses(t *testing.T) {
	sim, base := newSubmail(t, SubmailConfig{})
	mustAdd(t, sim.Add, Row{ID: "known", Created: noon})
	version := func(second int, f Fields) RowVersion {
		return RowVersion{At: noon.Add(time.Duration(second) * time.Second), Fields: f}
	}
	same := Fields{"result_status": "sending", "sent_date": "x"}
	for want, rows := range map[string][]Row{
		"needs an ID":     {{Created: noon}},
		"creation time":   {{ID: "a"}},
		"unknown stream":  {{ID: "a", Created: noon, Stream: "mms"}},
		"there is one":    {{ID: "b", Created: noon}, {ID: "known", Created: noon}},
		"given twice":     {{ID: "a", Created: noon}, {ID: "a", Created: noon}},
		"does not begin":  {{ID: "a", Created: noon, Versions: []RowVersion{version(1, nil), version(1, nil)}}},
		"cannot be told":  {{ID: "a", Created: noon, Versions: []RowVersion{version(1, same), version(2, same)}}},
		"earlier one: bo": {{ID: "a", Created: noon, Versions: []RowVersion{version(0, same), version(1, nil), version(2, same)}}},
	} {
		if err := sim.Add(rows...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	wantEqual(t, "rows", ids(readPage(t, base, nil).Results, "sendID"), []string{"known"})
}

func TestRowsAddedDuringAnAnswer(t *testing.T) {
	w := demoWorld(Population{})
	row := func(id string, minute int) Row {
		return Row{ID: id, Created: noon.Add(time.Duration(minute) * time.Minute)}
	}
	mustAdd(t, w.Add, row("b", -3), row("c", -2), row("d", -1))
	read := func(during func()) (found []string) {
		for it := range w.rows(query{stream: "flow", from: noon.Add(-time.Hour), to: noon, now: noon}) {
			found = append(found, it.placed.id)
			during()
		}
		return found
	}
	var inner []string
	outer := read(func() {
		if inner == nil {
			mustAdd(t, w.Add, row("a", -4))
			inner = read(func() {})
		}
	})
	wantEqual(t, "under way", outer, []string{"b", "c", "d"})
	wantEqual(t, "next", inner, []string{"a", "b", "c", "d"})
}

func TestVersionsThatShareTheShortKey(t *testing.T) {
	clock, set := stopped(noon)
	sim, base := newSubmail(t, SubmailConfig{Clock: clock})
	mustAdd(t, sim.Add, Row{ID: "a", Created: noon, Versions: []RowVersion{
		{Fields: Fields{"result_status": "sending", "sent_date": Absent}},
		{At: noon.Add(time.Second), Fields: Fields{"sent_date": "2025-03-01 12:00:00"}},
		{At: noon.Add(2 * time.Second), Fields: Fields{"sent_date": "2025-03-01 12:00:02"}},
	}})
	for second := range 3 {
		set(noon.Add(time.Duration(second) * time.Second))
		row := readPage(t, base, nil).Results[0]
		if _, ok := row["sent_date"]; ok != (second > 0) {
			t.Errorf("second %d: got %v", second, row)
		}
	}
	wantEqual(t, "served", versions(sim.Served()), []string{
		"a@sending", "a@delivered|2025-03-01 12:00:00", "a@delivered|2025-03-01 12:00:02",
	})
	wantEqual(t, "current", versions(sim.Current("sms")), []string{"a@delivered|2025-03-01 12:00:02"})
}

func TestServedFollowsALivingWorld(t *testing.T) {
	clock, set := stopped(noon)
	sim, base := newSubmail(t, SubmailConfig{Clock: clock, Population: Population{
		Seed: 9, Every: time.Second, Limit: 100, Late: 0.3, Change: 0.8, MaxChange: 30 * time.Second,
	}})
	seen := map[string]bool{}
	for second := range 200 {
		set(noon.Add(time.Duration(second) * time.Second))
		for _, row := range readPage(t, base, map[string]string{"rows": "1000"}).Results {
			seen[fmt.Sprint(row["sendID"], "@", row["result_status"])] = true
			if waits := row["result_status"] == "request" || row["result_status"] == "pending"; waits != (row["sent_date"] == "") {
				t.Errorf("got %v", row)
			}
		}
	}
	got := versions(sim.Served())
	slices.Sort(got)
	wantEqual(t, "served", got, slices.Sorted(maps.Keys(seen)))
	if len(got) < 150 {
		t.Errorf("got %d versions of 100 rows", len(got))
	}
	current := sim.Current("sms")
	if len(current) != 100 {
		t.Errorf("got %d current versions, want 100", len(current))
	}
	for _, v := range current {
		if !seen[v.RecordID+"@"+v.Version] {
			t.Errorf("%v was not served", v)
		}
	}
}

func TestManyRows(t *testing.T) {
	p := Population{Start: noon.Add(-20 * time.Hour), Every: 700 * time.Millisecond, Limit: 100_000}
	if got := len(numbers(demoWorld(p), query{stream: "flow", from: p.Start, to: noon, now: noon})); got != p.Limit {
		t.Errorf("got %d rows, want %d", got, p.Limit)
	}
	p.Limit = 10_000
	sim, base := newSubmail(t, SubmailConfig{NoLog: true, Population: p})
	seen := map[string]bool{}
	for offset := 0; ; offset++ {
		rows := readPage(t, base, map[string]string{"rows": "1000", "offset": fmt.Sprint(offset)}).Results
		for _, id := range ids(rows, "sendID") {
			seen[id] = true
		}
		if len(rows) < 1000 {
			break
		}
	}
	if got := sim.Stats().Rows; len(seen) != p.Limit || got != p.Limit || sim.Served() != nil {
		t.Errorf("got %d rows, %d counted, %d logged, want %d", len(seen), got, len(sim.Served()), p.Limit)
	}
}
