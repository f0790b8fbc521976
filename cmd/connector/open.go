package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"connector/checkpoint"
	checkpointfile "connector/checkpoint/file"
	"connector/internal/config"
	"connector/internal/fault"
	"connector/internal/filelock"
	"connector/pipeline"
	"connector/sinks"
)

// checkpointDir is the folder of the checkpoint of a sink that does not keep it
// itself: one per sink, because what one sink holds says nothing of another.
func checkpointDir(cfg *config.Config) string {
	return filepath.Join(cfg.Connector.DataDir, "checkpoint", cfg.Connector.Sink)
}

func placeOf(cfg *config.Config, env environment, log *slog.Logger) place {
	return place{dataDir: cfg.Connector.DataDir, checkpoint: checkpointDir(cfg), stdout: env.stdout, log: log}
}

// newOwner names this process for people who ask which one took a checkpoint over.
func newOwner() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("%s pid %d %s", host, os.Getpid(), strings.ToLower(rand.Text()[:4]))
}

func sinkOptions(cfg *config.Config, log *slog.Logger) sinks.Options {
	return sinks.Options{
		Owner: newOwner(),
		Store: func(_ context.Context, unit string) (checkpoint.Store, error) {
			return checkpointfile.Open(checkpointDir(cfg), unit)
		},
		Earlier: checkpointfile.Earlier{Dir: checkpointDir(cfg), Unit: pipeline.Unit},
		Log:     log,
	}
}

// openSink opens the configured sink, unless it promises less than is required.
// No unit is taken over yet.
func openSink(ctx context.Context, cfg *config.Config, env environment, opts sinks.Options) (sinks.Sink, error) {
	s, err := sinkKinds[cfg.Connector.Sink].open(ctx, cfg.Sink, placeOf(cfg, env, opts.Log), opts)
	if err != nil {
		return nil, fmt.Errorf("sink %s: %w", cfg.Connector.Sink, err)
	}
	if cfg.Connector.RequireExactlyOnce && !s.Guarantee().IsExactlyOnce() {
		err := fmt.Errorf("CONNECTOR_REQUIRE_EXACTLY_ONCE is set, and sink %s promises: %s", cfg.Connector.Sink, s.Guarantee())
		return nil, errors.Join(fault.Fatal(err, exactlyOnceRemedy), s.Close())
	}
	return s, nil
}

const exactlyOnceRemedy = "use a NATS server 2.12 or later with a stream that has allow_atomic (the log says what is missing), Kafka with KAFKA_DELIVERY=transactional, or CONNECTOR_SINK=file"

// viewState reads the state that the sink keeps, or what lies beside it: of a
// sink that cannot keep it, or not imported yet. The error is fs.ErrNotExist when
// there is none.
func viewState(ctx context.Context, cfg *config.Config, env environment) (checkpoint.Reader, error) {
	at := placeOf(cfg, env, slog.New(slog.DiscardHandler))
	r, err := sinkKinds[cfg.Connector.Sink].view(ctx, cfg.Sink, at, pipeline.Unit)
	if errors.Is(err, fs.ErrNotExist) {
		beside, besideErr := checkpointfile.View(at.checkpoint, pipeline.Unit)
		if besideErr == nil {
			return beside, nil
		}
		err = besideErr
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint of sink %s: %w", cfg.Connector.Sink, err)
	}
	return r, nil
}

// readFence returns who owns a unit; of a state that has no owner, a fence with
// Term 0.
func readFence(ctx context.Context, state checkpoint.Reader) (checkpoint.Fence, error) {
	value, err := state.Get(ctx, checkpoint.FenceKey)
	if value == nil || err != nil {
		return checkpoint.Fence{}, err
	}
	return checkpoint.DecodeFence(value)
}

// missing explains that there is no checkpoint yet.
func missing(cfg *config.Config, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fault.Fatal(fmt.Errorf("there is no checkpoint in sink %s, nor in %s", cfg.Connector.Sink, checkpointDir(cfg)),
		"nothing was read into this sink yet, or CONNECTOR_SINK, CONNECTOR_DATA_DIR or the variables of the sink are not those of the connector that did")
}

// unowned refuses when another process holds what lies in the data folder.
func unowned(cfg *config.Config, verb string) error {
	store, err := checkpointfile.View(checkpointDir(cfg), pipeline.Unit)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return owned(cfg, verb, err)
	}
	return store.Close()
}

// owned explains an error of what another process may hold.
func owned(cfg *config.Config, verb string, err error) error {
	if !errors.Is(err, filelock.ErrHeld) {
		return err
	}
	return fault.Fatal(fmt.Errorf("%s: the checkpoint of sink %s is %w", verb, cfg.Connector.Sink, filelock.ErrHeld),
		fmt.Sprintf("stop the connector that runs with CONNECTOR_DATA_DIR=%s (SIGTERM or Ctrl-C; it finishes the commit in hand) and try again; how far a running one has read is shown by GET /readyz at its CONNECTOR_HTTP_ADDR", cfg.Connector.DataDir))
}
