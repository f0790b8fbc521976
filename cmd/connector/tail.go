package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"connector/internal/config"
	"connector/sinks"
)

func tailCommand(env environment) *cobra.Command {
	var output string
	opts := sinks.TailOptions{Follow: true}
	c := &cobra.Command{
		Use:   "tail",
		Short: "Print events as they arrive in the sink",
		Long: `Print events as they arrive in the sink, until Ctrl-C. It reads the sink by itself, needs
no account, and shows only committed events of Kafka transactions. With the embedded
NATS server it finds the port of the connector that runs on the same data directory.`,
		Example: `  connector tail
  connector tail --from-start --follow=false --output json | jq .data.status
  CONNECTOR_SINK=kafka KAFKA_BROKERS=kafka:9092 connector tail --dead`,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := config.LoadSink(env.vars, configCatalog())
			if err != nil {
				return err
			}
			return tail(c.Context(), cfg, env, opts, output)
		},
	}
	outputFlag(c, &output, "text", "json")
	c.Flags().BoolVar(&opts.FromStart, "from-start", false, "begin with the oldest event the sink holds")
	c.Flags().BoolVarP(&opts.Follow, "follow", "f", true, "wait for new events")
	c.Flags().BoolVar(&opts.Dead, "dead", false, "print dead letters, too")
	return c
}

func tail(ctx context.Context, cfg *config.Config, env environment, opts sinks.TailOptions, output string) error {
	read := sinkKinds[cfg.Connector.Sink].tail
	if read == nil {
		return usageError{fmt.Errorf("sink %s cannot be read: set CONNECTOR_SINK to another", cfg.Connector.Sink)}
	}
	v := newView(env)
	show := v.received
	if output == "json" {
		show = func(r sinks.Received) error { return asJSON(env.stdout, r) }
	}
	err := read(ctx, cfg.Sink, placeOf(cfg, env, slog.New(slog.DiscardHandler)), opts, show)
	if err != nil && ctx.Err() == nil { // Ctrl-C is how it ends
		return fmt.Errorf("reading sink %s: %w", cfg.Connector.Sink, err)
	}
	return nil
}
