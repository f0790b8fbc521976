// Package budget shares the requests that one credential may send among those
// who want to send them.
//
// No two turns of a [Budget] lie closer together than its interval. Whose turn
// is next: Live before Settle before Rest, and first come, first served within
// a class; but of the turns given while a Settle request waits at least every
// fourth is Settle's. Rest has what is left: it waits without end while the
// others use up the budget, and a turn of its own delays them by one interval
// at most.
package budget

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Class says how urgent a request is.
type Class int

// The classes, most urgent first.
const (
	Live    Class = iota // the newest rows, and all requests of no named class
	Settle               // young rows again, for those that appear late
	Rest                 // what can wait: watched records, gaps, backfill, replay
	classes = iota
)

// settleShare is the share of Settle, one of so many turns.
const settleShare = 4

type classKey struct{}

// With returns a context whose requests are of class c.
func With(ctx context.Context, c Class) context.Context { return context.WithValue(ctx, classKey{}, c) }

func classOf(ctx context.Context) Class {
	c, _ := ctx.Value(classKey{}).(Class)
	return c
}

// Budget gives out the turns of one credential. It is safe for concurrent use
// and runs no goroutine while nobody waits.
type Budget struct {
	mu    sync.Mutex
	every time.Duration
	held  time.Time // no turn before
	given given
	last  *waiter            // who had the latest turn
	queue [classes][]*waiter // who waits, in the order they came
	timer *time.Timer        // for the next turn; nil while nobody waits
}

// given is what is remembered of the turns given so far.
type given struct {
	at     time.Time // the latest
	passed int       // turns of others, while Settle waited, since its own latest
}

// waiter is a request that wants a turn.
type waiter struct {
	class  Class
	turn   chan struct{} // closed when the turn has come
	before given         // as it was before the turn
}

// New returns a budget of one request per interval; with an interval of 0 it
// is unlimited. The first turn is free at once, and turns that nobody takes
// are not saved up.
func New(every time.Duration) *Budget { return &Budget{every: max(every, 0)} }

// Every returns the least time from one turn to the next.
func (b *Budget) Every() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.every
}

// Slow makes the interval at least every.
func (b *Budget) Slow(every time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.every = max(b.every, every)
}

// Hold gives no turn to any class for d, or for longer if it is held already:
// the provider asks for fewer requests.
func (b *Budget) Hold(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if until := time.Now().Add(d); until.After(b.held) {
		b.held = until
	}
}

// Held returns for how long Hold still gives no turn.
func (b *Budget) Held() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(0, time.Until(b.held))
}

// Waiting returns for how long nobody has a turn yet, when somebody waits for
// one.
func (b *Budget) Waiting() (d time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok = b.next()
	return max(0, time.Until(b.due())), ok
}

// Wait returns nil when one request of ctx's class (see [With]) may be sent,
// or promptly the error of ctx when that ends first; then no turn is used up.
func (b *Budget) Wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := b.enter(classOf(ctx))
	select {
	case <-w.turn:
		return nil
	case <-ctx.Done():
		b.leave(w)
		return ctx.Err()
	}
}

// enter queues a request.
func (b *Budget) enter(c Class) *waiter {
	w := &waiter{class: c, turn: make(chan struct{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queue[c] = append(b.queue[c], w)
	b.advance()
	return w
}

// leave takes w out of its queue. A turn that came just now goes to the next,
// unless that one already had a turn of its own.
func (b *Budget) leave(w *waiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.queue[w.class], w); i >= 0 {
		b.queue[w.class] = slices.Delete(b.queue[w.class], i, i+1)
	} else if b.last == w {
		b.given = w.before
	}
	b.advance()
}

// advance gives the turns that are due and sets the timer for the next. A
// timer that turns out to be early, after Hold or Slow, is set again.
func (b *Budget) advance() {
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	for {
		c, waits := b.next()
		if !waits {
			return
		}
		now := time.Now()
		if wait := b.due().Sub(now); wait > 0 {
			b.timer = time.AfterFunc(wait, b.tick)
			return
		}
		b.give(c, now)
	}
}

func (b *Budget) tick() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance()
}

// due returns when the next turn may be given.
func (b *Budget) due() time.Time {
	if due := b.given.at.Add(b.every); due.After(b.held) {
		return due
	}
	return b.held
}

// next returns the class whose turn is next, or false when nobody waits.
func (b *Budget) next() (Class, bool) {
	if b.given.passed >= settleShare-1 && len(b.queue[Settle]) > 0 {
		return Settle, true
	}
	for c, waiting := range b.queue {
		if len(waiting) > 0 {
			return Class(c), true
		}
	}
	return 0, false
}

// give gives the turn to the first of class c.
func (b *Budget) give(c Class, now time.Time) {
	w := b.queue[c][0]
	b.queue[c] = slices.Delete(b.queue[c], 0, 1)
	w.before, b.last, b.given.at = b.given, w, now
	switch {
	case c == Settle:
		b.given.passed = 0
	case len(b.queue[Settle]) > 0:
		b.given.passed++
	}
	close(w.turn)
}
