package ekuaibao

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connector/internal/apisim"
	"connector/sources"
	"connector/sources/httpx"
	"connector/sources/scan"
)

// TestLongAnswers reads hours whose answers are longer than is read: they are
// split until the parts are not.
func TestLongAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sim := inBubble(t, apisim.EkuaibaoConfig{}, nil) // 360 rows an hour
		s.maxAnswer = 24 << 10                              // about 40 rows
		now := time.Now()
		for hour := range 2 {
			w := sources.Span{From: now.Add(time.Duration(hour-1) * time.Hour), To: now.Add(time.Duration(hour)*time.Hour - tick)}
			time.Sleep(time.Until(w.To) + time.Second)
			before := sim.Stats().Requests[logPath]
			records, proven, err := read(t.Context(), s, flow(s), w)
			seen := map[string]bool{}
			for _, r := range records {
				seen[r.ID] = true
			}
			if err != nil || proven != w || len(seen) < 359 {
				t.Errorf("hour %d: got %d rows, proven %v, %v", hour, len(seen), proven, err)
			}
			if got := sim.Stats().Requests[logPath] - before; got > 60 {
				t.Errorf("hour %d took %d requests", hour, got)
			}
		}
	})
}

// TestLateAnswers reads an hour of a provider that takes too long for more than ten minutes
// of it: scans that fail ask for less, until all is read.
func TestLateAnswers(t *testing.T) {
	for name, fault := range map[string]apisim.Fault{
		"no header": {Kind: apisim.Slow, Delay: 2 * time.Minute},
		"a gateway": {Kind: apisim.HTTPStatus, Status: 504, Body: "<html>Gateway Time-out</html>"},
		"a trickle": {Kind: apisim.Drip, Delay: time.Second},
		"a silence": {Kind: apisim.Drip, Delay: 50 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, sim := inBubble(t, apisim.EkuaibaoConfig{}, nil)
			var late atomic.Int64
			sim.Faults.Hook(func(r *http.Request) apisim.Fault {
				from, _ := strconv.ParseInt(r.FormValue("startDate"), 10, 64)
				to, _ := strconv.ParseInt(r.FormValue("endDate"), 10, 64)
				if time.Duration(to-from)*time.Millisecond <= 10*time.Minute {
					return apisim.Fault{}
				}
				late.Add(1)
				return fault
			})
			now := time.Now()
			seen := map[string]bool{}
			for rest := (sources.Span{From: now.Add(-time.Hour), To: now}); !rest.Empty(); {
				records, proven, err := read(t.Context(), s, flow(s), rest)
				for _, r := range records {
					seen[r.ID] = true
				}
				if !proven.To.IsZero() {
					rest.From = proven.To.Add(tick)
				}
				if err != nil && !errors.Is(err, scan.ErrLate) || late.Load() > 5 {
					t.Fatalf("%s: got %v after %d late answers, %v is not read", name, err, late.Load(), rest)
				}
			}
			if len(seen) < 360 || late.Load() == 0 {
				t.Errorf("%s: got %d rows, %d late answers", name, len(seen), late.Load())
			}
		})
	}
}

// TestLongInstant has one millisecond whose answer is longer than is read: a
// gap there, and what lies before and behind it is read.
func TestLongInstant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sim := inBubble(t, apisim.EkuaibaoConfig{}, nil)
		s.maxAnswer = 24 << 10
		at := time.Now().Add(-30 * time.Minute)
		for i := range 3 {
			err := sim.Add(apisim.Row{ID: fmt.Sprint("large", i), Created: at, Versions: []apisim.RowVersion{{Fields: apisim.Fields{"request": strings.Repeat("x", 10<<10)}}}})
			if err != nil {
				t.Fatal(err)
			}
		}
		w := sources.Span{From: at.Add(-20 * time.Minute), To: at.Add(20 * time.Minute)}
		_, proven, err := read(t.Context(), s, flow(s), w)
		gap, ok := errors.AsType[*sources.GapError](err)
		if !ok || !proven.To.Before(at) || at.Sub(proven.To) > 5*tick || !strings.Contains(err.Error(), "too long") {
			t.Fatalf("got proven %v, %v, want a gap at %v", proven, err, at)
		}
		for rest := (sources.Span{From: gap.Span.To.Add(tick), To: w.To}); !rest.Empty(); {
			if _, proven, err = read(t.Context(), s, flow(s), rest); err == nil {
				break
			}
			if gap, ok = errors.AsType[*sources.GapError](err); !ok || gap.Span.From.Sub(at) > 5*tick {
				t.Fatalf("got %v, want gaps next to %v alone", err, at)
			}
			rest.From = gap.Span.To.Add(tick)
		}
		if proven.To != w.To {
			t.Errorf("got proven %v, want what lies behind the gap", proven)
		}
	})
}

// TestEndless has answers that never end, in each of their places: each is
// read to the limit and no further, with little memory.
func TestEndless(t *testing.T) {
	text := strings.Repeat("x", 2000)
	row := `{"id":"1","createTime":` + fmt.Sprint(window.From.UnixMilli()) + `,"request":"` + text + `"},`
	member, list := `"a":"`+text+`",`, `"a":["`+text+`"],`
	for name, fault := range map[string]apisim.Fault{
		"rows":          {Body: `{"items":[` + row, After: len(row)},
		"one row":       {Body: `{"items":["x`, After: 1},
		"nested":        {Body: `{"items":[[`, After: 1},
		"number":        {Body: `{"items":[7`, After: 1},
		"members":       {Body: "{" + member, After: len(member)},
		"large members": {Body: "{" + list, After: len(list)},
	} {
		t.Run(name, func(t *testing.T) {
			sim := apisim.NewEkuaibao(apisim.EkuaibaoConfig{AppKey: canaryKey, AppSecurity: canarySecurity})
			s := newSource(t, settings(serve(t, sim)), httpx.Options{})
			const limit, most = 16 << 20, 12 << 20
			s.maxAnswer, s.cfg.MaxRowBytes = limit, 64<<10
			fault.Kind = apisim.Endless
			sim.Faults.Random(1, 1, fault)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			w := sources.Span{From: window.From, To: window.From}
			var gap *sources.GapError
			for chunk, err := range s.Scan(t.Context(), flow(s), w) {
				if errors.As(err, &gap); gap == nil && (err != nil || !chunk.Proven.Empty()) {
					t.Errorf("got proven %v, %v, want a gap", chunk.Proven, err)
				}
			}
			runtime.ReadMemStats(&after)
			if got := sim.Stats().Requests[logPath]; gap == nil || gap.Span != w || got != 1 {
				t.Errorf("got %v after %d requests, want a gap after 1", gap, got)
			}
			if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > most {
				t.Errorf("the heap has grown by %d bytes for an answer of %d", grown, limit)
			}
		})
	}
}
