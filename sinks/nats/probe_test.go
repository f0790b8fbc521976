package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"connector/checkpoint"
	checkpointfile "connector/checkpoint/file"
	"connector/internal/fault"
	"connector/sinks"
)

// withFile returns options with a store in a file, and a log.
func withFile(t *testing.T) (sinks.Options, *testLog) {
	t.Helper()
	log, dir := &testLog{}, t.TempDir()
	return sinks.Options{Owner: "a", Log: logTo(log), Store: func(_ context.Context, unit string) (checkpoint.Store, error) {
		return checkpointfile.Open(dir, unit)
	}}, log
}

// checkFallback commits through a sink that cannot store events and state as one.
func checkFallback(t *testing.T, s sinks.Sink, url string) {
	t.Helper()
	if got := s.Guarantee(); got != sinks.DedupedInWindow {
		t.Errorf("got guarantee %q, want %q", got, sinks.DedupedInWindow)
	}
	n, err := s.Open(t.Context(), "u0")
	if err != nil {
		t.Fatal(err)
	}
	c := commitOf(0)
	if err := errors.Join(n.Commit(t.Context(), c), n.Close()); err != nil {
		t.Fatal(err)
	}
	again, err := s.Open(t.Context(), "u0")
	if err != nil {
		t.Fatal(err)
	}
	if got := recoverAll(t, again)[head]; got != "head 0" {
		t.Errorf("got head %q, want %q", got, "head 0")
	}
	if err := errors.Join(again.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	checkStored(t, ids(t, testConfig(), url), c.Events)
}

// TestProbe: what a stream lacks is said with the command that changes it, and
// the sink does without; the stream is left as it is.
func TestProbe(t *testing.T) {
	good := jetstream.StreamConfig{Subjects: []string{"delivery.>"}, Discard: jetstream.DiscardNew, AllowAtomicPublish: true, AllowMsgTTL: true}
	tests := []struct {
		name   string
		change func(*jetstream.StreamConfig)
		want   string // in the log; "" when nothing is missing
	}{
		{"nothing", func(*jetstream.StreamConfig) {}, ""},
		{"no batches", func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false }, "nats stream edit DELIVERY --allow-batch"},
		{"no checkpoint subject", func(c *jetstream.StreamConfig) {
			c.Subjects = []string{"delivery.event.>", "delivery.deadletter.>"}
		}, "nats stream edit DELIVERY --subjects 'delivery.event.>' --subjects 'delivery.deadletter.>' --subjects 'delivery.checkpoint.>'"},
		{"discard old", func(c *jetstream.StreamConfig) { c.Discard, c.MaxMsgs = jetstream.DiscardOld, 100_000 }, "nats stream edit DELIVERY --discard new"},
		{"discard old, no limit", func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld }, ""},
		{"age", func(c *jetstream.StreamConfig) { c.MaxAge, c.AllowMsgTTL = time.Hour, false }, "set its max_age to 0"},
		{"age with TTL", func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }, ""},
		{"no TTL", func(c *jetstream.StreamConfig) { c.AllowMsgTTL = false }, ""},
		{"messages per subject", func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1000 }, "nats stream edit DELIVERY --max-msgs-per-subject -1"},
		{"deny purge", func(c *jetstream.StreamConfig) { c.DenyPurge = true }, "new names"},
		{"memory", func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, "new names"},
		{"small messages", func(c *jetstream.StreamConfig) { c.MaxMsgSize = 100_000 }, "nats stream edit DELIVERY --max-msg-size 1048576"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := startEmbedded(t, t.TempDir())
			js, c := jetStream(t, e.URL()), good
			c.Name = "DELIVERY"
			tt.change(&c)
			stream, err := js.CreateStream(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			before := stream.CachedInfo().Config
			opts, log := withFile(t)
			s, err := NewSink(t.Context(), testConfig(), e.URL(), opts)
			if err != nil {
				t.Fatal(err)
			}
			if said := strings.Contains(log.String(), "cannot store events and checkpoint as one"); said != (tt.want != "") || !strings.Contains(log.String(), tt.want) {
				t.Errorf("got log %s, want %q", log, tt.want)
			}
			if ends := strings.Contains(log.String(), "also ends the checkpoint"); ends != (c.MaxAge > 0 && tt.want == "") {
				t.Errorf("got log %s; a max_age ends a checkpoint that is in the stream, and no other", log)
			}
			if tt.want != "" {
				checkFallback(t, s, e.URL())
			} else {
				if got := s.Guarantee(); got != sinks.ExactlyOnce {
					t.Errorf("got guarantee %q, want exactly once", got)
				}
				n := openUnit(t, s)
				if err := errors.Join(n.Commit(t.Context(), commitOf(0)), n.Close(), s.Close()); err != nil {
					t.Error(err)
				}
			}
			info, err := stream.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if fmt.Sprintf("%+v", info.Config) != fmt.Sprintf("%+v", before) {
				t.Errorf("the stream was changed: got %+v, want %+v", info.Config, before)
			}
		})
	}
}

