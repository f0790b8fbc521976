package budget

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// request is one request of a history. Times count from its beginning; no two
// events of a history lie at the same instant.
type request struct {
	class    Class
	came     time.Duration
	patience time.Duration // 0: without end

	turn bool          // whether it had its turn, else it left
	end  time.Duration // when
}

func (r *request) waits(at time.Duration) bool { return r.came <= at && at < r.end }

// hold is a call of Hold.
type hold struct{ at, long time.Duration }

// TestProperties checks random arrivals, classes, departures and holds:
// invariant 7 and that no turn is lost.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		every := time.Duration(rapid.IntRange(1, 5).Draw(rt, "every")) * time.Millisecond
		ms := func(most int, name string) time.Duration {
			return time.Duration(rapid.IntRange(0, most).Draw(rt, name)) * time.Millisecond
		}
		requests := make([]*request, rapid.IntRange(1, 40).Draw(rt, "requests"))
		span := rapid.SampledFrom([]int{0, 20, 200}).Draw(rt, "span")
		for i := range requests {
			class := Class(rapid.IntRange(0, classes-1).Draw(rt, "class"))
			requests[i] = &request{class: class, came: ms(span, "came") + time.Duration(i), patience: ms(30, "patience") * time.Duration(i%2)}
		}
		holds := make([]hold, rapid.IntRange(0, 2).Draw(rt, "holds"))
		for i := range holds {
			holds[i] = hold{at: ms(span, "at") + time.Duration(100+i), long: ms(30, "long")}
		}
		synctest.Test(t, func(t *testing.T) { play(t.Context(), New(every), requests, holds) })
		if err := judge(every, requests, holds); err != nil {
			rt.Fatal(err)
		}
	})
}

// play sends the requests and notes how each ended.
func play(ctx context.Context, b *Budget, requests []*request, holds []hold) {
	began := time.Now()
	var group sync.WaitGroup
	for _, h := range holds {
		group.Go(func() { time.Sleep(h.at); b.Hold(h.long) })
	}
	for _, r := range requests {
		group.Go(func() {
			time.Sleep(r.came)
			ctx, stop := With(ctx, r.class), func() {}
			if r.patience > 0 {
				ctx, stop = context.WithTimeout(ctx, r.patience)
			}
			defer stop()
			r.turn = b.Wait(ctx) == nil
			r.end = time.Since(began)
		})
	}
	group.Wait()
}

// judge returns what is wrong with the turns that were given.
func judge(every time.Duration, requests []*request, holds []hold) error {
	turns := slices.DeleteFunc(slices.Clone(requests), func(r *request) bool { return !r.turn })
	slices.SortFunc(turns, func(a, b *request) int { return int(a.end - b.end) })
	for _, r := range requests {
		if !r.turn && (r.patience == 0 || r.end != r.came+r.patience) {
			return fmt.Errorf("%+v left after %v", r, r.end-r.came)
		}
	}
	passed := 0
	for i, r := range turns {
		due := time.Duration(0)
		if i > 0 {
			due = turns[i-1].end + every
		}
		for _, h := range holds {
			if h.at <= r.end {
				due = max(due, h.at+h.long)
			}
		}
		if r.end < due {
			return fmt.Errorf("turn %d at %v, due at %v", i, r.end, due)
		}
		if err := fair(r, due, passed, requests); err != nil {
			return fmt.Errorf("turn %d at %v, %w", i, r.end, err)
		}
		settleWaits := slices.ContainsFunc(requests, func(o *request) bool { return o != r && o.class == Settle && o.waits(r.end) })
		switch {
		case r.class == Settle:
			passed = 0
		case settleWaits:
			passed++
		}
		if passed >= settleShare {
			return fmt.Errorf("turn %d at %v: the %dth in a row that is not Settle's, which waits", i, r.end, passed)
		}
	}
	return nil
}

// fair checks that no other request should have had the turn of r, which was
// due at a time.
func fair(r *request, due time.Duration, passed int, requests []*request) error {
	for _, o := range requests {
		if at := max(due, o.came); at < r.end && o.waits(at) {
			return fmt.Errorf("and a turn at %v was lost, when %+v waited", at, o)
		}
		switch {
		case o == r || !o.waits(r.end):
		case o.class == r.class && o.came < r.came:
			return fmt.Errorf("of %+v: %+v came earlier", r, o)
		case o.class < r.class && (r.class != Settle || passed < settleShare-1):
			return fmt.Errorf("of %+v: %+v is more urgent", r, o)
		}
	}
	return nil
}
