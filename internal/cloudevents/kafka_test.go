package cloudevents

import (
	"log/slog"
	"testing"

	"github.com/IBM/sarama"
	"github.com/cloudevents/sdk-go/protocol/kafka_sarama/v2"

	"connector/internal/config"
	"connector/internal/testkafka"
	"connector/schema"
	"connector/sinks"
	"connector/sinks/kafka"
)

// TestKafka reads what both ways to deliver publish with the SDK's consumer.
func TestKafka(t *testing.T) {
	brokers := testkafka.Brokers(t)
	for mode, f := range both {
		for _, delivery := range []kafka.Delivery{kafka.Idempotent, kafka.Transactional} {
			t.Run(mode+", "+string(delivery), func(t *testing.T) {
				t.Parallel()
				topic := testkafka.Topic(t)
				cfg := kafka.Config{
					Brokers: config.HostPorts(brokers), Topic: topic, DeadletterTopic: topic + "-dead", CheckpointTopic: topic + "-checkpoint",
					Delivery: delivery, Compression: "lz4", CreateTopics: true, Partitions: 2, TransactionalID: topic,
				}
				sink, err := kafka.NewSink(t.Context(), cfg, sinks.Options{Owner: "test", Log: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				events, dead := messages(t, f)
				commit(t, sink, events, dead)
				for name, want := range map[string][]schema.Message{cfg.Topic: events, cfg.DeadletterTopic: dead} {
					c, err := kafka_sarama.NewConsumer(brokers, reader(), topic+"-group", name)
					if err != nil {
						t.Fatal(err)
					}
					open(t, c)
					check(t, receive(t, c, len(want)), want, plain)
				}
			})
		}
	}
}

// reader is the configuration of a consumer of what is committed, from the
// beginning.
func reader() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V2_1_0_0
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.IsolationLevel = sarama.ReadCommitted
	return c
}
