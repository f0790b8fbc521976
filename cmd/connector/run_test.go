package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"connector/internal/testkafka"
	"connector/schema/schematest"
	"connector/sinks/nats"
)

// sinkCases are the sinks that can be read back, with the variables that
// choose them.
func sinkCases(t *testing.T) map[string][]string {
	return map[string][]string{
		"nats": {"CONNECTOR_SINK=nats"},
		"file": {"CONNECTOR_SINK=file", "FILE_PATH=" + filepath.Join(t.TempDir(), "events.ndjson")},
		"kafka": {
			"CONNECTOR_SINK=kafka", "KAFKA_BROKERS=" + strings.Join(testkafka.Brokers(t), ","),
			"KAFKA_TOPIC=" + testkafka.Topic(t), "KAFKA_DEADLETTER_TOPIC=" + testkafka.Topic(t), "KAFKA_CHECKPOINT_TOPIC=" + testkafka.Topic(t), "KAFKA_PARTITIONS=3",
		},
	}
}

// TestRunOnce reads everything, twice, into each sink: a separate reader must
// find each row version that was served, once, and each event must be valid.
func TestRunOnce(t *testing.T) {
	t.Parallel()
	for name, sink := range sinkCases(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, s, vars := simulators(t, 120)
			vars = with(vars, sink...)
			for range 2 {
				if code, _, stderr := command(t.Context(), vars, "run", "--once"); code != exitOK {
					t.Fatalf("run --once: got code %d, want 0; stderr:\n%s", code, stderr)
				}
			}
			running := start(t, with(vars, "CONNECTOR_LOG_LEVEL=debug"), "run") // the embedded NATS server lives in it
			running.ready(t)
			code, stdout, stderr := command(t.Context(), vars, "tail", "--from-start", "--follow=false", "--output=json")
			if code != exitOK {
				t.Fatalf("tail: got code %d, want 0; stderr:\n%s", code, stderr)
			}
			got, want := published(t, stdout), versionList(e.Served(), s.Served())
			if len(want) < 7*120 || !slices.Equal(got, want) {
				t.Errorf("got %d versions, want %d; first that differ: %s", len(got), len(want), difference(got, want))
			}
			if got, reader := thirdParty(t, vars); reader != "" && !slices.Equal(got, want) {
				t.Errorf("%s: got %d versions, want %d; first that differ: %s", reader, len(got), len(want), difference(got, want))
			}
			if code := running.interrupt(t); code != exitOK {
				t.Errorf("SIGTERM: got code %d, want 0; stderr:\n%s", code, running.stderr.String())
			}
			for _, secret := range []string{"HQ_APP_SECURITY", "OTP_APP_KEY"} {
				i := slices.IndexFunc(vars, func(v string) bool { return strings.HasPrefix(v, secret+"=") })
				if value := strings.TrimPrefix(vars[i], secret+"="); strings.Contains(running.stderr.String()+stdout, value) {
					t.Errorf("the output holds the value of %s", secret)
				}
			}
		})
	}
}

// TestStructuredMode publishes in structured mode and goes on in binary mode:
// tail shows no difference.
func TestStructuredMode(t *testing.T) {
	t.Parallel()
	for name, sink := range sinkCases(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, s, vars := simulators(t, 20)
			vars = with(vars, sink...)
			if code, _, stderr := command(t.Context(), with(vars, "CONNECTOR_CLOUDEVENTS=structured"), "run", "--once"); code != exitOK {
				t.Fatalf("run --once: got code %d, want 0; stderr:\n%s", code, stderr)
			}
			running := start(t, vars, "run") // the embedded NATS server lives in it
			running.ready(t)
			code, stdout, stderr := command(t.Context(), vars, "tail", "--from-start", "--follow=false", "--output=json")
			if code != exitOK {
				t.Fatalf("tail: got code %d, want 0; stderr:\n%s", code, stderr)
			}
			got, want := published(t, stdout), versionList(e.Served(), s.Served())
			if len(want) < 7*20 || !slices.Equal(got, want) {
				t.Errorf("got %d versions, want %d; first that differ: %s", len(got), len(want), difference(got, want))
			}
			if n := strings.Count(stdout, `"specversion":"1.0"`); n != len(want) {
				t.Errorf("got %d events with attributes, want %d", n, len(want))
			}
			running.interrupt(t)
		})
	}
}

