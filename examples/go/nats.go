package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// readNATS is readKafka for a JetStream stream. The stream also holds dead letters and the connector's checkpoint:
// subject chooses the events.
func readNATS(ctx context.Context, url, stream, subject string, receive func(id string, body []byte) error) error {
	conn, err := nats.Connect(url)
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", url, err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	// An ordered consumer needs no acknowledgements and leaves nothing behind on the server.
	consumer, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}})
	if err != nil {
		return fmt.Errorf("reading stream %s: %w", stream, err)
	}
	left := consumer.CachedInfo().NumPending
	messages, err := consumer.Messages()
	if err != nil {
		return fmt.Errorf("reading stream %s: %w", stream, err)
	}
	defer messages.Stop()
	for ; left > 0; left-- {
		m, err := messages.Next(jetstream.NextMaxWait(30 * time.Second))
		if err != nil {
			return fmt.Errorf("reading stream %s: %w", stream, err)
		}
		if err := receive(m.Headers().Get("ce-id"), m.Data()); err != nil {
			return err
		}
	}
	return nil
}
