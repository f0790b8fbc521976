package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kversion"

	"connector/internal/testkafka"
	"connector/schema"
	"connector/sinks"
)

func TestPublish(t *testing.T) {
	brokers := testkafka.Brokers(t)
	for _, codec := range Compression("").Choices() {
		t.Run(codec, func(t *testing.T) {
			cfg := testConfig(t, brokers)
			cfg.Compression = Compression(codec)
			p := start(t, cfg)
			before := time.Now().Truncate(time.Millisecond)
			publish(t, p, messages(0, 300), messages(1000, 3))
			publish(t, p, messages(300, 40), nil)
			publish(t, p, nil, nil)

			events := consume(t, brokers, cfg.Topic)
			checkStored(t, events, append(messages(0, 300), messages(300, 40)...))
			checkSequences(t, p, 340)
			checkStored(t, consume(t, brokers, cfg.DeadletterTopic), messages(1000, 3))
			for _, r := range events {
				if r.Timestamp.Before(before) || r.Timestamp.After(time.Now()) {
					t.Fatalf("timestamp: got %v, want the time of publishing", r.Timestamp)
				}
			}
		})
	}
}

func TestMessageIsCloudEvent(t *testing.T) {
	brokers := testkafka.Brokers(t)
	cfg := testConfig(t, brokers)
	m := messages(7, 1)
	publish(t, start(t, cfg), m, nil)
	records := consume(t, brokers, cfg.Topic)
	if len(records) != 1 {
		t.Fatalf("got %d records, want 1", len(records))
	}
	r := records[0]
	if got, want := string(r.Key), "acme/sms/record-07"; got != want {
		t.Errorf("key: got %q, want %q", got, want)
	}
	if got, want := string(r.Value), string(m[0].Body); got != want {
		t.Errorf("value: got %s, want %s", got, want)
	}
	var got []string
	for _, h := range r.Headers {
		got = append(got, h.Key+": "+string(h.Value))
	}
	want := []string{
		"ce_specversion: 1.0", "ce_id: id-000007", "ce_source: /submail/acme/sms", "ce_type: delivery.sms.delivered",
		"ce_subject: record-07", "ce_time: 2023-11-14T22:13:20Z", "ce_dataschema: " + schema.DataSchema, "content-type: application/json",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("headers: got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestStructuredMessage(t *testing.T) {
	brokers := testkafka.Brokers(t)
	cfg := testConfig(t, brokers)
	m := messages(7, 1)
	m[0].Structure()
	publish(t, start(t, cfg), m, nil)
	records := consume(t, brokers, cfg.Topic)
	if len(records) != 1 || string(records[0].Key) != "acme/sms/record-07" || string(records[0].Value) != string(m[0].Body) {
		t.Fatalf("got %v, want one record with the whole event", records)
	}
	if h := records[0].Headers; len(h) != 1 || h[0].Key != "content-type" || string(h[0].Value) != "application/cloudevents+json" {
		t.Errorf("got headers %v, want the content type only", h)
	}
}

// TestPartitionOfKey holds the values of Kafka's own test of Murmur2
// (org.apache.kafka.common.utils.UtilsTest), made positive, modulo 1000.
func TestPartitionOfKey(t *testing.T) {
	numbers := make([]int, 1000)
	for i := range numbers {
		numbers[i] = i
	}
	tests := map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	}
	for key, hash := range tests {
		got := kafkago.Murmur2Balancer{}.Balance(kafkago.Message{Key: []byte(key)}, numbers...)
		if want := int(hash&0x7fffffff) % 1000; got != want {
			t.Errorf("%s: got partition %d, want %d", key, got, want)
		}
	}
}

// TestLargeCommit needs several batches a partition.
func TestLargeCommit(t *testing.T) {
	brokers := testkafka.Brokers(t)
	cfg := testConfig(t, brokers)
	cfg.Compression, cfg.Partitions = "none", 2
	p := start(t, cfg)
	events := messages(0, 1500)
	for i := range events {
		events[i].Body = noise(3000)
	}
	events[700].Body = noise(p.limits.MaxMessageBytes - 200)
	publish(t, p, events, nil)
	checkStored(t, consume(t, brokers, cfg.Topic), events)
}

func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('!' + rand.IntN(90))
	}
	return b
}

