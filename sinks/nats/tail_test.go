package nats

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"connector/internal/fault"
	"connector/sinks"
)

// TestTailSurvivesRestart follows across a killed server: each message is
// shown once, in order.
func TestTailSurvivesRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := startChild(t, dir)
	front := startProxy(t, server.url)
	p := newPublisher(t, testConfig(), front.url(), quiet())
	ctx, cancel := context.WithCancel(t.Context())
	got, done := make(chan string), make(chan error, 1)
	go func() {
		done <- Tail(ctx, testConfig(), front.url(), sinks.TailOptions{FromStart: true, Follow: true}, func(r sinks.Received) error {
			select {
			case got <- r.Attribute("id"):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	for batch := range 3 {
		all := events(batch, 5, 2, 10)
		if err := p.Publish(t.Context(), all, nil); err != nil {
			t.Fatal(err)
		}
		for i, m := range all {
			select {
			case id := <-got:
				if id != m.ID {
					t.Errorf("batch %d, message %d: got id %s, want %s", batch, i, id, m.ID)
				}
			case err := <-done:
				t.Fatalf("tail ended: %v", err)
			case <-time.After(hang):
				t.Fatalf("batch %d: message %d is not shown", batch, i)
			}
		}
		front.down()
		server.kill()
		server = startChild(t, dir)
		front.set(server.url, false)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestTailRefuses(t *testing.T) {
	e := startEmbedded(t, t.TempDir())
	yield := func(sinks.Received) error { return nil }
	err := Tail(t.Context(), testConfig(), e.URL(), sinks.TailOptions{}, yield)
	if !fault.IsFatal(err) || !strings.Contains(err.Error(), "NATS_STREAM") {
		t.Errorf("no stream: got %v, want a fatal error that names NATS_STREAM", err)
	}
	err = Tail(t.Context(), testConfig(), "nats://nats.invalid:4222", sinks.TailOptions{}, yield)
	if !fault.IsFatal(err) || !strings.Contains(err.Error(), "NATS_URL") {
		t.Errorf("no server: got %v, want a fatal error that names NATS_URL", err)
	}
}
