package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"connector/internal/apisim"
	"connector/internal/config"
	"connector/internal/wait"
	"connector/pipeline"
	"connector/sinks"
)

func demoCommand(env environment) *cobra.Command {
	var length time.Duration
	c := &cobra.Command{
		Use:   "demo",
		Short: "Watch the whole pipeline with simulated providers and a NATS server in the process",
		Long: `Run the real pipeline between simulated providers and a NATS JetStream server in the process,
and print events as they arrive. Rows appear late and change, as real ones do. Ctrl-C or --for
ends it; then a separate reader of the stream counts what arrived against what the simulated
providers served. Exits with 1 when a row version is missing or arrived twice.`,
		Example: "  connector demo\n  connector demo --for 20s",
		RunE: func(c *cobra.Command, _ []string) error {
			if length < 0 {
				return usageError{fmt.Errorf("--for %v: use a time such as 20s, or 0 for until Ctrl-C", length)}
			}
			return demo(c.Context(), env, length)
		},
	}
	c.Flags().DurationVar(&length, "for", 0, "end after this time, such as 20s; 0 is until Ctrl-C")
	return c
}

// demo runs until ctx ends or length has passed, drains, and counts.
func demo(ctx context.Context, env environment, length time.Duration) error {
	dir, err := os.MkdirTemp("", "connector-demo-")
	if err != nil {
		return fmt.Errorf("creating a folder for the demo: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a leftover in the temporary folder does no harm
	providers, err := simulate()
	if err != nil {
		return err
	}
	defer providers.close()
	cfg, err := config.Load(providers.settings(dir), configCatalog())
	if err != nil {
		return err
	}
	return demoPipeline(ctx, cfg, env, providers, length)
}

// providers are the simulated APIs.
type providers struct {
	ekuaibao *apisim.Ekuaibao
	submail  *apisim.Submail
	urls     [2]string
}

func simulate() (*providers, error) {
	population := apisim.Population{
		Seed: uint64(time.Now().UnixNano()), Start: time.Now().Add(-time.Minute), Every: 2 * time.Second,
		Late: 0.2, MaxLate: 4 * time.Second, Change: 0.5, MaxChange: 8 * time.Second,
		Poison: 0.01, PoisonBytes: 100_000,
	}
	p := &providers{ekuaibao: apisim.NewEkuaibao(apisim.EkuaibaoConfig{Population: population})}
	population.Every /= 6 // ekuaibao has six streams
	p.submail = apisim.NewSubmail(apisim.SubmailConfig{Population: population})
	for i, serve := range []func(net.Listener) string{p.ekuaibao.Serve, p.submail.Serve} {
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // returns at once
		if err != nil {
			p.close()
			return nil, fmt.Errorf("listening for a simulated provider: %w", err)
		}
		p.urls[i] = serve(l)
	}
	return p, nil
}

func (p *providers) close() { _, _ = p.ekuaibao.Close(), p.submail.Close() }

// settings configures the connector for the simulators, with intervals short
// enough to watch.
func (p *providers) settings(dir string) []string {
	return []string{
		"CONNECTOR_SOURCES=ekuaibao,submail", "CONNECTOR_START=1h", "CONNECTOR_DATA_DIR=" + dir, // all the rows there are
		"EKUAIBAO_BASE_URL=" + p.urls[0], "EKUAIBAO_APP_KEY=" + apisim.DefaultEkuaibaoKey, "EKUAIBAO_APP_SECURITY=" + apisim.DefaultEkuaibaoSecurity,
		"EKUAIBAO_POLL_INTERVAL=1s", "EKUAIBAO_RATE=100", "EKUAIBAO_LAG=1s", "EKUAIBAO_LATENESS=30s", "EKUAIBAO_MAX_ROW_BYTES=64KiB",
		"SUBMAIL_BASE_URL=" + p.urls[1], "SUBMAIL_APP_ID=" + apisim.DefaultSubmailID, "SUBMAIL_APP_KEY=" + apisim.DefaultSubmailKey,
		"SUBMAIL_POLL_INTERVAL=1s", "SUBMAIL_MIN_INTERVAL=100ms", "SUBMAIL_LAG=1s", "SUBMAIL_LATENESS=30s", "SUBMAIL_MAX_ROW_BYTES=64KiB",
	}
}

// drain makes the simulators show nothing new, and returns once the pipeline has
// published what they have shown, or drainTime is over.
func (p *providers) drain(ctx context.Context, counted func(context.Context) (tally, error)) {
	p.ekuaibao.Freeze()
	p.submail.Freeze()
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	for ctx.Err() == nil {
		if t, err := counted(ctx); err == nil && t.missing == 0 && t.dead >= t.poisoned {
			return
		}
		_ = wait.For(ctx, drainTime/300) // the loop looks at ctx
	}
}

// drainTime is more than a busy machine needs to read once more what is young.
const drainTime = time.Minute

// demoPipeline runs the pipeline with a live view until ctx ends, or length, if
// any, has passed since the sink was opened.
func demoPipeline(ctx context.Context, cfg *config.Config, env environment, p *providers, length time.Duration) error {
	began := time.Now()
	env.log = slog.New(slog.NewTextHandler(env.stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	at := placeOf(cfg, env, env.log)
	sink, err := openSink(ctx, cfg, env, sinkOptions(cfg, env.log))
	if err != nil {
		return err
	}
	opts, err := pipelineOptions(cfg, env)
	if err != nil {
		return errors.Join(err, sink.Close())
	}
	opts.Sink, opts.Metrics = sink, pipeline.NewMetrics(prometheus.NewRegistry())
	if err := introduce(env.stdout, p, sink); err != nil {
		return errors.Join(err, sink.Close())
	}

	if length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, length)
		defer cancel()
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	watching := make(chan error, 1)
	go func() { watching <- watch(running, cfg, at, newView(env)) }()
	counted := func(ctx context.Context) (tally, error) { return count(ctx, cfg, at, p) }
	drained := context.AfterFunc(ctx, func() {
		p.drain(running, counted)
		stop()
	})
	defer drained()
	err = pipeline.New(opts).Run(running)
	if running.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // it ended while it took the checkpoint over
	}
	stop()
	if err = errors.Join(err, <-watching); err != nil {
		return errors.Join(err, sink.Close())
	}
	got, err := counted(context.WithoutCancel(ctx))
	if err = errors.Join(err, sink.Close()); err != nil {
		return err
	}
	return got.report(newView(env), time.Since(began))
}

func introduce(w io.Writer, p *providers, sink sinks.Sink) error {
	_, err := fmt.Fprintf(w, "simulated ekuaibao at %s, simulated SUBMAIL at %s\nNATS JetStream, stream DELIVERY: %s\n\n", p.urls[0], p.urls[1], sink.Guarantee())
	return err
}

// watch prints events as they arrive, until ctx ends.
func watch(ctx context.Context, cfg *config.Config, at place, v *view) error {
	err := sinkKinds[cfg.Connector.Sink].tail(ctx, cfg.Sink, at, sinks.TailOptions{FromStart: true, Follow: true, Dead: true}, v.received)
	if ctx.Err() != nil { // the demo is over
		err = nil
	}
	return err
}
