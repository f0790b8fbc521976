// Command go is a consumer of delivery events: it reads a Kafka topic or a NATS stream from its beginning to its present
// end, keeps the latest version of every row, and prints the answers to three questions.
//
//	go run ./examples/go -kafka 127.0.0.1:9092 -topic delivery.events
//	go run ./examples/go -nats nats://127.0.0.1:4222 -stream DELIVERY -subject 'delivery.event.>'
//
// Its state is in memory and gone when it ends. ../python keeps it, and where it has read to, in a database.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var (
		brokers = flag.String("kafka", "", "Kafka brokers, separated by commas")
		topic   = flag.String("topic", "delivery.events", "Kafka topic of the events")
		url     = flag.String("nats", "", "URL of a NATS server")
		stream  = flag.String("stream", "DELIVERY", "JetStream stream")
		subject = flag.String("subject", "delivery.event.>", "subjects of the events in the stream")
	)
	flag.Parse()

	state := NewState()
	events, repeated := 0, 0
	receive := func(id string, body []byte) error {
		var e Event
		if err := json.Unmarshal(body, &e); err != nil {
			return fmt.Errorf("event %s: %w", id, err)
		}
		events++
		if !state.Apply(id, e) {
			repeated++
		}
		return nil
	}
	var err error
	switch {
	case *brokers != "":
		err = readKafka(ctx, strings.Split(*brokers, ","), *topic, receive)
	case *url != "":
		err = readNATS(ctx, *url, *stream, *subject, receive)
	default:
		err = errors.New("nothing to read: set -kafka or -nats")
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%d events, %d of them repeated\n", events, repeated)
	return state.Print(os.Stdout)
}
