package nats

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"connector/checkpoint"
	"connector/internal/fault"
	"connector/schema"
	"connector/sinks"
)

// fenceOf reads the fence past proxies.
func fenceOf(t testing.TB, n *session) uint64 {
	t.Helper()
	m, err := n.last(t.Context(), n.at.subject(checkpoint.FenceKey))
	if err != nil || m == nil {
		t.Fatalf("got fence %v, error %v", m, err)
	}
	return m.seq
}

// direct returns a session's view of the stream that no proxy disturbs; it
// takes nothing over.
func direct(t testing.TB, url string) *session {
	t.Helper()
	c, err := newClient(t.Context(), testConfig(), url, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.conn.Close)
	return &session{client: c, at: placeOf(&c.cfg, "u0")}
}

// TestLostAnswer loses the answer to a commit that the server stored: it is
// not stored again.
func TestLostAnswer(t *testing.T) {
	for _, tt := range []struct {
		name string
		cut  bool
	}{{"cut", true}, {"half-open", false}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := startEmbedded(t, t.TempDir())
			front := startProxy(t, e.URL())
			log := &testLog{}
			opts := testOptions("a")
			opts.Log = logTo(log)
			n, at := openUnit(t, newSink(t, front.url(), opts)), direct(t, e.URL())
			var all []schema.Message
			for i := range 3 {
				c := commitOf(i)
				all = append(all, c.Events...)
				before := fenceOf(t, at)
				front.set(e.URL(), true)
				done := make(chan error, 1)
				go func() { done <- n.Commit(within(t, hang), c) }()
				eventually(t, "the commit is stored", func() bool { return fenceOf(t, at) != before })
				stored := fenceOf(t, at)
				front.set(e.URL(), false)
				if tt.cut {
					front.cut()
				}
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				if got := fenceOf(t, at); got != stored {
					t.Errorf("got fence %d, want %d: stored again", got, stored)
				}
				if !tt.cut {
					break // it takes long
				}
			}
			checkStored(t, ids(t, testConfig(), e.URL()), all)
		})
	}
}

// commits makes commits in the background until stop is closed.
type commits struct {
	stop, done chan struct{}
	made       chan int
	all        []schema.Message // after done
	last       string           // head; after done
}

func startCommits(t testing.TB, n *session, size int) *commits {
	c := &commits{stop: make(chan struct{}), done: make(chan struct{}), made: make(chan int, 1<<12)}
	go func() {
		defer close(c.done)
		for i := 0; ; i++ {
			select {
			case <-c.stop:
				return
			default:
			}
			next := commitOf(i)
			next.Events = events(i, size, 40, 500)
			if err := n.Commit(t.Context(), next); err != nil {
				t.Errorf("commit %d: %v", i, err)
				return
			}
			c.all, c.last = append(c.all, next.Events...), string(next.State[2].Value)
			c.made <- i
		}
	}()
	return c
}

func (c *commits) progress(t testing.TB) {
	t.Helper()
	for range 2 {
		select {
		case <-c.made:
		case <-c.done:
			t.Fatal("commits ended")
		case <-time.After(hang):
			t.Fatal("commits do not go on")
		}
	}
	for len(c.made) > 0 {
		<-c.made
	}
}

func (c *commits) check(t *testing.T, url string) {
	t.Helper()
	close(c.stop)
	<-c.done
	got := ids(t, testConfig(), url)
	checkStored(t, got, c.all)
	if head := recoverAll(t, newSession(t, url, "next"))[head]; head != c.last {
		t.Errorf("got head %q, want %q", head, c.last)
	}
	t.Logf("%d events committed, %d stored", len(c.all), len(got))
}

// TestServerKilled kills the server in the middle of commits.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := startChild(t, dir)
	front := startProxy(t, server.url)
	c := startCommits(t, newSession(t, front.url(), "a"), 300)
	for kills := range 5 {
		c.progress(t)
		time.Sleep(time.Duration(4*kills) * time.Millisecond)
		front.down()
		server.kill()
		server = startChild(t, dir)
		front.set(server.url, false)
	}
	c.progress(t)
	c.check(t, server.url)
}

