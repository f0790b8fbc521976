package budget

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// asker sends requests through a budget and notes who had a turn, and when.
type asker struct {
	*Budget
	began time.Time
	group sync.WaitGroup

	mu    sync.Mutex
	names []string
	times []time.Duration
}

func newAsker(b *Budget) *asker { return &asker{Budget: b, began: time.Now()} }

// ask sends one request of class c in the background. It returns when that waits or has had its turn.
func (a *asker) ask(ctx context.Context, name string, c Class) {
	a.group.Go(func() {
		if a.Wait(With(ctx, c)) == nil {
			a.note(name)
		}
	})
	synctest.Wait()
}

func (a *asker) note(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.names, a.times = append(a.names, name), append(a.times, time.Since(a.began))
}

// want waits for all requests and compares the order of their turns.
func (a *asker) want(t *testing.T, want string) {
	t.Helper()
	a.group.Wait()
	if got := strings.Join(a.names, " "); got != want {
		t.Errorf("got turns of %s, want %s", got, want)
	}
}

// TestOrder: most urgent first, first come first served, a quarter for Settle.
func TestOrder(t *testing.T) {
	const every = time.Minute
	for name, tt := range map[string]struct{ asked, want string }{
		"first come first served": {"L1 L2 L3 L4", "L1 L2 L3 L4"},
		"in the order of urgency": {"R1 R2 S1 R3 L1 S2", "R1 L1 S1 S2 R2 R3"},
		"a quarter for settle":    {"L0 L1 L2 L3 L4 L5 L6 L7 S1 S2 S3 R1", "L0 L1 L2 L3 S1 L4 L5 L6 S2 L7 S3 R1"},
		"a late settle waits":     {"L0 L1 L2 L3 L4 S1", "L0 L1 L2 L3 S1 L4"},
		"nothing for the rest":    {"S0 R1 S1 S2 S3 S4 S5", "S0 S1 S2 S3 S4 S5 R1"},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAsker(New(every))
			for asked := range strings.FieldsSeq(tt.asked) {
				a.ask(t.Context(), asked, Class(strings.Index("LSR", asked[:1])))
			}
			a.want(t, tt.want)
			for i, got := range a.times {
				if want := time.Duration(i) * every; got != want {
					t.Errorf("%s: got turn %d after %v, want %v", name, i, got, want)
				}
			}
		})
	}
}

// TestQuarterOfOneStream: a settle request that comes again and again has a
// quarter, however many live ones wait.
func TestQuarterOfOneStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, turns := newAsker(New(time.Minute)), 0
		ctx, stop := context.WithTimeout(t.Context(), 400*time.Minute-time.Second)
		defer stop()
		for name, c := range map[string]Class{"L1": Live, "L2": Live, "R": Rest, "S": Settle} {
			a.group.Go(func() {
				for a.Wait(With(ctx, c)) == nil {
					a.note(name)
					time.Sleep(time.Second)
				}
			})
		}
		a.group.Wait()
		of := map[string]int{}
		for _, name := range a.names {
			of[name]++
			turns++
		}
		if turns != 400 || of["S"] < 99 || of["S"] > 101 || of["R"] > 1 {
			t.Errorf("got %d turns, %v; want 400, a quarter of them for S, none but perhaps the first for R", turns, of)
		}
	})
}

func TestUnlimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(New(0))
		for range 1000 {
			if err := a.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got := time.Since(a.began); got != 0 {
			t.Errorf("1000 requests took %v, want no time", got)
		}
		a.Hold(time.Hour)
		for _, name := range []string{"R", "S", "L"} {
			a.ask(t.Context(), name, Class(strings.Index("LSR", name)))
		}
		a.group.Wait()
		if got := time.Since(a.began); got != time.Hour {
			t.Errorf("held requests took %v, want an hour", got)
		}
	})
}

