package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"connector/checkpoint"
	"connector/internal/config"
	"connector/pipeline"
)

func checkpointCommand(env environment) *cobra.Command {
	c := &cobra.Command{
		Use:   "checkpoint",
		Short: "Show what was read of each stream, or go back to an earlier state",
		Long: `Show what the checkpoint knows of each stream, configured or not, go back to an earlier state,
or begin a new one. No provider is asked. The checkpoint lies in the NATS stream or in a Kafka
topic, where it can be looked at beside a running connector, and for the other sinks, and NATS
before 2.12, in a file in CONNECTOR_DATA_DIR. A file that a running connector uses cannot be
opened: ask that one, GET /readyz at its CONNECTOR_HTTP_ADDR.`,
		Example: `  connector checkpoint list
  connector checkpoint show --account hq
  connector checkpoint rewind --to 24h
  connector checkpoint create --yes`,
	}
	c.AddCommand(listCommand(env), showCommand(env), rewindCommand(env), createCommand(env))
	return c
}

func listCommand(env environment) *cobra.Command {
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the streams of the checkpoint and how far each was read",
		Example: "  connector checkpoint list\n  CONNECTOR_SINK=kafka KAFKA_BROKERS=kafka:9092 connector checkpoint list --output json",
		RunE: func(c *cobra.Command, _ []string) error {
			return viewCheckpoint(c.Context(), env, spanFlags{}, func(owner checkpoint.Fence, streams []stored) error { return listStreams(env, owner, streams) })
		},
	}
	outputFlag(c, &env.output, "text", "json")
	return c
}

// stored is one stream of a checkpoint.
type stored struct {
	account, stream, filters string
	ledger                   *checkpoint.Ledger
}

// name tells streams apart that differ in their filters only.
func (s *stored) name() string {
	name := s.account + "/" + s.stream
	if s.filters != "" {
		name += "?" + s.filters
	}
	return name
}

// storedID begins the JSON of a stream.
type storedID struct {
	Account string `json:"account"`
	Stream  string `json:"stream"`
	Filters string `json:"filters,omitempty"` // digest of the filters in force
}

func (s *stored) id() storedID { return storedID{s.account, s.stream, s.filters} }

// viewCheckpoint reads who owns the checkpoint, which may be nobody, and the chosen
// streams of it, and calls show.
func viewCheckpoint(ctx context.Context, env environment, flags spanFlags, show func(checkpoint.Fence, []stored) error) error {
	cfg, err := config.LoadSink(env.vars, configCatalog())
	if err != nil {
		return err
	}
	state, err := viewState(ctx, cfg, env)
	if err != nil {
		return missing(cfg, owned(cfg, "checkpoint", err))
	}
	owner, err := readFence(ctx, state)
	var streams []stored
	if err == nil {
		streams, err = readStreams(ctx, state, flags)
	}
	switch {
	case err != nil:
	case len(streams) == 0 && env.output != "json":
		_, err = fmt.Fprintf(env.stdout, "the checkpoint of sink %s holds no stream yet\n", cfg.Connector.Sink)
	default:
		err = show(owner, streams)
	}
	return errors.Join(err, state.Close())
}

// readStreams loads the chosen streams, ordered by name.
func readStreams(ctx context.Context, store checkpoint.Reader, flags spanFlags) ([]stored, error) {
	state, err := checkpoint.Read(ctx, store.Load)
	if err != nil {
		return nil, fmt.Errorf("reading checkpoint: %w", err)
	}
	pages := checkpoint.NewPages(store.Get, checkpoint.DefaultPageBytes)
	var streams []stored
	var names []string
	for _, prefix := range slices.Sorted(maps.Keys(state)) {
		s := stored{}
		s.account, s.stream, s.filters = checkpoint.SplitPrefix(prefix)
		names = append(names, s.name())
		if !flags.chooses(s.account, s.stream) {
			continue
		}
		if s.ledger, err = checkpoint.Inspect(prefix, state[prefix], pages); err != nil {
			return nil, err
		}
		streams = append(streams, s)
	}
	if len(streams) == 0 && len(names) > 0 {
		return nil, usageError{fmt.Errorf("--account, --stream: the checkpoint has no such stream; it has %s", list(names))}
	}
	return streams, nil
}

// streamLine is a line of checkpoint list.
type streamLine struct {
	storedID
	Start   time.Time `json:"start"`
	Records int       `json:"records"`
	pipeline.Reading
	Fence *fenceLine `json:"fence,omitempty"` // missing when the checkpoint knows no owner
}

// fenceLine says who owns the checkpoint of a stream.
type fenceLine struct {
	Owner      string    `json:"owner"`
	Term       uint64    `json:"term"`       // how often it was taken over
	Commits    uint64    `json:"commits"`    // takeovers included
	LastCommit time.Time `json:"lastCommit"` // by the owner's clock
}

func newFenceLine(f checkpoint.Fence) *fenceLine {
	if f.Term == 0 {
		return nil
	}
	return &fenceLine{f.Owner, f.Term, f.Number, f.At}
}

func listStreams(env environment, owner checkpoint.Fence, streams []stored) error {
	if env.output == "json" {
		for _, s := range streams {
			if err := json.NewEncoder(env.stdout).Encode(streamLine{s.id(), s.ledger.Start(), s.ledger.Held(), pipeline.ReadingOf(s.ledger), newFenceLine(owner)}); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "stream\tstart\tfrontier\tend\tunread\tbackfill\tgaps\trecords\tsilent since") // the writer keeps its error for Flush
	for _, s := range streams {
		r := pipeline.ReadingOf(s.ledger)
		silent := "-"
		if !r.SilentSince.IsZero() {
			silent = second(r.SilentSince)
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", s.name(), second(s.ledger.Start()), second(r.Frontier), second(r.End),
			days(time.Duration(r.Unread)*time.Second), days(time.Duration(r.Backfill)*time.Second), r.Gaps, s.ledger.Held(), silent)
	}
	if err := t.Flush(); err != nil || owner.Term == 0 {
		return err
	}
	_, err := fmt.Fprintf(env.stdout, "owner: %s, %d commits\n", owner, owner.Number)
	return err
}

// second writes a time for people, to the second, in UTC.
func second(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
