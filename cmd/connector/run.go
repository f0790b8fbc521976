package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"connector/internal/budget"
	"connector/internal/config"
	"connector/pipeline"
	"connector/schema"
	"connector/sources"
	"connector/sources/httpx"
)

func runCommand(env environment) *cobra.Command {
	var once bool
	c := &cobra.Command{
		Use:   "run",
		Short: "Read all accounts and publish to the sink until stopped",
		Long: `Read all accounts and publish to the sink until stopped by SIGTERM or Ctrl-C, which
finishes the commit in hand and exits with 0. A stream whose credentials or
configuration turn out wrong stops and says what to fix; the others go on. A sink that cannot
be reached at the start ends it with 1; later, sink and providers are tried again without
end, with --once too. It takes the checkpoint over: an earlier connector on it stops.

The variables are listed by "connector config --reference"; "connector check" tries them out.`,
		Example: `  CONNECTOR_SOURCES=ekuaibao EKUAIBAO_APP_KEY=… EKUAIBAO_APP_SECURITY=… connector run
  connector run --once    # read up to the provider's now, then exit`,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := config.Load(env.vars, configCatalog())
			if err != nil {
				return err
			}
			env.log = newLogger(cfg, env.stderr)
			opts, err := pipelineOptions(cfg, env)
			if err != nil {
				return err
			}
			opts.Once = once
			return serve(c.Context(), cfg, env, opts, func(*pipeline.Pipeline) {})
		},
	}
	c.Flags().BoolVar(&once, "once", false, "read everything up to the provider's now, with the changes of older rows, and exit; tries without end while a provider cannot be reached")
	return c
}

// serve runs a pipeline and its HTTP endpoints until the pipeline ends, and
// shows it to starting before. The end of ctx is not an error, whatever it
// interrupts.
func serve(ctx context.Context, cfg *config.Config, env environment, opts pipeline.Options, starting func(*pipeline.Pipeline)) error {
	for _, w := range cfg.Warnings {
		env.log.Warn(w)
	}
	err := servePipeline(ctx, cfg, env, opts, starting)
	if err != nil && ctx.Err() != nil {
		env.log.Warn("stopped, and not everything was in order", "error", err)
		return nil //nolint:nilerr // the end of ctx is how a run ends
	}
	return err
}

func servePipeline(ctx context.Context, cfg *config.Config, env environment, opts pipeline.Options, starting func(*pipeline.Pipeline)) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	endpoints, err := listen(ctx, string(cfg.Connector.HTTPAddr), registry)
	if err != nil {
		return err
	}
	sink, err := openSink(ctx, cfg, env, sinkOptions(cfg, env.log))
	if err != nil {
		return errors.Join(err, endpoints.Close())
	}
	opts.Sink, opts.Metrics = sink, pipeline.NewMetrics(registry)
	p := pipeline.New(opts)
	endpoints.show(p, sink.Guarantee())
	starting(p)
	env.log.Info("running", "version", version, "sink", cfg.Connector.Sink, "guarantee", sink.Guarantee(), "http", endpoints.addr())
	err = p.Run(ctx)
	env.log.Info("stopped", "streams", len(p.Streams()))
	return errors.Join(err, sink.Close(), endpoints.Close())
}

// pipelineOptions opens the sources, with the log of env.
func pipelineOptions(cfg *config.Config, env environment) (pipeline.Options, error) {
	validate, err := validateOf(cfg)
	if err != nil {
		return pipeline.Options{}, err
	}
	opts := pipeline.Options{Log: env.log, Format: formatOf(cfg), Validate: validate, Start: cfg.Connector.Start.Time}
	budgets := newBudgets(cfg.Accounts)
	for _, a := range cfg.Accounts {
		s, err := openSource(a, budgets, env)
		if err != nil {
			return pipeline.Options{}, err
		}
		opts.Accounts = append(opts.Accounts, pipeline.Account{
			System: a.Kind, Name: a.Name, Source: s, Digest: a.Digest, Budget: budgets[a.Config.Budget().Credential],
			Poll: a.Common.PollInterval, Lag: a.Common.Lag, Lateness: a.Common.Lateness, GiveUp: a.Common.GiveUp,
			Privacy: cfg.Privacy(a),
		})
	}
	return opts, nil
}

// formatOf returns how messages are encoded.
func formatOf(cfg *config.Config) schema.Format {
	return schema.Format{Structured: cfg.Connector.CloudEvents == config.Structured, Version: cfg.Connector.SchemaVersion.Release()}
}

// validateOf returns which events are checked, and by what.
func validateOf(cfg *config.Config) (pipeline.Validate, error) {
	v, err := schema.NewValidator(cfg.Connector.SchemaVersion.Release().Event)
	return pipeline.Validate{Every: cfg.Connector.Validate.Every(), Validator: v}, err
}

// openSource opens the source of an account, whose connections are its own.
func openSource(a config.Account, budgets map[string]*budget.Budget, env environment) (sources.Source, error) {
	transport, err := httpx.NewAccountTransport(a.Name, a.Common)
	if err != nil {
		return nil, fmt.Errorf("account %s: %w", a.Name, err)
	}
	env.connections.add(transport)
	s, err := sourceKinds[a.Kind].open(a.Name, a.Config, httpx.Options{
		Version: version, Transport: transport, Secrets: a.Common.ProxyURL.Secrets(),
		Logger: env.log.With("account", a.Name), Budget: budgets[a.Config.Budget().Credential],
	})
	if err != nil {
		return nil, fmt.Errorf("account %s: %w", a.Name, err)
	}
	return s, nil
}

// connections are those of the sources.
type connections struct{ transports []*httpx.Transport }

func (c *connections) add(t *httpx.Transport) { c.transports = append(c.transports, t) }

// close closes what the sources have left open, once nothing reads any more.
func (c *connections) close() {
	for _, t := range c.transports {
		t.CloseIdleConnections()
	}
}

// newBudgets returns one budget per credential, as slow as its slowest account
// asks for (invariant 7).
func newBudgets(accounts []config.Account) map[string]*budget.Budget {
	budgets := map[string]*budget.Budget{}
	for _, a := range accounts {
		b := a.Config.Budget()
		if budgets[b.Credential] == nil {
			budgets[b.Credential] = budget.New(b.Every)
		}
		budgets[b.Credential].Slow(b.Every)
	}
	return budgets
}