// TestNothingSavedUp: after an idle hour there is one turn, not sixty.
func TestNothingSavedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(New(time.Minute))
		a.ask(t.Context(), "1", Live)
		time.Sleep(time.Hour)
		a.ask(t.Context(), "2", Live)
		a.ask(t.Context(), "3", Live)
		a.group.Wait()
		if want := []time.Duration{0, time.Hour, time.Hour + time.Minute}; !slices.Equal(a.times, want) {
			t.Errorf("got turns after %v, want %v", a.times, want)
		}
	})
}

// TestHold: a hold stops every class, is never shortened, and uses up no turn.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(New(time.Minute))
		a.ask(t.Context(), "1", Live)
		a.ask(t.Context(), "2", Rest)
		a.ask(t.Context(), "3", Live)
		time.Sleep(10 * time.Second)
		a.Hold(time.Hour)
		a.Hold(time.Second)
		a.Hold(-time.Second)
		a.want(t, "1 3 2")
		at := time.Hour + 10*time.Second
		if want := []time.Duration{0, at, at + time.Minute}; !slices.Equal(a.times, want) {
			t.Errorf("got turns after %v, want %v", a.times, want)
		}
	})
}

// TestSlow: a slower account of the credential slows those that wait; a
// faster one changes nothing.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(New(time.Minute))
		a.ask(t.Context(), "1", Live)
		a.ask(t.Context(), "2", Live)
		a.Slow(time.Hour)
		a.Slow(time.Second)
		a.group.Wait()
		if got, want := a.times[1], time.Hour; got != want || a.Every() != want {
			t.Errorf("got a turn after %v and an interval of %v, want %v", got, a.Every(), want)
		}
	})
}

// TestLeave: who leaves gets the error at once; the others move up, and no
// turn is lost.
func TestLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(New(time.Minute))
		ended, end := context.WithCancel(t.Context())
		a.ask(t.Context(), "1", Live)
		a.ask(ended, "left", Live)
		a.ask(t.Context(), "2", Live)
		end()
		synctest.Wait()
		if err := a.Wait(ended); !errors.Is(err, context.Canceled) || time.Since(a.began) != 0 {
			t.Errorf("got %v after %v, want the context's error at once", err, time.Since(a.began))
		}
		a.want(t, "1 2")
		if got, want := a.times[1], time.Minute; got != want {
			t.Errorf("got the second turn after %v, want %v", got, want)
		}
		if a.timer != nil {
			t.Error("the timer is set although nobody waits")
		}
	})
}

// TestLeaveWithTurn: the turn of one who leaves just as it comes is the next
// one's, together with the quarter it belongs to; but never a turn too many.
func TestLeaveWithTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(New(time.Minute))
		left := a.enter(Live)
		a.ask(t.Context(), "1", Live)
		a.leave(left)
		time.Sleep(time.Second)
		a.leave(left) // its turn was another's meanwhile
		a.ask(t.Context(), "2", Live)
		a.group.Wait()
		if want := []time.Duration{0, time.Minute}; !slices.Equal(a.times, want) {
			t.Errorf("got turns after %v, want %v", a.times, want)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(New(time.Minute))
		for _, name := range []string{"L0", "L1", "L2", "L3", "L4"} {
			a.ask(t.Context(), name, Live)
		}
		left := a.enter(Settle)
		a.ask(t.Context(), "S", Settle)
		<-left.turn
		a.leave(left)
		a.want(t, "L0 L1 L2 L3 S L4")
	})
}

func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(New(time.Minute))
		a.ask(t.Context(), "a", Live)
		if d, ok := a.Waiting(); ok {
			t.Errorf("got %v, want that nobody waits", d)
		}
		a.ask(t.Context(), "b", Rest)
		time.Sleep(time.Second)
		if d, ok := a.Waiting(); !ok || d != 59*time.Second {
			t.Errorf("got %v, %v, want 59 s", d, ok)
		}
		a.Hold(5 * time.Minute)
		if d, ok := a.Waiting(); !ok || d != 5*time.Minute {
			t.Errorf("held: got %v, %v, want 5 min", d, ok)
		}
		a.want(t, "a b")
	})
}