// TestConnectionCut cuts connections and swallows answers at any moment.
func TestConnectionCut(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir())
	front := startProxy(t, e.URL())
	c := startCommits(t, newSession(t, front.url(), "a"), 300)
	for cuts := range 6 {
		c.progress(t)
		time.Sleep(time.Duration(3*cuts) * time.Millisecond)
		front.set(e.URL(), cuts%2 == 0)
		time.Sleep(time.Duration(2*cuts) * time.Millisecond)
		front.cut()
		front.set(e.URL(), false)
	}
	c.progress(t)
	c.check(t, e.URL())
}

// TestSlowConnection commits through one that takes its time.
func TestSlowConnection(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir())
	front := startProxy(t, e.URL())
	front.slow(2 * time.Millisecond)
	n := newSession(t, front.url(), "a")
	c := commitOf(0)
	c.Events = events(0, 500, 40, 500)
	if err := n.Commit(within(t, hang), c); err != nil {
		t.Fatal(err)
	}
	checkStored(t, ids(t, testConfig(), e.URL()), c.Events)
}

// TestStuckConnection: a network that takes nothing holds up neither the end of
// the context nor closing.
func TestStuckConnection(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir())
	front := startProxy(t, e.URL())
	sink := newSink(t, front.url(), testOptions("a"))
	n, err := sink.Open(t.Context(), "u0")
	if err != nil {
		t.Fatal(err)
	}
	p := newPublisher(t, testConfig(), front.url(), quiet())
	front.slow(2 * time.Second) // for each kilobyte
	large := events(0, 300, 40, 60_000)
	for name, send := range map[string]func(context.Context) error{
		"session":   func(ctx context.Context) error { return n.Commit(ctx, sinks.Commit{Events: large}) },
		"publisher": func(ctx context.Context) error { return p.Publish(ctx, large, nil) },
	} {
		soon := time.Now().Add(500 * time.Millisecond)
		if err := cancelled(t, send, "a while passed", func() bool { return time.Now().After(soon) }); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want the end of the context", name, err)
		}
	}
	start := time.Now()
	if err := errors.Join(n.Close(), sink.Close()); err != nil || time.Since(start) >= promptly {
		t.Errorf("closing: got %v after %v", err, time.Since(start))
	}
}

// TestEndedInDoubt: when nobody says whether a commit is stored before the
// context ends, the session takes no other.
func TestEndedInDoubt(t *testing.T) {
	t.Parallel()
	server := startChild(t, t.TempDir())
	front := startProxy(t, server.url)
	n := newSession(t, front.url(), "a")
	if err := n.Commit(t.Context(), commitOf(0)); err != nil {
		t.Fatal(err)
	}
	at := direct(t, server.url)
	before := fenceOf(t, at)
	front.set(server.url, true)
	err := cancelled(t, func(ctx context.Context) error { return n.Commit(ctx, commitOf(1)) },
		"the commit is stored", func() bool { return fenceOf(t, at) != before })
	if err == nil {
		t.Fatal("got no error, want one")
	}
	front.set(server.url, false)
	front.cut()
	if again := n.Commit(t.Context(), commitOf(2)); again == nil || again.Error() != err.Error() {
		t.Errorf("got %v, want %v again", again, err)
	}
	if got := recoverAll(t, newSession(t, server.url, "b"))[head]; got != "head 1" {
		t.Errorf("got %q, want the commit that was stored without an answer", got)
	}
}

