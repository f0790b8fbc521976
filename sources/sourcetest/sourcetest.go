// Package sourcetest checks that a source keeps the contract of package
// sources, on a provider whose rows are known.
package sourcetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"connector/sources"
)

// patience is how long a scan may go on after its context has ended.
const patience = 2 * time.Second

// maxBehind is how far Now may be behind the provider's clock.
const maxBehind = 10 * time.Second

// Harness is a source under test and a provider it reads.
type Harness struct {
	// Open returns a source that remembers nothing of those opened before.
	Open func() (sources.Source, error)
	// Clock is the provider's clock; nil skips the check of Now.
	Clock func() time.Time

	Stream string       // the stream to scan
	Window sources.Span // its rows do not change while Check runs
	IDs    []string     // the record ids of all good rows in Window; several chunks of them prove most
	Poison int          // how many rows in Window can never become events

	Failures []Failure // ways the provider fails
	Hang     *Failure  // answers never come, or never end
	Secrets  []string  // appear in no error
}

// Failure is a way in which a provider's answers go wrong.
type Failure struct {
	Name string
	Set  func(on bool) // makes all answers from now on go wrong, or none
}

// Check runs every check and returns what is wrong, one error for each
// breach. It returns early when no source can be opened or ctx has ended.
func Check(ctx context.Context, h Harness) []error {
	c := &checker{Harness: h}
	src, err := h.Open()
	if err != nil {
		return []error{fmt.Errorf("opening the source: %w", err)}
	}
	c.streams(src)
	st, ok := c.stream(src)
	if !ok {
		return c.breaches
	}
	c.now(ctx, src)
	good := c.whole(ctx, src, st)
	c.again(ctx, src, st, good)
	c.stopped(ctx, src, st)
	c.empty(ctx, src, st)
	c.failures(ctx, src, st, good)
	c.cancelled(ctx, src, st)
	return c.breaches
}

type checker struct {
	Harness
	breaches []error
}

// breach notes that the named rule is broken.
func (c *checker) breach(rule, format string, args ...any) {
	c.breaches = append(c.breaches, fmt.Errorf(rule+": "+format, args...))
}

// sees checks an error the source gave.
func (c *checker) sees(err error) {
	for _, s := range c.Secrets {
		if err != nil && strings.Contains(err.Error(), s) {
			c.breach("secret", "an error of %d bytes holds a secret", len(err.Error()))
		}
	}
}

func (c *checker) stream(src sources.Source) (sources.Stream, bool) {
	for _, st := range src.Streams() {
		if st.Name == c.Stream {
			return st, true
		}
	}
	c.breach("streams", "no stream %q in %v", c.Stream, src.Streams())
	return sources.Stream{}, false
}

func (c *checker) streams(src sources.Source) {
	first, again := src.Streams(), src.Streams()
	other, err := c.Open()
	if err != nil {
		c.breach("streams", "opening the source again: %v", err)
		return
	}
	if fresh := other.Streams(); fmt.Sprint(first) != fmt.Sprint(again) || fmt.Sprint(first) != fmt.Sprint(fresh) {
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
	}
}

func (c *checker) now(ctx context.Context, src sources.Source) {
	if c.Clock == nil {
		return
	}
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

// empty scans a window without an instant.
func (c *checker) empty(ctx context.Context, src sources.Source, st sources.Stream) {
	window := sources.Span{From: c.Window.From, To: c.Window.From.Add(-st.Tick)}
	if r := c.scan(ctx, src, st, window); r.err != nil || r.proven != window {
		c.breach("empty", "scan of %v ends with %v proven and error %v", window, r.proven, r.err)
	}
}

// stopped ends scans early.
func (c *checker) stopped(ctx context.Context, src sources.Source, st sources.Stream) {
	defer func() {
		if p := recover(); p != nil {
			c.breach("stop", "a scan whose consumer stops panics: %v", p)
		}
	}()
	for _, err := range src.Scan(ctx, st, c.Window) {
		c.sees(err)
		break
	}
}

func (c *checker) failures(ctx context.Context, src sources.Source, st sources.Stream, good result) {
	for _, f := range c.Failures {
		f.Set(true)
		r := c.scan(ctx, src, st, c.Window)
		f.Set(false)
		if r.err == nil {
			c.breach("failure", "%s: the scan ends without error", f.Name)
		}
		for id, rec := range good.records {
			if _, seen := r.records[id]; !seen && !rec.Created.IsZero() && r.proven.Contains(rec.Created) {
				c.breach("failure", "%s: %v is proven without record %q", f.Name, r.proven, id)
				break
			}
		}
		if r = c.scan(ctx, src, st, c.Window); r.err != nil || r.proven != c.Window {
			c.breach("recovery", "after %s: %v is proven, error %v", f.Name, r.proven, r.err)
		}
	}
}

// cancelled ends the context before a scan, and in the middle of one.
func (c *checker) cancelled(ctx context.Context, src sources.Source, st sources.Stream) {
	over, cancel := context.WithCancel(ctx)
	cancel()
	if r := c.scan(over, src, st, c.Window); !errors.Is(r.err, context.Canceled) {
		c.breach("cancel", "a scan whose context has ended gives %v", r.err)
	}
	if c.Hang == nil {
		return
	}
	c.Hang.Set(true)
	defer c.Hang.Set(false)
	hung, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan result, 1)
	go func() { ended <- read(hung, src, st, c.Window) }()
	time.Sleep(patience / 20)
	cancel()
	select {
	case r := <-ended:
		c.sees(r.err)
		if !errors.Is(r.err, context.Canceled) {
			c.breach("cancel", "a scan whose context ends in the middle (%s) gives %v", c.Hang.Name, r.err)
		}
	case <-time.After(patience):
		c.breach("cancel", "a scan still runs %v after its context has ended (%s)", patience, c.Hang.Name)
	}
}
