package sourcetest

import (
	"bytes"
	"context"
	"errors"
	"runtime/pprof"
	"strings"
	"time"

	"connector/sources"
)

// labelKey labels the goroutines of a check, and those that they start.
const labelKey = "sourcetest"

// stopped ends scans early.
func (c *checker) stopped(ctx context.Context, src sources.Source, st sources.Stream) {
	defer func() {
		if p := recover(); p != nil {
			c.breach("stop", "a scan whose consumer stops panics: %v", p)
		}
	}()
	for chunks := 1; chunks <= 3; chunks++ {
		n := 0
		for _, err := range src.Scan(ctx, st, c.Window) {
			c.sees(err)
			if n++; n == chunks {
				break
			}
		}
	}
}

// failures makes the provider fail, and recover.
func (c *checker) failures(ctx context.Context, src sources.Source, st sources.Stream, good *result) {
	for _, f := range c.Failures {
		f.Set(true)
		r := c.scan(ctx, src, st, c.Window)
		c.askTime(ctx, f.Name)
		f.Set(false)
		c.failed(f, r, good)
		r = c.scan(ctx, src, st, c.Window)
		c.same("recovery", r, good, "")
	}
}

// askTime asks a new source for the time, which may fail, while all answers go
// wrong.
func (c *checker) askTime(ctx context.Context, name string) {
	src, ok := c.other()
	if !ok {
		return
	}
	at, err := src.Now(ctx)
	c.sees(err)
	if markOf(err) == "reject" {
		c.breach("mark", "%s: Now rejects a record: %v", name, err)
	}
	if want := c.Clock(); err == nil && (at.After(want) || want.Sub(at) > maxBehind) {
		c.breach("now", "%s: %v when the provider's clock shows %v", name, at, want)
	}
}

// failed checks a scan whose answers all went wrong.
func (c *checker) failed(f Failure, r, good *result) {
	if r.err == nil {
		c.breach("failure", "%s: the scan ends without error", f.Name)
	} else if got := markOf(r.err); got != f.Mark && got != "reject" {
		c.breach("mark", "%s: the error is marked %q, want %q: %v", f.Name, got, f.Mark, r.err)
	}
	for id, rec := range good.records {
		if _, seen := r.records[id]; !seen && !rec.Created.IsZero() && r.proven.Contains(rec.Created) {
			c.breach("failure", "%s: %v is proven without record %q", f.Name, r.proven, id)
			break
		}
	}
	for id, rec := range r.records {
		if was, known := good.records[id]; !known || !alike(rec, was) {
			c.breach("failure", "%s: record %q is in no good answer, or differs there", f.Name, id)
			break
		}
	}
}

// cancelled ends the context before calls, and in the middle of them.
func (c *checker) cancelled(ctx context.Context, src sources.Source, st sources.Stream, good *result) {
	over, cancel := context.WithCancel(ctx)
	cancel()
	if r := c.scan(over, src, st, c.Window); !errors.Is(r.err, context.Canceled) {
		c.breach("cancel", "a scan whose context has ended gives %v", r.err)
	}
	if other, ok := c.other(); ok {
		if _, err := other.Now(over); !errors.Is(err, context.Canceled) {
			c.breach("cancel", "Now of a source that was told nothing yet, whose context has ended, gives %v", err)
		}
	}
	c.Hang(true)
	c.hung(ctx, src, st)
	c.Hang(false)
	r := c.scan(ctx, src, st, c.Window)
	c.same("recovery", r, good, "")
}

// hung cancels calls that get no answer.
func (c *checker) hung(ctx context.Context, src sources.Source, st sources.Stream) {
	scan, cancel := context.WithCancel(ctx)
	var r *result
	switch {
	case !c.ends(cancel, func() { r = read(scan, src, st, c.Window) }):
		c.breach("cancel", "a scan still runs %v after its context has ended", patience)
	case !errors.Is(r.err, context.Canceled):
		c.keeps(r)
		c.breach("cancel", "a scan whose context ends in the middle gives %v", r.err)
	default:
		c.keeps(r)
	}
	other, ok := c.other()
	if !ok {
		return
	}
	now, cancel := context.WithCancel(ctx)
	var err error
	switch {
	case !c.ends(cancel, func() { _, err = other.Now(now) }):
		c.breach("cancel", "Now still runs %v after its context has ended", patience)
	case err != nil && !errors.Is(err, context.Canceled):
		c.breach("cancel", "Now whose context ends in the middle gives %v", err)
	}
}

// ends reports whether f ends by itself in time after cancel.
func (c *checker) ends(cancel context.CancelFunc, f func()) bool {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f()
	}()
	time.Sleep(pause)
	cancel()
	select {
	case <-ended:
		return true
	case <-time.After(patience):
		return false
	}
}

// leaks checks that the goroutines of the check have ended.
func (c *checker) leaks(label string) {
	deadline := time.Now().Add(patience)
	for d := pause; ; d *= 2 {
		stack := running(label)
		if stack == "" {
			return
		}
		if time.Now().After(deadline) {
			c.breach("leak", "a goroutine goes on after its scan:\n%s", stack)
			return
		}
		time.Sleep(d)
	}
}

// running returns the stack of a goroutine with the label that runs code of
// this module; "" when there is none. Idle connections run the library's.
func running(label string) string {
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		return ""
	}
	for stack := range strings.SplitSeq(b.String(), "\n\n") {
		if strings.Contains(stack, label) && strings.Contains(stack, "connector/") {
			return stack
		}
	}
	return ""
}
