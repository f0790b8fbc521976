//go:build unix

package chaos

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a program that runs.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}

	stdout bytes.Buffer // to be read when it has ended

	mu     sync.Mutex
	stderr bytes.Buffer
}

// Write keeps what the program says on stderr.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.Write(b)
}

// said returns the end of what the program said on stderr.
func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.stderr.Bytes()
	return string(b[max(0, len(b)-16<<10):])
}

// await waits until the program has said something on stderr.
func (p *process) await(t *testing.T, what string) {
	t.Helper()
	for deadline := time.Now().Add(hang); !strings.Contains(p.said(), what); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the program did not say %q within %v; it said\n%s", what, hang, p.said())
		}
	}
}

var endpoint = regexp.MustCompile(`msg=running .* http=(\S+)`)

// ready waits until the connector reads: it has taken its streams over.
func (p *process) ready(t *testing.T) {
	t.Helper()
	p.await(t, "msg=running")
	url := "http://" + endpoint.FindStringSubmatch(p.said())[1] + "/readyz"
	for deadline := time.Now().Add(hang); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if r, err := http.Get(url); err == nil {
			_ = r.Body.Close()
			if r.StatusCode == http.StatusOK {
				http.DefaultClient.CloseIdleConnections()
				return
			}
		}
	}
	t.Fatalf("the connector is not ready within %v; it said\n%s", hang, p.said())
}

// start runs a program with vars as its only variables beside PATH. It is
// killed when the test ends.
func start(t *testing.T, path string, vars []string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(path, args...), ended: make(chan struct{})}
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir()}, vars...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(p.kill)
	return p
}

// kill ends the program as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// within reports whether the program ends by itself in time.
func (p *process) within(d time.Duration) bool {
	select {
	case <-p.ended:
		return true
	case <-time.After(d):
		return false
	}
}

// killed reports whether a program that ended was killed.
func (p *process) killed() bool {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// stop ends the program by SIGTERM, and the test unless it then ends well.
func (p *process) stop(t *testing.T) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if !p.within(hang) || p.cmd.ProcessState.ExitCode() != 0 {
		p.kill()
		t.Fatalf("SIGTERM ended the program with %v, want code 0 within %v; it said\n%s", p.cmd.ProcessState, hang, p.said())
	}
}

// finish runs a program to its end and fails the test unless that is a good one.
func finish(t *testing.T, path string, limit time.Duration, vars []string, args ...string) {
	t.Helper()
	p := start(t, path, vars, args...)
	if !p.within(limit) {
		p.kill()
		t.Fatalf("%s did not end within %v; it said\n%s", strings.Join(args, " "), limit, p.said())
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Fatalf("%s ended with code %d; it said\n%s", strings.Join(args, " "), code, p.said())
	}
}

// output runs a program to its end and returns what it printed.
func output(t *testing.T, path string, vars []string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), vars...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return out
}
