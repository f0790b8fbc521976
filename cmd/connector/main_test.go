package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"connector/internal/apisim"
)

// patience bounds what a busy machine may take long for; only what hangs takes that long.
const patience = 2 * time.Minute

// childArgs makes the test binary run a command line of the connector.
const childArgs = "CONNECTOR_TEST_CHILD_ARGS"

func TestMain(m *testing.M) {
	if args, ok := os.LookupEnv(childArgs); ok {
		_ = os.Unsetenv(childArgs)
		os.Args = append(os.Args[:1], strings.Fields(args)...)
		main()
		return
	}
	flag.Parse()
	_ = flag.Set("test.parallel", "8") // tests wait for time to pass as long as they compute
	os.Exit(m.Run())
}

// buffer is a writer that may be read meanwhile.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// command runs one command line in this process.
func command(ctx context.Context, vars []string, args ...string) (code int, stdout, stderr string) {
	var out, errOut buffer
	code = run(ctx, args, environment{vars: vars, stdout: &out, stderr: &errOut})
	return code, out.String(), errOut.String()
}

func listener(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// simulators serves both APIs with a short history of rows that no longer
// changes, and returns variables that lead to them.
func simulators(t *testing.T, limit int) (*apisim.Ekuaibao, *apisim.Submail, []string) {
	t.Helper()
	return history(t, apisim.Population{Seed: 7, Start: time.Now().Add(-10 * time.Minute), Every: time.Second, Limit: limit, Change: 0.3, MaxChange: 20 * time.Second})
}

// history is simulators with the rows of a population.
func history(t *testing.T, p apisim.Population) (*apisim.Ekuaibao, *apisim.Submail, []string) {
	t.Helper()
	e := apisim.NewEkuaibao(apisim.EkuaibaoConfig{Population: p})
	s := apisim.NewSubmail(apisim.SubmailConfig{Population: p})
	t.Cleanup(func() { _, _ = e.Close(), s.Close() })
	return e, s, []string{
		"CONNECTOR_SOURCES=hq=ekuaibao,otp=submail", "CONNECTOR_START=1h", "CONNECTOR_HTTP_ADDR=127.0.0.1:0", "CONNECTOR_DATA_DIR=" + t.TempDir(),
		"HQ_BASE_URL=" + e.Serve(listener(t)), "HQ_APP_KEY=" + apisim.DefaultEkuaibaoKey, "HQ_APP_SECURITY=" + apisim.DefaultEkuaibaoSecurity,
		"HQ_POLL_INTERVAL=200ms", "HQ_RATE=1000", "HQ_LAG=0s",
		"OTP_BASE_URL=" + s.Serve(listener(t)), "OTP_APP_ID=" + apisim.DefaultSubmailID, "OTP_APP_KEY=" + apisim.DefaultSubmailKey,
		"OTP_POLL_INTERVAL=200ms", "OTP_MIN_INTERVAL=1ms", "OTP_LAG=0s",
	}
}

// with returns vars with some added or replaced; NAME= unsets.
func with(vars []string, more ...string) []string {
	for _, m := range more {
		name, _, _ := strings.Cut(m, "=")
		vars = slices.DeleteFunc(slices.Clone(vars), func(v string) bool { return strings.HasPrefix(v, name+"=") })
		vars = append(vars, m)
	}
	return vars
}

// child is the connector in a process of its own.
type child struct {
	*exec.Cmd
	stdout, stderr buffer
	ended          chan error
}

func start(t *testing.T, vars []string, args ...string) *child {
	t.Helper()
	return startInto(t, nil, vars, args...)
}

// startInto is start with a standard output of one's own.
func startInto(t *testing.T, stdout *os.File, vars []string, args ...string) *child {
	t.Helper()
	c := &child{Cmd: exec.Command(os.Args[0]), ended: make(chan error, 1)}
	inherited := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "CONNECTOR_") })
	c.Env = append(with(inherited, vars...), childArgs+"="+strings.Join(args, " "))
	c.Stdout, c.Stderr = &c.stdout, &c.stderr
	if stdout != nil {
		c.Stdout = stdout
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { c.ended <- c.Wait() }()
	t.Cleanup(func() { _ = c.Process.Kill() })
	return c
}

// until waits for a condition that the child brings about.
func (c *child) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s; stderr:\n%s", what, c.stderr.String())
		}
	}
}

// ready waits until the child's sink is open and a provider answers, and returns
// the address of its endpoints.
func (c *child) ready(t *testing.T) (base string) {
	t.Helper()
	c.until(t, "readiness", func() bool {
		at := httpAddr.FindStringSubmatch(c.stderr.String())
		if at == nil {
			return false
		}
		base = "http://" + at[1]
		code, _ := get(base + "/readyz")
		return code == http.StatusOK
	})
	return base
}

var httpAddr = regexp.MustCompile(`http=(\S+)`)

// interrupt ends the child as a service manager does, and returns its exit code.
func (c *child) interrupt(t *testing.T) (code int) {
	t.Helper()
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.ended:
		return c.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatalf("still running %v after SIGTERM; stderr:\n%s", patience, c.stderr.String())
		return 0
	}
}

func get(url string) (int, string) {
	resp, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	_, _ = b.ReadFrom(resp.Body)
	return resp.StatusCode, b.String()
}

func wantLines(t *testing.T, what, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("%s: got\n%s\nwant a line with %q", what, got, w)
		}
	}
}

// lastLine returns the summary of an output in JSON: lines of progress precede it when it takes longer.
func lastLine(stdout string) []byte {
	text := strings.TrimSpace(stdout)
	return []byte(text[strings.LastIndex(text, "\n")+1:])
}

func versionList(served ...[]apisim.Version) []string {
	var list []string
	for _, s := range served {
		for _, v := range s {
			list = append(list, fmt.Sprint(v))
		}
	}
	slices.Sort(list)
	return list
}

// TestEndAtNext has a signal that comes as two, and one that comes later.
func TestEndAtNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, signal := context.WithCancel(t.Context())
		var ended atomic.Bool
		endAtNext(ctx, func() { ended.Store(true) })
		signal()
		time.Sleep(oneStop - 1)
		synctest.Wait()
		if ended.Load() {
			t.Error("a second signal at once ends the process")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if !ended.Load() {
			t.Error("a later signal does not end the process")
		}
	})
}
