package nats

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"connector/checkpoint"
	"connector/sinks"
	"connector/sinks/sinktest"
)

func TestSinkConforms(t *testing.T) {
	t.Parallel()
	c := startChild(t, t.TempDir())
	p := startProxy(t, c.url)
	cfg, owners := testConfig(), 0
	target := sinktest.Target{
		Open: func(ctx context.Context) (sinks.Sink, error) {
			owners++
			return NewSink(ctx, cfg, p.url(), testOptions(fmt.Sprint("owner ", owners)))
		},
		Tail: func(ctx context.Context, opts sinks.TailOptions, yield func(sinks.Received) error) error {
			return Tail(ctx, cfg, c.url, opts, yield)
		},
		View: func(ctx context.Context, unit string) (checkpoint.Reader, error) { return View(ctx, cfg, c.url, unit) },
		Trouble: func() func() {
			p.set(c.url, true)
			return func() {
				p.set(c.url, false)
				p.cut()
			}
		},
		Damage: func(ctx context.Context, unit, key string) error {
			stream, err := jetStream(t, c.url).Stream(ctx, cfg.Stream)
			if err != nil {
				return err
			}
			return errors.Join(stream.Purge(ctx, jetstream.WithPurgeSubject(placeOf(&cfg, unit).subject(key))))
		},
	}
	if err := sinktest.Check(t.Context(), target); err != nil {
		t.Error(err)
	}
}
