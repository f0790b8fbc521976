package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"testing"

	"connector/checkpoint"
	"connector/internal/fault"
	"connector/schema"
	"connector/sinks"
)

func testOptions(owner string) sinks.Options {
	return sinks.Options{Owner: owner, Log: quiet(), Store: func(context.Context, string) (checkpoint.Store, error) {
		return nil, errors.New("the file store is not to be used")
	}}
}

func newSink(t testing.TB, url string, opts sinks.Options) sinks.Sink {
	t.Helper()
	s, err := NewSink(t.Context(), testConfig(), url, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if got := s.Guarantee(); got != sinks.ExactlyOnce {
		t.Fatalf("got guarantee %q, want exactly once", got)
	}
	return s
}

func openUnit(t testing.TB, s sinks.Sink) *session {
	t.Helper()
	n, err := s.Open(t.Context(), "u0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n.(*session)
}

func newSession(t testing.TB, url, owner string) *session {
	t.Helper()
	return openUnit(t, newSink(t, url, testOptions(owner)))
}

// head is the key of the head of a stream; a unit's manifest lists these.
const head = "acct/sms/h"

func commitOf(n int) sinks.Commit {
	return sinks.Commit{Events: events(n, 20, 7, 100), State: []checkpoint.Entry{
		{Key: fmt.Sprintf("acct/sms/d/%02d", n%4), Value: fmt.Appendf(nil, "delta %d", n)},
		{Key: fmt.Sprintf("acct/sms/b/%d/0", n), Value: fmt.Appendf(nil, "page %d", n)},
		{Key: head, Value: fmt.Appendf(nil, "head %d", n)},
	}}
}

func recoverAll(t testing.TB, n sinks.Session) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := n.Recover(t.Context(), func(e checkpoint.Entry) error {
		got[e.Key] = string(e.Value)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestCommitAndRecover(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir())
	n := newSession(t, e.URL(), "a")
	if got := recoverAll(t, n); len(got) != 0 {
		t.Errorf("new unit: got %v, want nothing", got)
	}
	var all []schema.Message
	for i := range 10 {
		c := commitOf(i)
		if i == 5 {
			c.State = append(c.State, checkpoint.Entry{Key: "acct/sms/d/03"}, checkpoint.Entry{Key: "acct/sms/b/2/0"})
		}
		if err := n.Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		all = append(all, c.Events...)
	}
	if err := n.Commit(t.Context(), sinks.Commit{State: []checkpoint.Entry{{Key: "acct/sms/d/02"}}}); err != nil {
		t.Fatal(err)
	}
	next := newSession(t, e.URL(), "b")
	want := map[string]string{head: "head 9", "acct/sms/d/00": "delta 8", "acct/sms/d/01": "delta 9", "acct/sms/d/03": "delta 7"}
	if got := recoverAll(t, next); !maps.Equal(got, want) {
		t.Errorf("got state %v, want %v", got, want)
	}
	for key, want := range map[string]string{"acct/sms/b/2/0": "", "acct/sms/b/9/0": "page 9", head: "head 9", "none": "", "acct/sms/d/02": ""} {
		got, err := next.Get(t.Context(), key)
		if err != nil || string(got) != want || (got == nil) != (want == "") {
			t.Errorf("got %s = %q, error %v, want %q", key, got, err, want)
		}
	}
	checkStored(t, ids(t, testConfig(), e.URL()), all)
}

// TestFenced has two owners of a unit: the older one is told by whom it was
// replaced, and nothing of its commit is visible (invariant 9).
func TestFenced(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir())
	older := newSession(t, e.URL(), "older")
	first := commitOf(0)
	if err := older.Commit(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	newer := newSession(t, e.URL(), "newer")
	for range 2 {
		err := older.Commit(t.Context(), commitOf(1))
		if !errors.Is(err, sinks.ErrFenced) || !fault.IsFatal(err) || !strings.Contains(err.Error(), "by newer (") {
			t.Fatalf("got %v, want fenced by newer", err)
		}
	}
	if got := recoverAll(t, newer); got[head] != "head 0" {
		t.Errorf("got head %q, want %q", got[head], "head 0")
	}
	second := commitOf(2)
	if err := newer.Commit(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	checkStored(t, ids(t, testConfig(), e.URL()), append(first.Events, second.Events...))
	if err := older.Commit(t.Context(), commitOf(3)); !errors.Is(err, sinks.ErrFenced) {
		t.Errorf("got %v, want fenced", err)
	}
}

func logTo(l *testLog) *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// TestLostPull swallows the request by which a start, or a reader, asks for
// messages: nobody answers it, and the connection stays.
func TestLostPull(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir())
	all := commitOf(0)
	if err := newSession(t, e.URL(), "a").Commit(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	const pull = "$JS.API.CONSUMER.MSG.NEXT."
	t.Run("start", func(t *testing.T) {
		t.Parallel()
		front := startProxy(t, e.URL())
		front.lose(pull)
		sink, err := NewSink(t.Context(), testConfig(), front.url(), testOptions("b"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = sink.Close() }()
		s, err := sink.Open(within(t, hang), "u0")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("follow", func(t *testing.T) {
		t.Parallel()
		front := startProxy(t, e.URL())
		front.lose(pull)
		done := errors.New("shown")
		err := Tail(within(t, hang), testConfig(), front.url(), sinks.TailOptions{FromStart: true, Follow: true}, func(sinks.Received) error { return done })
		if !errors.Is(err, done) {
			t.Errorf("got %v, want a message", err)
		}
	})
}

// TestTakeoverOfBusyOwner takes a unit over whose owner commits without a pause.
func TestTakeoverOfBusyOwner(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir())
	owner := newSession(t, e.URL(), "a")
	fenced := make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			next := commitOf(i)
			next.Events = events(i, 5, 40, 500)
			if err := owner.Commit(t.Context(), next); err != nil {
				fenced <- err
				return
			}
		}
	}()
	recoverAll(t, newSession(t, e.URL(), "b"))
	if err := <-fenced; !errors.Is(err, sinks.ErrFenced) || !strings.Contains(err.Error(), "b (") {
		t.Errorf("got %v, want it fenced by b", err)
	}
}
