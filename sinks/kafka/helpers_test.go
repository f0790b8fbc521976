package kafka

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"connector/internal/testkafka"
	"connector/schema"
	"connector/sinks"
)

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "8") // tests wait for time to pass more than they compute
	goleak.VerifyTestMain(m)
}

// hang is what nothing takes but what hangs, however busy the machine is;
// promptly is less than any limit of the connector's own, and much of it for a
// busy machine.
const (
	hang     = 3 * time.Minute
	promptly = 5 * time.Second
)

// testConfig names topics of its own on brokers; they do not exist yet.
func testConfig(t *testing.T, brokers []string) Config {
	t.Helper()
	return Config{
		Brokers: brokers, Topic: testkafka.Topic(t), DeadletterTopic: testkafka.Topic(t), CheckpointTopic: testkafka.Topic(t), Compression: "lz4",
		CreateTopics: true, Partitions: 4, ReplicationFactor: 1,
	}
}

// eventually waits until done reports true.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(hang); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain until %s", hang, what)
		}
	}
}

func start(t *testing.T, cfg Config) *publisher {
	t.Helper()
	return startWith(t, cfg, slog.New(slog.DiscardHandler), new(net.Dialer).DialContext)
}

func startWith(t *testing.T, cfg Config, log *slog.Logger, dial dialFunc) *publisher {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	p, err := newPublisher(ctx, &cfg, log, dial)
	if err != nil {
		t.Fatalf("newPublisher: %v", err)
	}
	t.Cleanup(p.client.close)
	return p
}

// newPublisher returns the publisher of a session, on a sink of its own.
func newPublisher(ctx context.Context, cfg *Config, log *slog.Logger, dial dialFunc) (*publisher, error) {
	s, err := newSink(ctx, *cfg, sinks.Options{Log: log}, dial)
	if err != nil {
		return nil, err
	}
	p, err := publisherOn(ctx, s.client, &s.cfg, log, s.counts, s.limits)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return p, nil
}

// publish fails the test unless all messages are stored.
func publish(t *testing.T, p *publisher, events, dead []schema.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	if err := p.Publish(ctx, events, dead); err != nil {
		t.Fatalf("Publish: %v", err)
	}
}

// messages returns messages numbered from first on, of 50 records in turn.
func messages(first, n int) []schema.Message {
	out := make([]schema.Message, n)
	for i := range out {
		k := first + i
		out[i] = schema.Message{
			ID: fmt.Sprintf("id-%06d", k), Type: "delivery.sms.delivered",
			Source:   schema.Source{System: "submail", Account: "acme", Stream: "sms"},
			RecordID: fmt.Sprintf("record-%02d", k%50), Time: time.UnixMilli(1_700_000_000_000).UTC(),
			DataSchema: schema.DataSchema, Body: fmt.Appendf(nil, `{"n":%d,"text":"你好"}`, k),
		}
	}
	return out
}

// consume returns what a committed reader (franz-go) finds in a topic, the
// partitions one after the other.
func consume(t *testing.T, brokers []string, topic string, opts ...kgo.Opt) []*kgo.Record {
	t.Helper()
	return consumeAt(t, kgo.ReadCommitted(), brokers, topic, opts...)
}

// consumeAt reads as consume does, at an isolation level.
func consumeAt(t *testing.T, level kgo.IsolationLevel, brokers []string, topic string, opts ...kgo.Opt) []*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(level),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100 * time.Millisecond), kgo.KeepControlRecords(),
		kgo.MetadataMinAge(20 * time.Millisecond),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	list := kadm.NewClient(cl).ListCommittedOffsets
	if level == kgo.ReadUncommitted() {
		list = kadm.NewClient(cl).ListEndOffsets
	}
	ends, err := list(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	left := make(map[int32]int64)
	byPartition := make(map[int32][]*kgo.Record)
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("consuming %s: %v", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset >= left[r.Partition]-1 {
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				byPartition[r.Partition] = append(byPartition[r.Partition], r)
			}
		})
	}
	var all []*kgo.Record
	for i := range int32(len(ends[topic])) {
		all = append(all, byPartition[i]...)
	}
	return all
}

func headerValue(r *kgo.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

// eventID returns the id of the event of a record in either mode.
func eventID(r *kgo.Record) string {
	if headerValue(r, "content-type") != "application/cloudevents+json" {
		return headerValue(r, "ce_id")
	}
	var event struct{ ID string }
	_ = json.Unmarshal(r.Value, &event) // then the id is empty
	return event.ID
}

// checkStored fails unless records are exactly want, each once, with the
// messages of one key in one partition and in order.
func checkStored(t *testing.T, records []*kgo.Record, want []schema.Message) {
	t.Helper()
	count := make(map[string]int)
	place := make(map[string]int32)
	latest := make(map[string]string)
	for _, r := range records {
		id, key := eventID(r), string(r.Key)
		count[id]++
		if p, ok := place[key]; ok && p != r.Partition {
			t.Fatalf("key %s lies in partitions %d and %d", key, p, r.Partition)
		}
		if cmp.Compare(id, latest[key]) <= 0 {
			t.Errorf("key %s: %s comes after %s", key, id, latest[key])
		}
		place[key], latest[key] = r.Partition, id
	}
	lost, twice := 0, 0
	for i := range want {
		switch n := count[want[i].ID]; {
		case n == 0:
			lost++
		case n > 1:
			twice++
		}
	}
	if lost+twice > 0 || len(records) != len(want) {
		t.Errorf("got %d records with %d lost and %d stored twice, want %d", len(records), lost, twice, len(want))
	}
}

// checkSequences fails if p lost count of the n events it sent.
func checkSequences(t *testing.T, p *publisher, n int) {
	t.Helper()
	got := 0
	for _, part := range p.partitions[p.topic] {
		got += int(part.sequence)
		if part.producer != p.partitions[p.topic][0].producer {
			t.Errorf("%v got a new producer id", part)
		}
	}
	if got != n {
		t.Errorf("got %d sequence numbers, want %d", got, n)
	}
}

// logs is a log that the test reads.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logs) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
