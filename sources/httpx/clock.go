package httpx

import (
	"net/http"
	"sync"
	"time"
)

// clockLife is how long an observation is believed: two clocks that drift
// apart by 100 ppm differ by 60 ms after it.
const clockLife = 10 * time.Minute

// clockSlack is by how much a Date may run ahead of the estimate.
const clockSlack = time.Minute

// Clock estimates a provider's time from what its answers say. The zero value
// knows nothing. It is safe for concurrent use.
type Clock struct {
	mu       sync.Mutex
	provider time.Time
	at       time.Time // local time of the observation; compared by its monotonic reading
	noDate   bool
	told     bool // whether Observe was called

	ahead   time.Time // Date of the latest answer when it was not believed, else zero
	aheadAt time.Time // local time of that answer
}

// Observe notes that the provider's time was t, or later, a moment ago. It
// outranks Date from then on.
func (c *Clock) Observe(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.provider, c.at, c.told = t, time.Now(), true
}

// Now returns the provider's time or a moment before it, never one after it:
// the latest observation plus the time elapsed since. It returns false when
// there is no observation, or none of the last 10 minutes.
func (c *Clock) Now() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	elapsed := time.Since(c.at)
	if c.provider.IsZero() || elapsed >= clockLife {
		return time.Time{}, false
	}
	return c.provider.Add(elapsed), true
}

// IgnoreDate says that the Date of the answers is wrong: the clock forgets what
// it knows, and learns from Observe alone. It returns false when Observe was
// never called: then Date goes on to count, for want of a better.
func (c *Clock) IgnoreDate() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noDate, c.provider = c.told, time.Time{}
	return c.told
}

// learn observes the Date header of an answer, which has whole seconds, cut,
// and was written before the answer arrived. Age, set by caches, makes it
// older. A Date far ahead of the estimate is believed when the next one
// agrees: a reader that believed a single wrong one would take the time until
// then for past, and never look there again. One far from what Observe was told
// is never believed.
func (c *Clock) learn(h http.Header) {
	t, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	off := t.Sub(c.provider) - now.Sub(c.at)
	switch known := !c.provider.IsZero(); {
	case c.noDate, known && c.told && off.Abs() > clockSlack:
		return
	case known && off > clockSlack && !c.confirms(t, now):
		c.ahead, c.aheadAt = t, now
		return
	}
	c.provider, c.at, c.ahead = t, now, time.Time{}
}

// confirms reports whether t agrees with the Date that was not believed.
func (c *Clock) confirms(t, now time.Time) bool {
	return !c.ahead.IsZero() && (t.Sub(c.ahead)-now.Sub(c.aheadAt)).Abs() <= clockSlack
}
