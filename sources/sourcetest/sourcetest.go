// Package sourcetest checks that a source keeps the contract of package
// sources, on a provider whose rows are known.
//
// A source's test gives [Check] a [Harness]: how to open the source, and what
// a simulated provider can be made to do. Run it under the race detector, too:
// the kit calls the source from several goroutines.
package sourcetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/pprof"
	"strings"
	"sync"
	"time"

	"connector/sources"
)

// patience is how long a call may go on after its context has ended, and a
// goroutine after its scan. It is long: other tests may want the processor, too.
const patience = 2 * time.Minute

// pause is between two looks at what takes time.
const pause = 20 * time.Millisecond

// maxBehind is how far Now may be behind the provider's clock.
const maxBehind = 10 * time.Second

// leastSkew is by how much the clocks of provider and machine must differ.
const leastSkew = time.Hour

// Harness is a source under test and a provider it reads. Its rows are
// selected by their creation. A field without a default is required, but Change.
type Harness struct {
	// Open returns a source that remembers nothing of those opened before, and
	// logs everything it ever logs to log.
	Open func(log *slog.Logger) (sources.Source, error)
	// Clock is the provider's clock. It is at least an hour away from this
	// machine's, so that a source that goes by the wrong one is found.
	Clock func() time.Time

	Stream string       // the stream to scan
	Window sources.Span // its rows change by Change and Late only
	IDs    []string     // the record ids of all good rows in Window; several chunks of them prove most
	Poison int          // how many rows in Window can never become events
	Large  sources.Span // rows of 8 MiB and more, altogether, behind Window

	// Late shows one more good row in Window and returns its id.
	Late func() string
	// Change gives a good row of IDs its next version, as the provider would,
	// and returns its id; "" when it has no more. Where rows never change it
	// is nil, and all are terminal.
	Change func() string

	Failures []Failure
	Hang     func(on bool) // answers never come, or never end
	Secrets  []string      // appear in nothing that the source gives or logs, but rows
}

// Failure is a way in which a provider's answers go wrong.
type Failure struct {
	Name string
	Mark Mark          // of the errors that scans end with
	Set  func(on bool) // makes all answers from now on go wrong, or none
}

// Mark is how package fault marks an error.
type Mark string

// The marks an error of Scan or Now may have.
const (
	Transient Mark = "" // none: tried again without end
	Throttled Mark = "throttled"
	Fatal     Mark = "fatal"
)

// Check runs every check and returns what is wrong, one error for each
// breach; it begins with the name of the rule. It returns early when no source
// can be opened, or its scan of the window is wrong: later checks compare with
// that.
func Check(ctx context.Context, h Harness) []error {
	c := &checker{Harness: h}
	c.log = slog.New(slog.NewTextHandler(&sieve{check: c}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	label := fmt.Sprintf("%p", c)
	pprof.Do(ctx, pprof.Labels(labelKey, label), c.run)
	c.leaks(label)
	if c.logged {
		c.breach("secret", "the log holds a secret")
	}
	return c.breaches
}

// run is Check, but for what is known at the end only.
func (c *checker) run(ctx context.Context) {
	src, st, ok := c.begin()
	if !ok {
		return
	}
	c.streams(src)
	c.now(ctx, src)
	good := c.whole(ctx, src, st)
	if c.owner(src, true); len(c.breaches) > 0 {
		return
	}
	c.again(ctx, src, st, good)
	c.stopped(ctx, src, st)
	c.empty(ctx, src, st)
	c.tick(ctx, src, st, good)
	c.huge(ctx, src, st, good)
	c.memory(ctx, src, st)
	c.failures(ctx, src, st, good)
	c.cancelled(ctx, src, st, good)
	good = c.late(ctx, src, st, good)
	c.changes(ctx, src, st, good)
	c.now(ctx, src)
	c.owner(src, true)
}

type checker struct {
	Harness
	log      *slog.Logger
	breaches []error
	known    string // the owner of the records

	mu     sync.Mutex
	logged bool // a secret
}

// breach notes that the named rule is broken.
func (c *checker) breach(rule, format string, args ...any) {
	c.breaches = append(c.breaches, fmt.Errorf(rule+": "+format, args...))
}

// holds reports whether text holds a secret.
func (c *checker) holds(text string) bool {
	for _, s := range c.Secrets {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

// sees checks an error the source gave.
func (c *checker) sees(err error) {
	if err != nil && c.holds(err.Error()) {
		c.breach("secret", "an error of %d bytes holds a secret", len(err.Error()))
	}
}

// sieve is the writer of a log that looks for secrets and keeps nothing.
type sieve struct{ check *checker }

func (s *sieve) Write(line []byte) (int, error) {
	if s.check.holds(string(line)) {
		s.check.mu.Lock()
		defer s.check.mu.Unlock()
		s.check.logged = true
	}
	return len(line), nil
}

// begin opens a source and finds the stream.
func (c *checker) begin() (sources.Source, sources.Stream, bool) {
	if err := c.filled(); err != nil {
		c.breach("harness", "%v", err)
		return nil, sources.Stream{}, false
	}
	src, err := c.Open(c.log)
	if err != nil {
		c.breach("open", "%v", err)
		return nil, sources.Stream{}, false
	}
	for _, st := range src.Streams() {
		if st.Name == c.Stream {
			return src, st, true
		}
	}
	c.breach("streams", "no stream %q in %v", c.Stream, src.Streams())
	return nil, sources.Stream{}, false
}

// filled tells what the harness lacks.
func (c *checker) filled() error {
	switch {
	case c.Open == nil || c.Clock == nil || c.Late == nil || c.Hang == nil || len(c.Failures) == 0 || len(c.IDs) == 0:
		return errors.New("set Open, Clock, IDs, Late, Failures and Hang")
	case c.Window.Empty() || c.Large.Empty() || !c.Large.From.After(c.Window.To):
		return errors.New("set Window, and Large behind it")
	case time.Since(c.Clock()).Abs() < leastSkew:
		return fmt.Errorf("the provider's clock shows the time of this machine: set it %v apart", leastSkew)
	}
	return nil
}

// other opens one more source.
func (c *checker) other() (sources.Source, bool) {
	src, err := c.Open(c.log)
	if err != nil {
		c.breach("open", "again: %v", err)
	}
	return src, err == nil
}
