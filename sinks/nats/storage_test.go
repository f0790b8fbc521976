package nats

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"connector/checkpoint"
	"connector/internal/fault"
	"connector/schema"
	"connector/sinks"
)

// fill commits until that fails, and returns the commit that failed and the
// events of those before.
func fill(t *testing.T, n *session, limit time.Duration) (failed sinks.Commit, all []schema.Message, err error) {
	t.Helper()
	for i := range 50 {
		c := commitOf(i)
		c.Events = events(i, 200, 7, 100)
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		err := n.Commit(ctx, c)
		cancel()
		if err != nil {
			return c, all, err
		}
		all = append(all, c.Events...)
	}
	t.Fatal("storage does not run out")
	return failed, all, nil
}

// TestFullStreamWaits: a stream that refuses more keeps a commit waiting, says
// why, and nothing is lost when there is room again.
func TestFullStreamWaits(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir())
	js := jetStream(t, e.URL())
	cfg := testConfig()
	cfg.URL = Servers{e.URL()}
	stream := streamConfig(&cfg)
	stream.MaxBytes = 300_000
	if _, err := js.CreateStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	log := &testLog{}
	opts := testOptions("a")
	opts.Log = logTo(log)
	n := openUnit(t, newSink(t, e.URL(), opts))
	const advice = "delete old messages, or raise its limits"
	var all []schema.Message
	done := make(chan error, 1)
	go func() {
		for i := 0; !strings.Contains(log.String(), advice); i++ {
			c := commitOf(i)
			c.Events = events(i, 200, 7, 100)
			if err := n.Commit(within(t, 30*time.Second), c); err != nil {
				done <- err
				return
			}
			all = append(all, c.Events...)
		}
		done <- nil
	}()
	for end := time.Now().Add(20 * time.Second); !strings.Contains(log.String(), advice); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("got log %s, want it to say what to do", log)
		}
	}
	time.Sleep(200 * time.Millisecond)
	before := len(ids(t, testConfig(), e.URL()))
	stream.MaxBytes = 1 << 20
	if _, err := js.UpdateStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	checkStored(t, ids(t, testConfig(), e.URL()), all)
	if want := len(all) - 200; before != want {
		t.Errorf("got %d events while the stream was full, want %d", before, want)
	}
	if _, _, err := fill(t, n, 2*time.Second); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "maximum bytes") {
		t.Errorf("got %v, want the end of the context with the cause", err)
	}
}

// TestStorageRunsOut lets the server's own limit strike in the middle of a
// commit, which leaves a part of it behind: the part is deleted, and the commit
// stored once there is room.
func TestStorageRunsOut(t *testing.T) {
	t.Parallel()
	s := startServer(t, &server.Options{JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 600_000, JetStreamMaxMemory: 1 << 20})
	cfg, log := testConfig(), &testLog{}
	cfg.URL = Servers{s.ClientURL()}
	js := jetStream(t, s.ClientURL())
	other, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"other"}})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if _, err := js.Publish(t.Context(), "other", make([]byte, 10_000)); err != nil {
			t.Fatal(err)
		}
	}
	opts := testOptions("a")
	opts.Log = logTo(log)
	sink, err := NewSink(t.Context(), cfg, s.ClientURL(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sink.Close() }()
	n := openUnit(t, sink)
	stop := context.AfterFunc(within(t, batchWait), func() { _ = other.Purge(context.WithoutCancel(t.Context())) })
	defer stop()
	var all []schema.Message
	for i := range 3 {
		c := commitOf(i)
		c.Events = events(i, 200+400*i, 7, 100)
		if err := n.Commit(within(t, 60*time.Second), c); err != nil {
			t.Fatal(err)
		}
		all = append(all, c.Events...)
		if strings.Contains(log.String(), "the part is deleted") {
			break
		}
	}
	if !strings.Contains(log.String(), "the part is deleted") {
		t.Errorf("got log %s, want a torn batch", log)
	}
	checkStored(t, ids(t, testConfig(), s.ClientURL()), all)
}

// TestFullDisk lets writes fail in the middle of a commit. The embedded server
// stores nothing from then on. After a restart the server completes the batch
// from a copy of its own; when it could not, the part is deleted.
func TestFullDisk(t *testing.T) {
	for _, tt := range []struct {
		name string
		copy bool
	}{{"space is freed", true}, {"started while full", false}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			child := startChild(t, dir, limitEnv+"=300000")
			n := newSession(t, child.url, "a")
			failed, all, err := fill(t, n, 30*time.Second)
			if !fault.IsFatal(err) || !strings.Contains(err.Error(), "free space under CONNECTOR_DATA_DIR and restart") {
				t.Errorf("got %v, want a fatal error that says to restart", err)
			}
			if again := n.Commit(t.Context(), failed); again == nil {
				t.Error("a commit after one in doubt is taken")
			}
			child.kill()
			if !tt.copy { // the server tries to complete the batch, fails, and forgets its copy
				child = startChild(t, dir, limitEnv+"=300000")
				if _, err := newSink(t, child.url, testOptions("b")).Open(within(t, 30*time.Second), "u0"); !fault.IsFatal(err) || !strings.Contains(err.Error(), "free space under CONNECTOR_DATA_DIR and restart") {
					t.Errorf("started on the full disk: got %v, want a fatal error that says to restart", err)
				}
				child.kill()
			}
			child = startChild(t, dir)
			if torn := len(ids(t, testConfig(), child.url)) - len(all); torn <= 0 {
				t.Fatalf("got %d events of the commit, want some", torn)
			}
			next := newSession(t, child.url, "b")
			want := string(commitOf(len(all)/200 - 1).State[2].Value)
			if tt.copy {
				all, want = append(all, failed.Events...), string(failed.State[2].Value)
			}
			if got := recoverAll(t, next)[head]; got != want {
				t.Errorf("got head %q, want %q", got, want)
			}
			checkStored(t, ids(t, testConfig(), child.url), all)
			if !tt.copy {
				if err := next.Commit(t.Context(), failed); err != nil {
					t.Error(err)
				}
				checkStored(t, ids(t, testConfig(), child.url), append(all, failed.Events...))
			}
		})
	}
}

// TestTornState: a part of a commit that reaches into its state leaves the
// state before it whole.
func TestTornState(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir())
	n := newSession(t, e.URL(), "a")
	if err := n.Commit(t.Context(), commitOf(0)); err != nil {
		t.Fatal(err)
	}
	// The batch is whole for the server and torn for the connector: what the
	// server stores under a fence's subject is none when it commits nothing.
	b := &batch{state: []checkpoint.Entry{{Key: head, Value: []byte("torn")}, {Key: "acct/sms/d/00", Value: []byte("torn")}}}
	if _, err := n.attempt(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	last, err := n.last(t.Context(), "delivery.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.remove(t.Context(), last.seq); err != nil { // the end of the batch
		t.Fatal(err)
	}
	if _, err := View(within(t, 20*time.Second), testConfig(), e.URL(), "u0"); !fault.IsFatal(err) || !strings.Contains(err.Error(), "a part of a commit only") {
		t.Errorf("viewed: got %v, want a fatal error that says so", err)
	}
	next := newSession(t, e.URL(), "b")
	if got := recoverAll(t, next); got[head] != "head 0" || got["acct/sms/d/00"] != "delta 0" {
		t.Errorf("got %v, want the state of the last commit", got)
	}
}