// published lists the versions in the output of tail, sorted.
func published(t *testing.T, ndjson string) []string {
	t.Helper()
	var list []string
	lines := bufio.NewScanner(strings.NewReader(ndjson))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			Data jsontext.Value `json:"data"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if err := schematest.Event(line.Data); err != nil {
			t.Errorf("invalid event %s: %v", line.Data, err)
		}
		v, err := versionOf(line.Data)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprint(v))
	}
	slices.Sort(list)
	return list
}

func difference(got, want []string) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("got %s, want %s", got[i], want[i])
		}
	}
	return "at the end"
}

// thirdParty reads the sink with kcat or the nats command line, where they
// are installed, and lists the versions found, sorted.
func thirdParty(t *testing.T, vars []string) (versions []string, reader string) {
	t.Helper()
	var args []string
	switch value(vars, "CONNECTOR_SINK") {
	case "kafka":
		args = []string{"kcat", "-C", "-q", "-e", "-o", "beginning", "-b", value(vars, "KAFKA_BROKERS"), "-t", value(vars, "KAFKA_TOPIC"), "-f", "%s\\n"}
	case "nats":
		url, err := nats.FindEmbedded(value(vars, "CONNECTOR_DATA_DIR"))
		if err != nil {
			t.Fatal(err)
		}
		args = []string{"nats", "--server", url, "sub", "delivery.event.>", "--stream", "DELIVERY", "--all", "--raw", "--terminate-at-end"}
	default:
		return nil, ""
	}
	if _, err := exec.LookPath(args[0]); err != nil {
		t.Logf("not read back with %s: it is not installed", args[0])
		return nil, ""
	}
	out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).Output()
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		v, err := versionOf([]byte(line))
		if err != nil {
			t.Fatalf("%s printed %q: %v", args[0], line, err)
		}
		versions = append(versions, fmt.Sprint(v))
	}
	slices.Sort(versions)
	t.Logf("read back with %s: %d events", args[0], len(versions))
	return versions, args[0]
}

var eventsCounted = regexp.MustCompile(`(?m)^connector_events_published_total\{.*\} [1-9]`)

func TestRunServesHealthAndMetrics(t *testing.T) {
	t.Parallel()
	_, _, vars := simulators(t, 20)
	c := start(t, vars, "run")
	base := c.ready(t)
	c.until(t, "events", func() bool {
		_, body := get(base + "/metrics")
		return eventsCounted.MatchString(body)
	})
	if code, body := get(base + "/healthz"); code != http.StatusOK {
		t.Errorf("healthz: got %d %s, want 200", code, body)
	}
	_, body := get(base + "/readyz")
	wantLines(t, "readyz", body, `"ready":true`, `"account":"otp"`, `"guarantee":"exactly once; earlier owners are fenced"`)
	wantLines(t, "log", c.stderr.String(), `guarantee="exactly once; earlier owners are fenced"`)
	if code := c.interrupt(t); code != exitOK {
		t.Errorf("SIGTERM: got code %d, want 0", code)
	}
}

// TestRunStoppedDuringStart stops while a server that accepts and never
// answers holds up the start.
func TestRunStoppedDuringStart(t *testing.T) {
	_, _, vars := simulators(t, 5)
	for name, sink := range map[string]func(addr string) []string{
		"nats":  func(addr string) []string { return []string{"NATS_URL=nats://" + addr} },
		"kafka": func(addr string) []string { return []string{"CONNECTOR_SINK=kafka", "KAFKA_BROKERS=" + addr} },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errors.New("it did not ask the server"))
			defer cancel()
			silent := listener(t)
			var held sync.WaitGroup
			held.Go(func() {
				if conn, err := silent.Accept(); err == nil {
					defer conn.Close()
					cancel()
				}
				<-ctx.Done()
			})
			code, _, stderr := command(ctx, with(vars, sink(silent.Addr().String())...), "run")
			_ = silent.Close()
			held.Wait()
			if code != exitOK || !errors.Is(context.Cause(ctx), context.Canceled) {
				t.Errorf("got code %d, %v, want 0 when it is stopped while the server is silent; stderr:\n%s", code, context.Cause(ctx), stderr)
			}
		})
	}
}

// TestSecondSignalKills interrupts a commit that waits for a reader of the
// standard output.
func TestSecondSignalKills(t *testing.T) {
	_, _, vars := simulators(t, 300)
	unread, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer unread.Close()
	c := startInto(t, stdout, with(vars, "CONNECTOR_SINK=stdout"), "run")
	if err := errors.Join(stdout.Close(), unread.SetReadDeadline(time.Now().Add(patience))); err != nil {
		t.Fatal(err)
	}
	if _, err := unread.Read(make([]byte, 1)); err != nil { // more follows than a pipe holds
		t.Fatalf("waiting for events: %v; stderr:\n%s", err, c.stderr.String())
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-c.ended:
		t.Fatalf("ended after the first signal, in the middle of a commit: %v", err)
	case <-time.After(time.Second): // for the process to take notice
	}
	c.until(t, "its end", func() bool {
		_ = c.Process.Signal(syscall.SIGTERM) // again: on a busy machine it may not have taken notice of the first yet
		return len(c.ended) > 0
	})
	<-c.ended
	if code := c.ProcessState.ExitCode(); code != -1 { // that of a commit which ends by itself is none of a signal
		t.Errorf("got code %d, want death by the signal; stderr:\n%s", code, c.stderr.String())
	}
}

func TestDemo(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, errOut buffer
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"demo", "--for", "5m"}, environment{stdout: &out, stderr: &errOut})
	}()
	awaitText(t, &out, "ekuaibao/flow", "submail/sms")
	cancel()
	code := <-ended
	wantNone(t, "demo", out.String()+errOut.String())
	if code != exitOK {
		t.Errorf("got code %d, want 0; stdout:\n%s\nstderr:\n%s", code, out.String(), errOut.String())
	}
	wantLines(t, "summary", out.String(), "missing 0, duplicates 0, never served 0")
}

// awaitText waits until what is written holds all of want.
func awaitText(t *testing.T, written *buffer, want ...string) {
	t.Helper()
	lacks := func(w string) bool { return !strings.Contains(written.String(), w) }
	for deadline := time.Now().Add(patience); slices.ContainsFunc(want, lacks); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("got\n%s\nwant %q in it within %v", written.String(), want, patience)
		}
	}
}

// TestDemoEndsAtOnce has no time to read.
func TestDemoEndsAtOnce(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := command(t.Context(), nil, "demo", "--for", "1ns")
	if code != exitOK {
		t.Errorf("got code %d, want 0; stdout:\n%s\nstderr:\n%s", code, stdout, stderr)
	}
	wantLines(t, "summary", stdout, "missing 0, duplicates 0, never served 0")
}
