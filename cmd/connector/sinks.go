package main

import (
	"context"
	"errors"
	"os"

	"connector/checkpoint"
	checkpointfile "connector/checkpoint/file"
	"connector/internal/config"
	"connector/pipeline"
	"connector/sinks"
	"connector/sinks/file"
	"connector/sinks/kafka"
	"connector/sinks/nats"
)

func openNATS(ctx context.Context, c nats.Config, at place, opts sinks.Options) (sinks.Sink, error) {
	if !c.URL.Embedded() {
		return nats.NewSink(ctx, c, c.URL.String(), opts)
	}
	server, err := nats.StartEmbedded(at.dataDir, at.log)
	if err != nil {
		return nil, err
	}
	at.log.Info("embedded NATS server started", "url", server.URL(), "data", at.dataDir)
	s, err := nats.NewSink(ctx, c, server.URL(), opts)
	if err != nil {
		return nil, errors.Join(err, server.Close())
	}
	return embeddedSink{s, server}, nil
}

// embeddedSink closes its server after itself.
type embeddedSink struct {
	sinks.Sink
	server *nats.Embedded
}

func (s embeddedSink) Close() error { return errors.Join(s.Sink.Close(), s.server.Close()) }

// viewNATS asks the embedded server of a connector that runs, or starts one
// for as long as it takes.
func viewNATS(ctx context.Context, c nats.Config, at place, unit string) (checkpoint.Reader, error) {
	if !c.URL.Embedded() {
		return nats.View(ctx, c, c.URL.String(), unit)
	}
	if url, err := nats.FindEmbedded(at.dataDir); err == nil {
		return nats.View(ctx, c, url, unit)
	}
	if _, err := os.Stat(nats.EmbeddedDir(at.dataDir)); err != nil {
		return nil, err
	}
	server, err := nats.StartEmbedded(at.dataDir, at.log)
	if err != nil {
		return nil, err
	}
	r, err := nats.View(ctx, c, server.URL(), unit)
	if err != nil {
		return nil, errors.Join(err, server.Close())
	}
	return embeddedReader{r, server}, nil
}

// embeddedReader closes its server after itself.
type embeddedReader struct {
	checkpoint.Reader
	server *nats.Embedded
}

func (r embeddedReader) Close() error { return errors.Join(r.Reader.Close(), r.server.Close()) }

// tailNATS asks the embedded server of a connector that runs, or, when there is
// nothing to wait for, starts one for as long as it takes.
func tailNATS(ctx context.Context, c nats.Config, at place, opts sinks.TailOptions, yield func(sinks.Received) error) error {
	if !c.URL.Embedded() {
		return nats.Tail(ctx, c, c.URL.String(), opts, yield)
	}
	url, err := nats.FindEmbedded(at.dataDir)
	if err == nil {
		return nats.Tail(ctx, c, url, opts, yield)
	}
	if _, missing := os.Stat(nats.EmbeddedDir(at.dataDir)); opts.Follow || missing != nil {
		return err
	}
	server, err := nats.StartEmbedded(at.dataDir, at.log)
	if err != nil {
		return err
	}
	return errors.Join(nats.Tail(ctx, c, server.URL(), opts, yield), server.Close())
}

func openKafka(ctx context.Context, c kafka.Config, _ place, opts sinks.Options) (sinks.Sink, error) {
	return kafka.NewSink(ctx, c, opts)
}

func viewKafka(ctx context.Context, c kafka.Config, _ place, unit string) (checkpoint.Reader, error) {
	return kafka.View(ctx, c, unit)
}

// kafkaRepeats tells of the way to deliver that fences nobody.
func kafkaRepeats(c kafka.Config) string {
	if c.Delivery == kafka.Transactional {
		return ""
	}
	return "does not go with KAFKA_DELIVERY=" + string(c.Delivery) + ", which promises: " + string(sinks.OnceUnlessZombie) + "; set KAFKA_DELIVERY=transactional"
}

func tailKafka(ctx context.Context, c kafka.Config, _ place, opts sinks.TailOptions, yield func(sinks.Received) error) error {
	return kafka.Tail(ctx, c, opts, yield)
}

func openFile(_ context.Context, c file.Config, _ place, opts sinks.Options) (sinks.Sink, error) {
	return file.NewSink(c, opts)
}

func viewFile(_ context.Context, _ file.Config, at place, unit string) (checkpoint.Reader, error) {
	return checkpointfile.View(at.checkpoint, unit)
}

func tailFile(ctx context.Context, c file.Config, at place, opts sinks.TailOptions, yield func(sinks.Received) error) error {
	view := func() (checkpoint.Reader, error) { return checkpointfile.View(at.checkpoint, pipeline.Unit) }
	return file.Tail(ctx, c, view, opts, yield)
}

func openStdout(_ context.Context, _ config.Section, at place, opts sinks.Options) (sinks.Sink, error) {
	return sinks.Pair(file.NewWriterPublisher(at.stdout), opts.Store), nil
}

func stdoutRepeats(config.Section) string {
	return "does not go with CONNECTOR_SINK=stdout, which promises: " + string(sinks.ExactlyOnceUnlessCrash) + "; set CONNECTOR_SINK to file, nats or kafka"
}

func viewStdout(_ context.Context, _ config.Section, at place, unit string) (checkpoint.Reader, error) {
	return checkpointfile.View(at.checkpoint, unit)
}
