package httpx

import (
	"net/http"
	"sync"
	"time"
)

// clockLife is how long an observation is believed: two clocks that drift
// apart by 100 ppm differ by 60 ms after it.
const clockLife = 10 * time.Minute

// Clock estimates a provider's time from what its answers say. The zero value
// knows nothing. It is safe for concurrent use.
type Clock struct {
	mu       sync.Mutex
	provider time.Time
	at       time.Time // local time of the observation; compared by its monotonic reading
	noDate   bool
}

// Observe notes that the provider's time was t, or later, a moment ago.
func (c *Clock) Observe(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.provider, c.at = t, time.Now()
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
// it knows, and learns from Observe alone.
func (c *Clock) IgnoreDate() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noDate, c.provider = true, time.Time{}
}

// learn observes the Date header of an answer, which has whole seconds, cut,
// and was written before the answer arrived. Age, set by caches, makes it older.
func (c *Clock) learn(h http.Header) {
	c.mu.Lock()
	ignore := c.noDate
	c.mu.Unlock()
	if ignore {
		return
	}
	if t, err := http.ParseTime(h.Get("Date")); err == nil {
		c.Observe(t)
	}
}
