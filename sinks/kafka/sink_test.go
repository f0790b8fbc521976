package kafka

import (
	"context"
	"log/slog"
	"net"
	"testing"

	"connector/checkpoint"
	"connector/internal/testkafka"
	"connector/sinks"
	"connector/sinks/sinktest"
)

func TestConformance(t *testing.T) {
	cfg := testConfig(t, testkafka.Brokers(t))
	testkafka.Create(t, cfg.Brokers, cfg.CheckpointTopic, 4, "cleanup.policy", "compact", "max.message.bytes", "8388608")
	target := sinktest.Target{
		Open: func(ctx context.Context) (sinks.Sink, error) {
			return newSink(ctx, cfg, sinks.Options{Owner: "test", Log: slog.New(slog.DiscardHandler)}, new(net.Dialer).DialContext)
		},
		Tail: func(ctx context.Context, opts sinks.TailOptions, yield func(sinks.Received) error) error {
			return Tail(ctx, cfg, opts, yield)
		},
		View: func(ctx context.Context, unit string) (checkpoint.Reader, error) { return View(ctx, cfg, unit) },
		PublishOnly: func(ctx context.Context, _ sinks.Sink, session sinks.Session, c sinks.Commit) error {
			return session.(*idempotent).publisher.Publish(ctx, c.Events, c.Dead)
		},
	}
	if err := sinktest.Check(t.Context(), target); err != nil {
		t.Error(err)
	}
}
