package main

import (
	"context"
	"errors"

	"connector/internal/config"
	"connector/sinks"
	"connector/sinks/file"
	"connector/sinks/kafka"
	"connector/sinks/nats"
)

func openNATS(ctx context.Context, c nats.Config, at place) (sinks.Publisher, error) {
	if !c.URL.Embedded() {
		return nats.NewPublisher(ctx, c, c.URL.String(), at.log)
	}
	server, err := nats.StartEmbedded(at.dataDir, at.log)
	if err != nil {
		return nil, err
	}
	at.log.Info("embedded NATS server started", "url", server.URL(), "data", at.dataDir)
	p, err := nats.NewPublisher(ctx, c, server.URL(), at.log)
	if err != nil {
		return nil, errors.Join(err, server.Close())
	}
	return embeddedPublisher{p, server}, nil
}

// embeddedPublisher closes its server after itself.
type embeddedPublisher struct {
	*nats.Publisher
	server *nats.Embedded
}

func (p embeddedPublisher) Close() error { return errors.Join(p.Publisher.Close(), p.server.Close()) }

func tailNATS(ctx context.Context, c nats.Config, at place, opts sinks.TailOptions, yield func(sinks.Received) error) error {
	url := c.URL.String()
	if c.URL.Embedded() {
		var err error
		if url, err = nats.FindEmbedded(at.dataDir); err != nil {
			return err
		}
	}
	return nats.Tail(ctx, c, url, opts, yield)
}

func openKafka(ctx context.Context, c kafka.Config, at place) (sinks.Publisher, error) {
	return kafka.NewPublisher(ctx, c, at.log)
}

func tailKafka(ctx context.Context, c kafka.Config, _ place, opts sinks.TailOptions, yield func(sinks.Received) error) error {
	return kafka.Tail(ctx, c, opts, yield)
}

func openFile(_ context.Context, c file.Config, at place) (sinks.Publisher, error) {
	return file.NewPublisher(c, at.log)
}

func tailFile(ctx context.Context, c file.Config, _ place, opts sinks.TailOptions, yield func(sinks.Received) error) error {
	return file.Tail(ctx, c, opts, yield)
}

func openStdout(_ context.Context, _ config.Section, at place) (sinks.Publisher, error) {
	return file.NewWriterPublisher(at.stdout), nil
}
