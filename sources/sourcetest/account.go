package sourcetest

import (
	"context"
	"fmt"

	"connector/internal/fault"
	"connector/sources"
)

// streams checks the list of streams.
func (c *checker) streams(src sources.Source) {
	other, ok := c.other()
	if !ok {
		return
	}
	first := src.Streams()
	if again, fresh := src.Streams(), other.Streams(); fmt.Sprint(first) != fmt.Sprint(again) || fmt.Sprint(first) != fmt.Sprint(fresh) {
		c.breach("streams", "not always the same: %v, %v, %v", first, again, fresh)
	}
	names := map[string]bool{}
	for _, st := range first {
		if st.Name == "" || names[st.Name] {
			c.breach("streams", "name %q is empty or given twice", st.Name)
		}
		names[st.Name] = true
		if st.Tick <= 0 || st.MaxWindow < st.Tick {
			c.breach("streams", "%s: tick %v and longest window %v make no sense", st.Name, st.Tick, st.MaxWindow)
		}
		if st.Leaves && st.Channel == "" {
			c.breach("streams", "%s: rows leave, and the channel of the events of those that left is not named", st.Name)
		}
		if c.holds(st.Name + "\n" + st.Filters) {
			c.breach("secret", "the name or the filters of a stream hold a secret")
		}
	}
}

// owner checks that whose records these are never changes once it is known.
// A source that has scanned nothing yet may not know.
func (c *checker) owner(src sources.Source, scanned bool) {
	got := src.Owner()
	switch {
	case c.holds(got):
		c.breach("secret", "Owner holds a secret")
	case got == "" && !scanned:
	case c.known != "" && got != c.known:
		c.breach("owner", "%q, and before %q", got, c.known)
	default:
		c.known = got
	}
}

// now compares the source's time with the provider's clock.
func (c *checker) now(ctx context.Context, src sources.Source) {
	got, err := src.Now(ctx)
	want := c.Clock()
	c.sees(err)
	switch behind := want.Sub(got); {
	case err != nil:
		c.breach("now", "%v", err)
	case behind < 0 || behind > maxBehind:
		c.breach("now", "%v when the provider's clock shows %v", got, want)
	}
}

// markOf returns how an error of a scan is marked; "reject" is none of those
// that are allowed.
func markOf(err error) Mark {
	_, throttled := fault.RetryAfter(err)
	_, rejected := fault.Class(err)
	switch {
	case rejected:
		return "reject"
	case fault.IsFatal(err):
		return Fatal
	case throttled:
		return Throttled
	}
	return Transient
}
