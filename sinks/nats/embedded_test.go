package nats

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"connector/internal/fault"
)

func TestEmbeddedKeepsData(t *testing.T) {
	dir := t.TempDir()
	all := events(0, 50, 10, 100)
	for range 2 { // the second time everything is there
		e, err := StartEmbedded(dir, quiet())
		if err != nil {
			t.Fatal(err)
		}
		p, err := NewPublisher(t.Context(), testConfig(), e.URL(), quiet())
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Publish(t.Context(), all, nil); err != nil {
			t.Error(err)
		}
		checkStored(t, ids(t, testConfig(), e.URL()), all)
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestEmbeddedTakesNextFreePort(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:4222")
	if err == nil {
		defer func() { _ = l.Close() }()
	}
	first := startEmbedded(t, t.TempDir())
	if err != nil && strings.HasSuffix(first.URL(), ":4222") { // whoever had the port let go of it meanwhile: this one has it now
		first = startEmbedded(t, t.TempDir())
	}
	second := startEmbedded(t, t.TempDir())
	if first.URL() == second.URL() || strings.HasSuffix(first.URL(), ":4222") {
		t.Errorf("got %s and %s, want two ports above 4222", first.URL(), second.URL())
	}
	newPublisher(t, testConfig(), first.URL(), quiet())
	newPublisher(t, testConfig(), second.URL(), quiet())
}

// TestEmbeddedPortTakenSinceProbed makes the server itself find the port taken.
func TestEmbeddedPortTakenSinceProbed(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	e := &Embedded{dir: t.TempDir()}
	if err := e.listen(l.Addr().(*net.TCPAddr).Port, quiet()); !errors.Is(err, errPortTaken) {
		t.Errorf("got %v, want errPortTaken", err)
	}
}

func TestEmbeddedRefusesHeldFolder(t *testing.T) {
	dir := t.TempDir()
	startEmbedded(t, dir)
	var err error
	synctest.Test(t, func(*testing.T) { _, err = StartEmbedded(dir, quiet()) })
	if !fault.IsFatal(err) || !strings.Contains(err.Error(), filepath.Join(dir, "nats")) || !strings.Contains(err.Error(), "CONNECTOR_DATA_DIR") {
		t.Errorf("got %v, want a fatal error that names the folder and CONNECTOR_DATA_DIR", err)
	}
}

func TestEmbeddedRefusesBadFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := StartEmbedded(file, quiet()); !fault.IsFatal(err) {
		t.Errorf("got %v, want a fatal error", err)
	}
}

func TestFindEmbedded(t *testing.T) {
	dir := t.TempDir()
	check := func(when, want string) {
		t.Helper()
		got, err := FindEmbedded(dir)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q and error %v, want %q", when, got, err, want)
		}
		if err != nil && !strings.Contains(err.Error(), "connector run") {
			t.Errorf("%s: got error %v, want it to say what to start", when, err)
		}
	}
	check("never started", "")
	killed := startChild(t, dir)
	check("running in another process", killed.url)
	killed.kill()
	check("killed", "")
	e, err := StartEmbedded(dir, quiet())
	if err != nil {
		t.Fatal(err)
	}
	check("running in this process", e.URL())
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	check("closed", "")
}

func TestServerLog(t *testing.T) {
	got := &testLog{}
	l := &serverLog{log: slog.New(slog.NewTextHandler(got, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	l.Noticef("hidden %d", 1)
	l.Warnf("shown %d", 2)
	l.Fatalf("gave %s", "up")
	l.Fatalf("later")
	if s := got.String(); strings.Contains(s, "hidden") || !strings.Contains(s, "level=WARN") || !strings.Contains(s, "shown 2") {
		t.Errorf("got %q, want only the warning", s)
	}
	if s := l.gaveUp(); s != "gave up" {
		t.Errorf("got %q, want %q", s, "gave up")
	}
}

// TestEmbeddedIsQuiet publishes and reads at level info: nothing is worth a line.
func TestEmbeddedIsQuiet(t *testing.T) {
	log := &testLog{}
	e, err := StartEmbedded(t.TempDir(), slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	p := newPublisher(t, testConfig(), e.URL(), quiet())
	if err := p.Publish(t.Context(), events(0, 10, 10, 10), nil); err != nil {
		t.Error(err)
	}
	ids(t, testConfig(), e.URL())
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if log.String() != "" {
		t.Errorf("got log %s, want nothing", log)
	}
}

// TestEmbeddedStopsStoring is what happens when the disk is full: the server
// turns JetStream off until it is started again.
func TestEmbeddedStopsStoring(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir())
	p := newPublisher(t, testConfig(), e.URL(), quiet())
	if err := e.server.ShutdownJetStream(); err != nil {
		t.Fatal(err)
	}
	err := p.Publish(within(t, hang), events(0, 1, 1, 10), nil)
	if !fault.IsFatal(err) || !strings.Contains(err.Error(), "CONNECTOR_DATA_DIR") {
		t.Errorf("got %v, want a fatal error that names CONNECTOR_DATA_DIR", err)
	}
}
