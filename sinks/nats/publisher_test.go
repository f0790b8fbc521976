package nats

import (
	"context"
	"testing"

	"connector/sinks"
	"connector/sinks/sinktest"
)

func TestPublisherConforms(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir())
	cfg := testConfig()
	target := sinktest.Target{
		Open: func(ctx context.Context) (sinks.Publisher, error) { return NewPublisher(ctx, cfg, e.URL(), quiet()) },
		Tail: func(ctx context.Context, opts sinks.TailOptions, yield func(sinks.Received) error) error {
			return Tail(ctx, cfg, e.URL(), opts, yield)
		},
	}
	if err := sinktest.Check(t.Context(), target); err != nil {
		t.Error(err)
	}
}