// TestLostState deletes parts of a checkpoint: that is never a new one.
func TestLostState(t *testing.T) {
	for _, tt := range []struct{ name, key, want string }{
		{"head", head, "acct/sms/h"},
		{"manifest", checkpoint.ManifestKey, "manifest"},
		{"fence", checkpoint.FenceKey, "there is no checkpoint"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := startEmbedded(t, t.TempDir())
			n := newSession(t, e.URL(), "a")
			for i := range 3 {
				if err := n.Commit(t.Context(), commitOf(i)); err != nil {
					t.Fatal(err)
				}
			}
			m, err := n.last(t.Context(), n.at.subject(tt.key))
			if err != nil {
				t.Fatal(err)
			}
			if err := n.remove(t.Context(), m.seq); err != nil {
				t.Fatal(err)
			}
			next, err := newSink(t, e.URL(), testOptions("b")).Open(within(t, hang), "u0")
			if !fault.IsFatal(err) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, %v, want a fatal error with %q", next, err, tt.want)
			}
			if tt.key == checkpoint.FenceKey {
				err := n.Commit(within(t, hang), commitOf(3))
				if !fault.IsFatal(err) || !strings.Contains(err.Error(), "fence of its checkpoint was deleted") {
					t.Errorf("got %v, want a fatal error that says so", err)
				}
			}
			if got := len(ids(t, testConfig(), e.URL())); got != 60 {
				t.Errorf("got %d events, want 60", got)
			}
		})
	}
}

// TestPurgedStream empties the stream under an owner, checkpoint and all: the
// next start does not publish everything again unless asked to.
func TestPurgedStream(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir())
	n := newSession(t, e.URL(), "a")
	if err := n.Commit(t.Context(), commitOf(0)); err != nil {
		t.Fatal(err)
	}
	if err := n.purge(t.Context(), "", 0); err != nil {
		t.Fatal(err)
	}
	if err := n.Commit(within(t, hang), commitOf(1)); !fault.IsFatal(err) {
		t.Errorf("got %v, want a fatal error", err)
	}
	opts := testOptions("b")
	if _, err := newSink(t, e.URL(), opts).Open(within(t, hang), "u0"); !errors.Is(err, checkpoint.ErrNoUnit) || !fault.IsFatal(err) || !strings.Contains(err.Error(), "all that NATS stream DELIVERY held was deleted") {
		t.Errorf("got %v, want a refusal that says why", err)
	}
	opts.New = true
	if err := openUnit(t, newSink(t, e.URL(), opts)).Commit(t.Context(), commitOf(2)); err != nil {
		t.Error(err)
	}
}

// TestServerLosesCommits restores an older stream under a running owner.
func TestServerLosesCommits(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir())
	n := newSession(t, e.URL(), "a")
	if err := n.Commit(t.Context(), commitOf(0)); err != nil {
		t.Fatal(err)
	}
	n.expect += 1000
	err := n.Commit(within(t, hang), commitOf(1))
	if !fault.IsFatal(err) || errors.Is(err, sinks.ErrFenced) || !strings.Contains(err.Error(), "lost commits") {
		t.Errorf("got %v, want a fatal error that is not fenced", err)
	}
}

// TestRejected lists every message that is too large, and stores none.
func TestRejected(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir())
	n := newSession(t, e.URL(), "a")
	c := commitOf(0)
	c.Events[3].Body = []byte(strings.Repeat("x", n.Limits().MaxMessageBytes+1))
	c.Events[9].RecordID = strings.Repeat("长", 10_000)
	c.Dead = events(1, 2, 2, 10)
	c.Dead[1].Body = c.Events[3].Body
	err := n.Commit(t.Context(), c)
	rejected, ok := errors.AsType[*sinks.RejectedError](err)
	if !ok {
		t.Fatalf("got %v, want rejections", err)
	}
	got := []string{}
	for _, r := range rejected.Messages {
		class, _ := fault.Class(r.Err)
		got = append(got, fmt.Sprintf("%v %d %s", r.Dead, r.Index, class))
	}
	if want := "[false 3 too_large false 9 too_large true 1 too_large]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := ids(t, testConfig(), e.URL()); len(got) != 0 {
		t.Errorf("got %d events, want none", len(got))
	}
	c.Events, c.Dead = append(c.Events[:3:3], c.Events[4:9]...), c.Dead[:1]
	if err := n.Commit(t.Context(), c); err != nil {
		t.Error(err)
	}
	checkStored(t, ids(t, testConfig(), e.URL()), c.Events)
}
