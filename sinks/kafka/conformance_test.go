package kafka

import (
	"context"
	"log/slog"
	"testing"

	"connector/checkpoint"
	"connector/checkpoint/file"
	"connector/internal/testkafka"
	"connector/sinks"
	"connector/sinks/sinktest"
)

func TestConformance(t *testing.T) {
	cfg, dir := testConfig(t, testkafka.Brokers(t)), t.TempDir()
	target := sinktest.Paired(
		func(ctx context.Context) (sinks.Publisher, error) {
			return NewPublisher(ctx, cfg, slog.New(slog.DiscardHandler))
		},
		func(_ context.Context, unit string) (checkpoint.Store, error) { return file.Open(dir, unit) },
		func(ctx context.Context, opts sinks.TailOptions, yield func(sinks.Received) error) error {
			return Tail(ctx, cfg, opts, yield)
		})
	if err := sinktest.Check(t.Context(), target); err != nil {
		t.Error(err)
	}
}
