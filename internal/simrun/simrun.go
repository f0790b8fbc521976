// Package simrun runs the real connector, as a process of its own, against simulated providers whose clock a test sets:
// what such a run publishes is the same each time.
package simrun

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Clock is a clock that stands still until it is set. It is safe for concurrent use.
type Clock struct {
	mu sync.Mutex
	at time.Time
}

// Set sets the clock.
func (c *Clock) Set(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
}

// Now returns the time that was set last.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// Listen returns a listener on loopback, for a simulator to serve.
func Listen(tb testing.TB) net.Listener {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listening for a simulated provider: %v", err)
	}
	return l
}

// Build compiles the program of a package, such as connector/cmd/connector, without what debuggers need, and returns its path; it is gone when the
// test ends.
func Build(tb testing.TB, pkg string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), filepath.Base(pkg))
	if out, err := exec.CommandContext(tb.Context(), "go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", path, pkg).CombinedOutput(); err != nil { //nolint:gosec // of the test
		tb.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
	return path
}

// Run runs a command to its end, with vars as its only variables beside those that programs need to find their files,
// and returns what it printed; what it logged is in the log of the test. A command that does not end well fails the test, with all it said.
func Run(tb testing.TB, vars []string, name string, args ...string) string {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), name, args...) //nolint:gosec // of the test
	for _, inherited := range []string{"PATH", "HOME", "TMPDIR", "JAVA_HOME"} {
		if value, ok := os.LookupEnv(inherited); ok {
			cmd.Env = append(cmd.Env, inherited+"="+value)
		}
	}
	cmd.Env = append(cmd.Env, vars...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		tb.Fatalf("%s %s: %v\n%s%s", filepath.Base(name), strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	tb.Logf("%s %s\n%s", filepath.Base(name), strings.Join(args, " "), stderr.String())
	return stdout.String()
}