// TestCheckpointOutOfReach: a stream that holds a checkpoint and lost what it
// needs is refused; a file in its place would know nothing.
func TestCheckpointOutOfReach(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir())
	n := newSession(t, e.URL(), "a")
	js := jetStream(t, e.URL())
	c := n.stream
	c.AllowAtomicPublish = false
	if _, err := js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	opts, _ := withFile(t)
	_, err := NewSink(t.Context(), testConfig(), e.URL(), opts)
	if !fault.IsFatal(err) || !strings.Contains(err.Error(), "it holds a checkpoint") || !strings.Contains(err.Error(), "--allow-batch") {
		t.Errorf("opening: got %v, want a fatal error with the command", err)
	}
	err = n.Commit(within(t, hang), commitOf(0))
	if !fault.IsFatal(err) || !strings.Contains(err.Error(), "--allow-batch") {
		t.Errorf("running: got %v, want a fatal error with the command", err)
	}
}

// TestMaxAge: the checkpoint stays when the messages of its age are deleted.
func TestMaxAge(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir())
	n := newSession(t, e.URL(), "a")
	if err := n.Commit(t.Context(), commitOf(0)); err != nil {
		t.Fatal(err)
	}
	c := n.stream
	c.MaxAge, c.Duplicates = time.Second, time.Second
	if _, err := jetStream(t, e.URL()).UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the events have aged", func() bool { return len(ids(t, testConfig(), e.URL())) == 0 })
	if got := recoverAll(t, newSession(t, e.URL(), "b"))[head]; got != "head 0" {
		t.Errorf("got head %q, want %q", got, "head 0")
	}
}

// TestMaxAgeRestart: a server that starts deletes what is older than max_age, the checkpoint's messages too, which is
// warned of. When a server heeds Nats-TTL then, the warning, ADR 7 and docs/delivery.md are to be changed.
func TestMaxAgeRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e, err := StartEmbedded(dir, quiet())
	if err != nil {
		t.Fatal(err)
	}
	n := newSession(t, e.URL(), "a")
	if err := n.Commit(t.Context(), commitOf(0)); err != nil {
		t.Fatal(err)
	}
	c := n.stream
	c.MaxAge, c.Duplicates = time.Second, time.Second
	if _, err := jetStream(t, e.URL()).UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	time.Sleep(c.MaxAge + time.Second/10)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	opts, log := withFile(t)
	s, err := NewSink(t.Context(), testConfig(), startEmbedded(t, dir).URL(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if !strings.Contains(log.String(), "purge DELIVERY --subject 'delivery.event.>'") {
		t.Errorf("got log %s, want a warning that says what to do", log)
	}
	if _, err := s.Open(within(t, 60*time.Second), "u0"); !fault.IsFatal(err) {
		t.Errorf("got %v, want the checkpoint to be refused", err)
	}
}

// TestOlderServer runs against a server without atomic batches.
func TestOlderServer(t *testing.T) {
	t.Parallel()
	binary, err := exec.LookPath("nats-server-2.11")
	if err != nil {
		t.Skip("nats-server-2.11 is not installed; scripts/tools.sh does that")
	}
	ports := t.TempDir()
	cmd := exec.CommandContext(t.Context(), binary, "-a", loopback, "-p", "-1", "--ports_file_dir", ports, "-js", "-sd", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
	var listens struct{ Nats []string }
	eventually(t, "the server says where it listens", func() bool {
		content, err := os.ReadFile(filepath.Join(ports, fmt.Sprintf("%s_%d.ports", filepath.Base(binary), cmd.Process.Pid)))
		return err == nil && json.Unmarshal(content, &listens) == nil && len(listens.Nats) > 0
	})
	url := listens.Nats[0]
	var nc *natsio.Conn
	eventually(t, "the server takes connections", func() bool {
		nc, err = natsio.Connect(url)
		return err == nil
	})
	t.Logf("NATS server before 2.12: %s", nc.ConnectedServerVersion())
	nc.Close()
	opts, log := withFile(t)
	cfg := testConfig()
	cfg.URL = Servers{url}
	s, err := NewSink(t.Context(), cfg, url, opts)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "has no atomic batches") || !strings.Contains(log.String(), "upgrade it to 2.12") {
		t.Errorf("got log %s, want it to say what to do", log)
	}
	checkFallback(t, s, url)
}
