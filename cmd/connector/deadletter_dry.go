package main

import (
	"context"
	"errors"

	"connector/checkpoint"
	"connector/internal/config"
	"connector/internal/fault"
	"connector/sinks"
)

// viewedSink is the configured sink for a retry that changes nothing.
func viewedSink(ctx context.Context, cfg *config.Config, env environment) (sinks.Sink, error) {
	state, err := viewState(ctx, cfg, env)
	if err != nil {
		return nil, missing(cfg, err)
	}
	return viewed{state}, nil
}

// viewed is a sink that holds a state and takes nothing.
type viewed struct{ checkpoint.Reader }

func (v viewed) Open(context.Context, string) (sinks.Session, error) {
	return viewedSession(v), nil
}
func (viewed) Guarantee() sinks.Guarantee { return sinks.ExactlyOnce }

// viewedSession leaves closing to its sink.
type viewedSession struct{ checkpoint.Reader }

func (viewedSession) Limits() sinks.Limits { return sinks.Limits{} }
func (viewedSession) Close() error         { return nil }

func (s viewedSession) Recover(ctx context.Context, yield func(checkpoint.Entry) error) error {
	return s.Load(ctx, yield)
}

func (viewedSession) Commit(context.Context, sinks.Commit) error {
	return fault.Fatal(errors.New("nothing can be committed in a dry run"), "retry without --dry-run")
}
