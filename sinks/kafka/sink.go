package kafka

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"time"

	"connector/checkpoint"
	"connector/sinks"
)

// sink is a cluster with topics for events, dead letters and the checkpoint.
type sink struct {
	cfg    Config
	opts   sinks.Options
	log    *slog.Logger
	client *client
	counts map[string]int // partitions by topic
	limits sinks.Limits

	transactionTimeout time.Duration
	ownerGrace         time.Duration
}

// NewSink connects to cfg.Brokers and finds or creates the topics. cfg has
// passed [Config.Validate]. An error names the variable to check; it is fatal
// where trying again cannot help.
func NewSink(ctx context.Context, cfg Config, opts sinks.Options) (sinks.Sink, error) {
	return newSink(ctx, cfg, opts, (&net.Dialer{Timeout: dialTimeout}).DialContext)
}

func newSink(ctx context.Context, cfg Config, opts sinks.Options, dial dialFunc) (_ *sink, err error) {
	c, err := newClient(&cfg, dial, cfg.Topic, cfg.DeadletterTopic, cfg.CheckpointTopic)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	counts, err := provideTopics(ctx, c, &cfg, opts.Log, cfg.Topic, cfg.DeadletterTopic, cfg.CheckpointTopic)
	if err != nil {
		return nil, err
	}
	if err := verifyCheckpointTopic(ctx, c, cfg.CheckpointTopic); err != nil {
		return nil, err
	}
	return &sink{
		cfg: cfg, opts: opts, log: opts.Log, client: c, counts: counts,
		limits:             limitsOf(messageBytes(ctx, c, opts.Log, cfg.Topic, cfg.DeadletterTopic)),
		transactionTimeout: transactionTimeout, ownerGrace: ownerGrace,
	}, nil
}

// Open takes a unit over.
func (s *sink) Open(ctx context.Context, unit string) (sinks.Session, error) {
	if s.cfg.Delivery == Transactional {
		return s.openTransactional(ctx, unit)
	}
	return s.openIdempotent(ctx, unit)
}

// Guarantee says what the way to deliver promises.
func (s *sink) Guarantee() sinks.Guarantee {
	if s.cfg.Delivery == Transactional {
		return sinks.ExactlyOnceCommitted
	}
	return sinks.OnceUnlessZombie
}

// Close ends all connections.
func (s *sink) Close() error {
	s.client.close()
	return nil
}

// state returns the state of a unit, not read yet.
func (s *sink) state(unit string) (*unitState, error) {
	state, err := newUnitState(s.client, s.log, s.cfg.CheckpointTopic, unit)
	if err != nil {
		return nil, err
	}
	return state, state.within(s.counts[s.cfg.CheckpointTopic])
}

// View reads the state of a unit without taking it over. The error is
// [fs.ErrNotExist] when there is none.
func View(ctx context.Context, cfg Config, unit string) (_ checkpoint.Reader, err error) {
	c, err := newClient(&cfg, (&net.Dialer{Timeout: dialTimeout}).DialContext, cfg.CheckpointTopic)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	res, missing, err := lookUp(ctx, c, &cfg, []string{cfg.CheckpointTopic})
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("there is no checkpoint: topic %s: %w", cfg.CheckpointTopic, fs.ErrNotExist)
	}
	counts, err := awaitTopics(ctx, c, res, slog.Default(), []string{cfg.CheckpointTopic})
	if err != nil {
		return nil, err
	}
	state, err := newUnitState(c, slog.Default(), cfg.CheckpointTopic, unit)
	if err != nil {
		return nil, err
	}
	if state.within(counts[cfg.CheckpointTopic]) == nil {
		if err := state.read(ctx); err != nil {
			return nil, err
		}
	}
	if !state.has(checkpoint.FenceKey) {
		return nil, fmt.Errorf("there is no checkpoint of unit %s in topic %s: %w", unit, cfg.CheckpointTopic, fs.ErrNotExist)
	}
	return &reader{state: state}, nil
}

// reader is what [View] returns.
type reader struct{ state *unitState }

func (r *reader) Load(ctx context.Context, yield func(checkpoint.Entry) error) error {
	return r.state.each(ctx, yield)
}

func (r *reader) Get(ctx context.Context, key string) ([]byte, error) {
	if key == checkpoint.FenceKey {
		return r.state.fence(ctx)
	}
	return r.state.entry(ctx, key)
}

func (r *reader) Close() error {
	r.state.client.close()
	return nil
}
