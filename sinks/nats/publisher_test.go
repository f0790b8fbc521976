package nats

import (
	"context"
	"testing"

	"connector/checkpoint"
	"connector/checkpoint/file"
	"connector/sinks"
	"connector/sinks/sinktest"
)

func TestPublisherConforms(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir())
	cfg, dir := testConfig(), t.TempDir()
	target := sinktest.Paired(
		func(ctx context.Context) (sinks.Publisher, error) { return NewPublisher(ctx, cfg, e.URL(), quiet()) },
		func(_ context.Context, unit string) (checkpoint.Store, error) { return file.Open(dir, unit) },
		func(ctx context.Context, opts sinks.TailOptions, yield func(sinks.Received) error) error {
			return Tail(ctx, cfg, e.URL(), opts, yield)
		})
	if err := sinktest.Check(t.Context(), target); err != nil {
		t.Error(err)
	}
}
