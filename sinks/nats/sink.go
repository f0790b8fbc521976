package nats

import (
	"context"

	"connector/sinks"
)

// NewSink connects to url, the address of the embedded server or the servers
// of cfg.URL, creates the stream, or checks an existing one and leaves it as it
// is, and finds out what they can do. Where they can, it returns a sink that
// stores events and checkpoint as one; else a [Publisher] with the checkpoint in
// opts.Store, and the log says what is missing. A server that cannot be reached
// is a fatal error here, and so is a stream that holds a checkpoint which
// cannot be used; afterwards lost connections are made again without end.
func NewSink(ctx context.Context, cfg Config, url string, opts sinks.Options) (sinks.Sink, error) {
	c, err := newClient(ctx, cfg, url, opts.Log)
	if err != nil {
		return nil, err
	}
	lacks, err := c.lacks(ctx)
	if err == nil && len(lacks) > 0 {
		err = c.refuseStored(ctx, lacks)
	}
	if err != nil {
		c.conn.Close()
		return nil, err
	}
	if len(lacks) == 0 {
		for _, w := range c.checkpointWarnings() {
			opts.Log.Warn("NATS stream: "+w.what, "stream", cfg.Stream, "remedy", w.remedy)
		}
		return &sink{client: c, opts: opts}, nil
	}
	for _, l := range lacks {
		opts.Log.Warn("NATS cannot store events and checkpoint as one: "+l.what, "stream", cfg.Stream, "remedy", l.remedy)
	}
	return sinks.Pair(&Publisher{c}, opts.Store), nil
}

// sink stores events and state in one stream.
type sink struct {
	client

	opts sinks.Options
}

// Guarantee implements [sinks.Sink].
func (s *sink) Guarantee() sinks.Guarantee { return sinks.ExactlyOnce }

// Close implements [sinks.Sink].
func (s *sink) Close() error {
	s.conn.Close()
	return nil
}
