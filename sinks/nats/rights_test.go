package nats

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"connector/internal/fault"
	"connector/sinks"
)

// TestMissingRights names what the user must be allowed, at the start where
// that can be found out.
func TestMissingRights(t *testing.T) {
	api := []string{"$JS.API.INFO", "$JS.API.STREAM.INFO.>", "$JS.API.STREAM.CREATE.>", "$JS.API.STREAM.MSG.GET.>", "$JS.API.STREAM.PURGE.>", "$JS.API.CONSUMER.>", "delivery.>"}
	tests := []struct {
		name    string
		without string
		open    bool // whether opening works
	}{
		{"all", "none", true},
		{"account", "$JS.API.INFO", false},
		{"reading", "$JS.API.STREAM.MSG.GET.>", false},
		{"purge", "$JS.API.STREAM.PURGE.>", false},
		{"consumer", "$JS.API.CONSUMER.>", false},
		{"checkpoint", "delivery.>", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var allowed []string
			for _, a := range api {
				if a != tt.without {
					allowed = append(allowed, a)
				}
			}
			s := startServer(t, &server.Options{JetStream: true, StoreDir: t.TempDir(), Users: []*server.User{{Username: "u", Password: "canary-p", Permissions: permissions(allowed...)}}})
			cfg := testConfig()
			cfg.User, cfg.Password = "u", secretOf("canary-p")
			start := time.Now()
			sink, err := NewSink(t.Context(), cfg, s.ClientURL(), testOptions("a"))
			if err == nil {
				defer func() { _ = sink.Close() }()
				var n sinks.Session
				if n, err = sink.Open(within(t, hang), "u0"); err == nil {
					err = errors.Join(n.Commit(t.Context(), commitOf(0)), n.Close())
				}
			}
			if tt.open && err != nil {
				t.Error(err)
			}
			if !tt.open && (!fault.IsFatal(err) || !strings.Contains(err.Error(), "let the user publish to delivery.>")) {
				t.Errorf("got %v, want a fatal error that names the permissions", err)
			}
			if d := time.Since(start); !tt.open && d > promptly {
				t.Errorf("it took %v to notice", d)
			}
		})
	}
}

// TestRightsTaken takes a login away from a running owner.
func TestRightsTaken(t *testing.T) {
	t.Parallel()
	opts := &server.Options{JetStream: true, StoreDir: t.TempDir(), Username: "u", Password: "canary-old"}
	s := startServer(t, opts)
	cfg := testConfig()
	cfg.User, cfg.Password = "u", secretOf("canary-old")
	sink, err := NewSink(t.Context(), cfg, s.ClientURL(), testOptions("a"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sink.Close() }()
	n := openUnit(t, sink)
	changed := *opts
	changed.Password = "new"
	if err := s.ReloadOptions(&changed); err != nil {
		t.Fatal(err)
	}
	if err := n.Commit(within(t, hang), commitOf(0)); !fault.IsFatal(err) || !strings.Contains(err.Error(), "NATS_PASSWORD") {
		t.Errorf("got %v, want a fatal error that names the login", err)
	}
}

// TestStreamDeleted deletes the stream of a running owner.
func TestStreamDeleted(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir())
	n := newSession(t, e.URL(), "a")
	if err := n.js.DeleteStream(t.Context(), "DELIVERY"); err != nil {
		t.Fatal(err)
	}
	err := n.Commit(within(t, hang), commitOf(0))
	if !fault.IsFatal(err) || !strings.Contains(err.Error(), "stream not found") {
		t.Errorf("got %v, want a fatal error that says so", err)
	}
}

// TestTakeoverRace opens a unit from several owners at once while an older
// one commits: one can commit in the end, and each event is stored once.
func TestTakeoverRace(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir())
	old := newSession(t, e.URL(), "old")
	all := commitOf(0)
	if err := old.Commit(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	owners := make([]*session, 6)
	var group sync.WaitGroup
	group.Go(func() {
		for i := 1; ; i++ {
			c := commitOf(i)
			err := old.Commit(t.Context(), c)
			if err != nil {
				if !errors.Is(err, sinks.ErrFenced) {
					t.Errorf("got %v, want fenced", err)
				}
				return
			}
			all.Events = append(all.Events, c.Events...)
		}
	})
	for i := range owners {
		sink := newSink(t, e.URL(), testOptions(string(rune('a'+i))))
		group.Go(func() {
			n, err := sink.Open(t.Context(), "u0")
			if err != nil {
				t.Error(err)
				return
			}
			owners[i] = n.(*session)
		})
	}
	group.Wait()
	won := 0
	for i, n := range owners {
		if n == nil {
			t.FailNow()
		}
		c := commitOf(1_000_000 + i)
		switch err := n.Commit(t.Context(), c); {
		case err == nil:
			won++
			all.Events = append(all.Events, c.Events...)
		case !errors.Is(err, sinks.ErrFenced):
			t.Errorf("got %v, want fenced", err)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d owners could commit, want 1", won)
	}
	checkStored(t, ids(t, testConfig(), e.URL()), all.Events)
}
