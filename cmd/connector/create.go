package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"connector/checkpoint"
	"connector/internal/config"
	"connector/internal/fault"
	"connector/pipeline"
)

func createCommand(env environment) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "create",
		Short: "Begin a new checkpoint in a sink that holds events and has none",
		Long: `Begin a new checkpoint in a sink that holds events and has none: because it was lost, or because
another program wrote the events. "connector run" refuses such a sink, as it cannot tell what
was published: with a new checkpoint, every row from CONNECTOR_START on is published, again if it
was before. A checkpoint that is there is refused, and so is one whose parts are missing.`,
		Example: "  connector checkpoint create\n  connector checkpoint create --yes",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := config.LoadSink(env.vars, configCatalog())
			if err != nil {
				return err
			}
			env.log = newLogger(cfg, env.stderr)
			return create(c.Context(), cfg, env, yes)
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do it without asking")
	return c
}

func create(ctx context.Context, cfg *config.Config, env environment, yes bool) error {
	if err := refuseExisting(ctx, cfg, env); err != nil {
		return err
	}
	opts := sinkOptions(cfg, env.log)
	opts.New = true
	sink, err := openSink(ctx, cfg, env.apart(cfg), opts)
	if err != nil {
		return owned(cfg, "checkpoint create", err)
	}
	if !yes {
		yes, err = confirm(ctx, env, fmt.Sprintf("Begin a new checkpoint in sink %s? Every row from CONNECTOR_START on is published again.", cfg.Connector.Sink))
	}
	if !yes || err != nil {
		return errors.Join(err, sink.Close())
	}
	session, err := sink.Open(ctx, pipeline.Unit)
	if err == nil {
		err = session.Close()
	}
	if err := errors.Join(err, sink.Close()); err != nil {
		return fmt.Errorf("beginning a new checkpoint: %w", err)
	}
	_, err = fmt.Fprintf(env.stdout, "sink %s has a new checkpoint; \"connector run\" reads every stream from CONNECTOR_START on\n", cfg.Connector.Sink)
	return err
}

// refuseExisting refuses a sink that has a checkpoint with anything in it.
func refuseExisting(ctx context.Context, cfg *config.Config, env environment) error {
	state, err := viewState(ctx, cfg, env)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return owned(cfg, "checkpoint create", err)
	}
	owner, err := readFence(ctx, state)
	streams := map[string][]checkpoint.Entry{}
	if err == nil {
		streams, err = checkpoint.Read(ctx, state.Load)
	}
	if err := errors.Join(err, state.Close()); err != nil {
		return err
	}
	switch {
	case owner.Term > 0:
		err = fmt.Errorf("sink %s has a checkpoint, owned by %s", cfg.Connector.Sink, owner)
	case len(streams) > 0:
		err = fmt.Errorf("sink %s has a checkpoint, in %s", cfg.Connector.Sink, checkpointDir(cfg))
	default:
		return nil
	}
	return fault.Fatal(err, `use it: "connector checkpoint list" shows what it holds, and "connector checkpoint rewind" goes back in it`)
}
