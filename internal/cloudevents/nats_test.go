package cloudevents

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	cenats "github.com/cloudevents/sdk-go/protocol/nats/v2"
	cejetstream "github.com/cloudevents/sdk-go/protocol/nats_jetstream/v2"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/protocol"
	natsio "github.com/nats-io/nats.go"

	"connector/checkpoint"
	"connector/schema"
	"connector/sinks"
	"connector/sinks/nats"
)

func noState(checkpoint.Entry) error { return nil }

// decodeHeader undoes the percent-encoding of the NATS binding (1.0.3, 3.1.3.2),
// which the SDK leaves to its user.
func decodeHeader(s string) string {
	decoded, err := url.PathUnescape(s)
	if err != nil {
		return "not encoded: " + s
	}
	return decoded
}

// TestJetStream reads both kinds of messages with the SDK's JetStream consumer.
func TestJetStream(t *testing.T) {
	for mode, f := range both {
		t.Run(mode, func(t *testing.T) {
			address := server(t)
			events, dead := messages(t, f)
			commit(t, natsSink(t, address), events, dead)
			decode := plain
			if !f.Structured {
				decode = decodeHeader
			}
			for kind, want := range map[string][]schema.Message{"event": events, "deadletter": dead} {
				c, err := cejetstream.NewConsumer(address, "DELIVERY", "delivery."+kind+".>", nil, nil, []natsio.SubOpt{natsio.DeliverAll()})
				if err != nil {
					t.Fatal(err)
				}
				open(t, c)
				check(t, receive(t, c, len(want)), want, decode)
			}
		})
	}
}

// TestCoreNATS reads with a plain subscription: the SDK's consumer of core NATS,
// which knows structured mode only, as version 1.0.2 of the binding, and its
// JetStream message on what a subscription gives.
func TestCoreNATS(t *testing.T) {
	t.Run("structured", func(t *testing.T) {
		address := server(t)
		events, dead := messages(t, schema.Format{Structured: true})
		sink := natsSink(t, address)
		c, err := cenats.NewConsumer(address, "delivery.event.>", nil)
		if err != nil {
			t.Fatal(err)
		}
		open(t, c)
		subscribed(t, c.Conn)
		commit(t, sink, events, dead)
		check(t, receive(t, c, len(events)), events, plain)
	})
	for mode, f := range both {
		t.Run("subscription, "+mode, func(t *testing.T) {
			address := server(t)
			events, dead := messages(t, f)
			sink := natsSink(t, address)
			conn, err := natsio.Connect(address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			sub, err := conn.SubscribeSync("delivery.event.>")
			if err != nil {
				t.Fatal(err)
			}
			subscribed(t, conn)
			commit(t, sink, events, dead)
			var got []event.Event
			for range events {
				msg, err := sub.NextMsg(patience)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, read(t, cejetstream.NewMessage(msg)))
			}
			decode := plain
			if !f.Structured {
				decode = decodeHeader
			}
			check(t, got, events, decode)
		})
	}
}

// server starts the embedded server.
func server(t *testing.T) (address string) {
	t.Helper()
	e, err := nats.StartEmbedded(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e.URL()
}

func natsSink(t *testing.T, address string) sinks.Sink {
	t.Helper()
	cfg := nats.Config{Stream: "DELIVERY", SubjectPrefix: "delivery"}
	sink, err := nats.NewSink(t.Context(), cfg, address, sinks.Options{Owner: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return sink
}

// subscribed waits until conn has a subscription, and the server knows it.
func subscribed(t *testing.T, conn *natsio.Conn) {
	t.Helper()
	for end := time.Now().Add(patience); conn.NumSubscriptions() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no subscription")
		}
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
}

// consumer is what the SDK's consumers have in common.
type consumer interface {
	protocol.Receiver
	protocol.Opener
}

// open opens a consumer until the test ends.
func open(t *testing.T, c consumer) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.OpenInbound(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if !ended(err) && !strings.Contains(fmt.Sprint(err), "closed") {
				t.Errorf("closing a consumer of the SDK: %v", err)
			}
		case <-time.After(patience):
			t.Error("a consumer of the SDK does not end")
		}
	})
}
