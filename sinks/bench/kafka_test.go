//go:build linux

package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"

	kafkago "github.com/segmentio/kafka-go"

	"connector/internal/config"
	"connector/internal/testkafka"
	"connector/schema"
	"connector/sinks"
	"connector/sinks/kafka"
)

const (
	partitions = 4
	batchBytes = 1 << 20
	// messageOverhead is more than a record takes besides key, value and headers.
	messageOverhead = 80
)

// BenchmarkKafka compares with kafka-go's Client.Produce of batches of 1 MB,
// one under way for each partition, acknowledged by all replicas. Nothing is
// compressed.
func BenchmarkKafka(b *testing.B) {
	brokers := kafkaBrokers(b)
	raw := rawKafka(b, brokers)
	for _, delivery := range []kafka.Delivery{kafka.Idempotent, kafka.Transactional} {
		b.Run(string(delivery), func(b *testing.B) {
			cfg := kafkaConfig(b, brokers)
			cfg.Delivery = delivery
			sink, err := kafka.NewSink(b.Context(), cfg, sinks.Options{Owner: "bench", Log: slog.New(slog.DiscardHandler)})
			compare(b, raw, committing(open(b, sink, err)))
		})
	}
}

func kafkaConfig(b *testing.B, brokers []string) kafka.Config {
	b.Helper()
	topic := testkafka.Topic(b)
	return kafka.Config{
		Brokers: config.HostPorts(brokers), Topic: topic, DeadletterTopic: topic + "-dead", CheckpointTopic: topic + "-checkpoint",
		Compression: "none", CreateTopics: true, Partitions: partitions, TransactionalID: topic,
	}
}

func rawKafka(b *testing.B, brokers []string) raw {
	b.Helper()
	topic := testkafka.Topic(b)
	transport := &kafkago.Transport{}
	b.Cleanup(transport.CloseIdleConnections)
	client := &kafkago.Client{Addr: kafkago.TCP(brokers...), Transport: transport}
	res, err := client.CreateTopics(b.Context(), &kafkago.CreateTopicsRequest{Topics: []kafkago.TopicConfig{{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1}}})
	if err == nil {
		err = res.Errors[topic]
	}
	if err != nil {
		b.Fatal(err)
	}
	publishing := func(headers func(*schema.Message) []kafkago.Header) side {
		return func(events []schema.Message) func(context.Context) error {
			records := make([]kafkago.Record, len(events))
			size := 0
			for i := range events {
				m := &events[i]
				records[i] = kafkago.Record{Key: kafkago.NewBytes([]byte(m.Key())), Value: kafkago.NewBytes(m.Body), Headers: headers(m)}
				size = max(size, m.Size()+messageOverhead)
			}
			if headers(&events[0]) == nil {
				size = bodyBytes + messageOverhead
			}
			return func(ctx context.Context) error { return produceAll(ctx, client, topic, records, batchBytes/size) }
		}
	}
	return raw{
		bare: publishing(func(*schema.Message) []kafkago.Header { return nil }),
		ready: publishing(func(m *schema.Message) []kafkago.Header {
			var list []kafkago.Header
			for _, a := range m.Attributes() {
				list = append(list, kafkago.Header{Key: "ce_" + a.Name, Value: []byte(a.Value)})
			}
			return list
		}),
	}
}

// produceAll gives each partition its share.
func produceAll(ctx context.Context, client *kafkago.Client, topic string, records []kafkago.Record, batch int) error {
	var errs [partitions]error
	var group sync.WaitGroup
	for p := range partitions {
		share := records[p*len(records)/partitions : (p+1)*len(records)/partitions]
		group.Go(func() {
			for part := range slices.Chunk(share, batch) {
				if errs[p] = produce(ctx, client, topic, p, part); errs[p] != nil {
					return
				}
			}
		})
	}
	group.Wait()
	return errors.Join(errs[:]...)
}

func produce(ctx context.Context, client *kafkago.Client, topic string, partition int, records []kafkago.Record) error {
	res, err := client.Produce(ctx, &kafkago.ProduceRequest{Topic: topic, Partition: partition, RequiredAcks: kafkago.RequireAll, Records: kafkago.NewRecordReader(records...)})
	if err != nil {
		return fmt.Errorf("producing: %w", err)
	}
	return res.Error
}
