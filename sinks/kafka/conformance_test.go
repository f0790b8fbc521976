package kafka

import (
	"context"
	"log/slog"
	"testing"

	"connector/internal/testkafka"
	"connector/sinks"
	"connector/sinks/sinktest"
)

func TestConformance(t *testing.T) {
	cfg := testConfig(t, testkafka.Brokers(t))
	target := sinktest.Target{
		Open: func(ctx context.Context) (sinks.Publisher, error) {
			return NewPublisher(ctx, cfg, slog.New(slog.DiscardHandler))
		},
		Tail: func(ctx context.Context, opts sinks.TailOptions, yield func(sinks.Received) error) error {
			return Tail(ctx, cfg, opts, yield)
		},
	}
	if err := sinktest.Check(t.Context(), target); err != nil {
		t.Error(err)
	}
}