// TestRejected publishes messages above the topic's limit: they are named,
// their neighbours stored, and nothing is stored twice when the caller brings
// the commit again with something else in their place.
func TestRejected(t *testing.T) {
	brokers := testkafka.Brokers(t)
	cfg := testConfig(t, brokers)
	cfg.Compression = "none"
	testkafka.Create(t, brokers, cfg.Topic, 3, "max.message.bytes", "20000")
	p := start(t, cfg)
	if got, want := p.limits.MaxMessageBytes, 20000-messageOverhead; got != want {
		t.Errorf("MaxMessageBytes: got %d, want %d", got, want)
	}
	for range parallel { // batches larger than the topic allows, as if the limit had been lowered
		e := <-p.encoders
		e.batch.maxBytes = batchBytes
		p.encoders <- e
	}
	events := messages(0, 600)
	large := []int{0, 17, 18, 333, 599}
	for _, i := range large {
		events[i].Body = noise(30000)
	}
	dead := messages(5000, 2)
	err := p.Publish(t.Context(), events, dead)
	rejected, ok := errors.AsType[*sinks.RejectedError](err)
	if !ok {
		t.Fatalf("Publish: got %v, want a RejectedError", err)
	}
	var got []int
	for _, m := range rejected.Messages {
		if m.Dead {
			t.Errorf("got rejected dead letter %d", m.Index)
		}
		got = append(got, m.Index)
	}
	if fmt.Sprint(got) != fmt.Sprint(large) {
		t.Errorf("rejected: got %v, want %v", got, large)
	}
	for _, i := range large {
		events[i].Body = []byte("{}")
	}
	publish(t, p, events, dead)
	records := consume(t, brokers, cfg.Topic)
	if len(records) != len(events) {
		t.Errorf("got %d records, want %d", len(records), len(events))
	}
	checkStored(t, consume(t, brokers, cfg.DeadletterTopic), dead)
	publish(t, p, events[:1], nil) // another commit: nothing is held back
	if got, want := len(consume(t, brokers, cfg.Topic)), len(events)+1; got != want {
		t.Errorf("after one more event: got %d records, want %d", got, want)
	}
}

// TestOldBroker publishes to and reads from the oldest Kafka we name.
func TestOldBroker(t *testing.T) {
	cluster := testkafka.Faulty(t, kfake.MaxVersions(kversion.V2_1_0()))
	cfg := testConfig(t, cluster.ListenAddrs())
	cfg.Compression = "zstd"
	publish(t, start(t, cfg), messages(0, 100), nil)
	got := 0
	err := Tail(t.Context(), cfg, sinks.TailOptions{FromStart: true}, func(sinks.Received) error { got++; return nil })
	if err != nil || got != 100 {
		t.Errorf("got %d messages and error %v, want 100", got, err)
	}
}

func TestPublishCancelled(t *testing.T) {
	brokers := testkafka.Brokers(t)
	p := start(t, testConfig(t, brokers))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Publish(ctx, messages(0, 1), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

// BenchmarkEncode turns messages into batches.
func BenchmarkEncode(b *testing.B) {
	events := messages(0, 800)
	for i := range events {
		events[i].Body = noise(1000)
	}
	for _, c := range Compression("").Choices() {
		b.Run(c, func(b *testing.B) {
			p, e := &publisher{headers: newHeaderEncoder()}, newEncoder(Compression(c), 2*batchBytes, 2*batchBytes)
			b.ReportAllocs()
			for b.Loop() {
				batch, err := e.encode(route(p, events), time.Now())
				if err != nil || len(batch.items) != len(events) {
					b.Fatal(len(batch.items), err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(events)), "ns/event")
		})
	}
}
