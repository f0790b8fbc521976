package file

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"connector/internal/failpoint"
	"connector/sinks"
)

const (
	childEnv = "CONNECTOR_TEST_FOLDER" // makes the test binary a connector into that folder
	endEnv   = "CONNECTOR_TEST_END"    // number of its last commit
	limitEnv = "CONNECTOR_TEST_LIMIT"  // bounds the size of its files, as a full disk does
)

// rotateAt makes a file of three or four commits.
const rotateAt = 10_000

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := child(dir); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	_ = flag.Set("test.parallel", "8") // tests wait for time to pass more than they compute
	var err error
	if bin, err = os.MkdirTemp("", "connector-file-"); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(bin)
		os.Exit(code)
	}))
}

// child commits batches from where the state says, and prints the number of
// each that was acknowledged.
func child(dir string) error {
	var limit uint64
	if _, err := fmt.Sscan(os.Getenv(limitEnv), &limit); err == nil {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			return err
		}
	}
	rotate := int64(rotateAt)
	if limit > 0 {
		rotate = 0
	}
	end, _ := strconv.Atoi(os.Getenv(endEnv))
	o, err := newWorld(dir, rotate).open(context.Background())
	if err != nil {
		return err
	}
	head, err := o.Get(context.Background(), headKey)
	if err != nil {
		return err
	}
	last, _ := strconv.Atoi(string(head))
	for n := last + 1; n <= end; n++ {
		if err := o.Commit(context.Background(), numbered(n)); err != nil {
			return errors.Join(err, o.Close())
		}
		fmt.Println("committed", n)
	}
	return o.Close()
}

var bin string // folder of failpointBinary

// failpointBinary is this test with failpoints.
var failpointBinary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(bin, "test")
	if out, err := exec.Command("go", "test", "-c", "-vet=off", "-tags", "failpoint", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("building: %w\n%s", err, out)
	}
	return path, nil
})

// run runs a child to its end and returns the last commit that it said was
// acknowledged, and whether it was killed.
func run(t *testing.T, binary, dir string, env ...string) (acknowledged int, killed bool, output string) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Env = append(append(os.Environ(), childEnv+"="+dir), env...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	for line := range strings.Lines(out.String()) {
		_, _ = fmt.Sscanf(line, "committed %d", &acknowledged)
	}
	if err != nil {
		status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
		killed = status.Signaled() && status.Signal() == syscall.SIGKILL
	}
	return acknowledged, killed, out.String()
}

// saved returns the number of the last commit by the checkpoint.
func (w *world) saved(t *testing.T) int {
	t.Helper()
	state, err := w.view()
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = state.Close() }()
	return head(t, state)
}

// head returns the number of the last commit.
func head(t *testing.T, state interface {
	Get(ctx context.Context, key string) ([]byte, error)
}) int {
	t.Helper()
	value, err := state.Get(t.Context(), headKey)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.Atoi(string(value))
	return n
}

// TestKilled kills the process at each step, also one after the other, while
// files rotate: readers find what the checkpoint says, and what was acknowledged is in it.
func TestKilled(t *testing.T) {
	t.Parallel()
	binary, err := failpointBinary()
	if err != nil {
		t.Fatal(err)
	}
	for _, point := range failpoint.File {
		t.Run(string(point), func(t *testing.T) {
			w := newWorld(t.TempDir(), rotateAt)
			w.killed(t, binary, failpoint.FileSaved, 3)
			for hit := range 3 {
				if point == failpoint.FileCut {
					w.killed(t, binary, failpoint.FileWritten, hit+1)
				}
				w.killed(t, binary, point, hit+1)
			}
			if acknowledged, _, out := run(t, binary, w.dir, endEnv+"=60"); acknowledged != 60 {
				t.Fatalf("got\n%s\nwant 60 commits", out)
			}
			w.expect(t, "in the end", want(1, 60))
		})
	}
}

// seldom are the points that a process comes to once.
var seldom = map[failpoint.Point]bool{failpoint.FileOpen: true, failpoint.FileCut: true, failpoint.FileTakeover: true, failpoint.FileTaken: true}

func (w *world) killed(t *testing.T, binary string, at failpoint.Point, hit int) {
	t.Helper()
	if seldom[at] {
		hit = 1
	}
	acknowledged, killed, out := run(t, binary, w.dir, endEnv+"=1000", "CONNECTOR_FAILPOINT="+string(at), fmt.Sprint("CONNECTOR_FAILPOINT_HIT=", hit))
	if !killed {
		t.Fatalf("%s is not reached; the process said\n%s", at, out)
	}
	saved := w.saved(t)
	if saved != acknowledged && saved != acknowledged+1 && acknowledged > 0 {
		t.Errorf("killed at %s: got %d commits saved, want the %d acknowledged or one more", at, saved, acknowledged)
	}
	w.expect(t, "killed at "+string(at), want(1, saved))
}

// TestRotatedFilesMayGo deletes what was put away after a kill at each step of it.
func TestRotatedFilesMayGo(t *testing.T) {
	t.Parallel()
	binary, err := failpointBinary()
	if err != nil {
		t.Fatal(err)
	}
	for _, point := range []failpoint.Point{failpoint.FileRotate, failpoint.FileRotating, failpoint.FileRenamed, failpoint.FileCreated, failpoint.FileRotated} {
		t.Run(string(point), func(t *testing.T) {
			w := newWorld(t.TempDir(), rotateAt)
			for range 2 {
				w2 := newWorld(w.dir, rotateAt)
				if _, killed, out := run(t, binary, w.dir, endEnv+"=1000", "CONNECTOR_FAILPOINT="+string(point)); !killed {
					t.Fatalf("%s is not reached; the process said\n%s", point, out)
				}
				numbers, err := rotatedFiles(w2.cfg.Path)
				if err != nil {
					t.Fatal(err)
				}
				for _, n := range numbers {
					if err := os.Remove(rotatedName(w2.cfg.Path, n)); err != nil {
						t.Fatal(err)
					}
				}
			}
			w.use(t, func(s sinks.Session) {
				commit(t, s, head(t, s)+1)
			})
			got := w.records(t)
			if n := len(got); n < 3 || n%3 != 0 {
				t.Errorf("got records %v, want those of whole commits", got)
			}
		})
	}
}

// TestFullDisk leaves no part of a batch that did not fit.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t.TempDir(), 0)
	acknowledged, _, out := run(t, os.Args[0], w.dir, endEnv+"=1000000", limitEnv+"=1000000")
	if !strings.Contains(out, "file too large") || acknowledged < 100 {
		t.Fatalf("got %q, want the write to fail", out)
	}
	w.expect(t, "full disk", want(1, acknowledged))
}
