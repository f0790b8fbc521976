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
func fill(ctx context.Context, n *session) (failed sinks.Commit, all []schema.Message, err error) {
	for i := range 50 {
		c := commitOf(i)
		c.Events = events(i, 200, 7, 100)
		if err := n.Commit(ctx, c); err != nil {
			return c, all, err
		}
		all = append(all, c.Events...)
	}
	return failed, all, errors.New("storage does not run out")
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
			if err := n.Commit(within(t, hang), c); err != nil {
				done <- err
				return
			}
			all = append(all, c.Events...)
		}
		done <- nil
	}()
	eventually(t, "the log says what to do", func() bool { return strings.Contains(log.String(), advice) })
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
	said := strings.Count(log.String(), advice)
	err := cancelled(t, func(ctx context.Context) error { _, _, err := fill(ctx, n); return err },
		"the stream is full again", func() bool { return strings.Count(log.String(), advice) > said })
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "maximum bytes") {
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
	const torn = "the part is deleted"
	var all []schema.Message
	done := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < 3 && err == nil && !strings.Contains(log.String(), torn); i++ {
			c := commitOf(i)
			c.Events = events(i, 200+400*i, 7, 100)
			err = n.Commit(within(t, hang), c)
			all = append(all, c.Events...)
		}
		done <- err
	}()
	eventually(t, "storage ran out", func() bool { return len(done) > 0 || strings.Contains(log.String(), torn) })
	if err := other.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), torn) {
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
			failed, all, err := fill(within(t, hang), n)
			if !fault.IsFatal(err) || !strings.Contains(err.Error(), "free space under CONNECTOR_DATA_DIR and restart") {
				t.Errorf("got %v, want a fatal error that says to restart", err)
			}
			if again := n.Commit(t.Context(), failed); again == nil {
				t.Error("a commit after one in doubt is taken")
			}
			child.kill()
			if !tt.copy { // the server tries to complete the batch, fails, and forgets its copy
				child = startChild(t, dir, limitEnv+"=300000")
				if _, err := newSink(t, child.url, testOptions("b")).Open(within(t, hang), "u0"); !fault.IsFatal(err) || !strings.Contains(err.Error(), "free space under CONNECTOR_DATA_DIR and restart") {
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
	if _, err := View(within(t, hang), testConfig(), e.URL(), "u0"); !fault.IsFatal(err) || !strings.Contains(err.Error(), "a part of a commit only") {
		t.Errorf("viewed: got %v, want a fatal error that says so", err)
	}
	next := newSession(t, e.URL(), "b")
	if got := recoverAll(t, next); got[head] != "head 0" || got["acct/sms/d/00"] != "delta 0" {
		t.Errorf("got %v, want the state of the last commit", got)
	}
}
