package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"connector/internal/fault"
	"connector/internal/testkafka"
	"connector/internal/wait"
	"connector/sinks"
)

func TestTail(t *testing.T) {
	brokers := testkafka.Brokers(t)
	cfg := testConfig(t, brokers)
	publish(t, start(t, cfg), messages(0, 300), messages(5000, 20))

	tests := []struct {
		opts         sinks.TailOptions
		events, dead int
	}{
		{sinks.TailOptions{FromStart: true}, 300, 0},
		{sinks.TailOptions{FromStart: true, Dead: true}, 300, 20},
		{sinks.TailOptions{Dead: true}, 0, 0},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%+v", tt.opts), func(t *testing.T) {
			events, dead := 0, 0
			err := Tail(t.Context(), cfg, tt.opts, func(r sinks.Received) error {
				if r.Dead {
					dead++
				} else {
					events++
				}
				return nil
			})
			if err != nil || events != tt.events || dead != tt.dead {
				t.Errorf("got %d events, %d dead letters and error %v, want %d and %d", events, dead, err, tt.events, tt.dead)
			}
		})
	}
}

func TestTailMessage(t *testing.T) {
	brokers := testkafka.Brokers(t)
	cfg := testConfig(t, brokers)
	cfg.Partitions = 1
	sent := messages(7, 2)
	publish(t, start(t, cfg), sent, nil)
	stop := errors.New("enough")
	calls := 0
	err := Tail(t.Context(), cfg, sinks.TailOptions{FromStart: true}, func(r sinks.Received) error {
		calls++
		if got, want := r.Position, cfg.Topic+"[0]@0"; got != want {
			t.Errorf("Position: got %s, want %s", got, want)
		}
		if got, want := r.Key, sent[0].Key(); got != want {
			t.Errorf("Key: got %s, want %s", got, want)
		}
		if got, want := string(r.Body), string(sent[0].Body); got != want {
			t.Errorf("Body: got %s, want %s", got, want)
		}
		if got, want := r.Attributes, sent[0].Attributes(); !slices.Equal(got, want) {
			t.Errorf("Attributes: got %v, want %v", got, want)
		}
		return stop
	})
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("got error %v after %d calls, want the error of yield after 1", err, calls)
	}
}

// TestTailFollow sees what is published after it began, and nothing else.
func TestTailFollow(t *testing.T) {
	brokers := testkafka.Brokers(t)
	cfg := testConfig(t, brokers)
	p := start(t, cfg)
	publish(t, p, messages(0, 50), nil)
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	var mu sync.Mutex
	seen := make(map[string]int)
	all := make(chan error, 1)
	go func() {
		all <- Tail(ctx, cfg, sinks.TailOptions{Follow: true}, func(r sinks.Received) error {
			mu.Lock()
			defer mu.Unlock()
			seen[r.Attribute("id")]++
			return nil
		})
	}()
	for n := 50; ; n += 50 { // the reader stands at the end of every partition at some time
		publish(t, p, messages(n, 50), nil)
		mu.Lock()
		missing := 0
		for _, m := range messages(n, 50) {
			if seen[m.ID] == 0 {
				missing++
			}
		}
		mu.Unlock()
		if missing == 0 {
			break
		}
		if wait.For(ctx, 20*time.Millisecond) != nil {
			t.Fatal("the reader never caught up")
		}
		n -= 50
		p.settled = map[string]int{} // the same messages again
	}
	cancel()
	if err := <-all; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if seen[messages(0, 1)[0].ID] > 0 {
		t.Error("got a message from before the start")
	}
}

// TestTailTransactions compares with franz-go's committed reader over topics
// in which several producers committed, aborted, left open and did without
// transactions, between one another and with every codec.
func TestTailTransactions(t *testing.T) {
	brokers := testkafka.Brokers(t)
	for round := range 6 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			cfg := testConfig(t, brokers)
			testkafka.Create(t, brokers, cfg.Topic, 2)
			sent := produceMixed(t, brokers, cfg.Topic)
			c, err := newClient(&cfg, new(net.Dialer).DialContext, cfg.Topic)
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			c.fetchBytes = []int32{1, 300, 1 << 20}[round%3] // 1: a batch at a time
			var got, want []string
			// A commit is answered before it can be read.
			for deadline := time.Now().Add(hang); ; time.Sleep(200 * time.Millisecond) {
				got, want = tailed(t, c, &cfg), consumed(t, brokers, cfg.Topic)
				if slices.Equal(got, want) || time.Now().After(deadline) {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %d records\n%s\nwant %d\n%s", len(got), strings.Join(got, "\n"), len(want), strings.Join(want, "\n"))
			}
			for _, r := range got {
				if strings.Contains(r, "aborted") || strings.Contains(r, "open") {
					t.Errorf("got %s", r)
				}
			}
			t.Logf("%d of %d records are committed", len(got), sent)
		})
	}
}

// tailed lists what the tail reader finds in a topic of two partitions.
func tailed(t *testing.T, c *client, cfg *Config) (list []string) {
	t.Helper()
	tail := &tailer{client: c, cfg: cfg, opts: sinks.TailOptions{FromStart: true}, yield: func(r sinks.Received) error {
		list = append(list, r.Position+" "+r.Key+" "+string(r.Body))
		return nil
	}}
	if err := tail.run(t.Context(), map[string]int{cfg.Topic: 2}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// consumed lists what franz-go's committed reader finds.
func consumed(t *testing.T, brokers []string, topic string) (list []string) {
	t.Helper()
	for _, r := range consume(t, brokers, topic) {
		list = append(list, fmt.Sprintf("%s[%d]@%d %s %s", r.Topic, r.Partition, r.Offset, r.Key, r.Value))
	}
	slices.Sort(list)
	return list
}

// produceMixed interleaves producers and returns how many records they wrote.
// Values say what became of them.
func produceMixed(t *testing.T, brokers []string, topic string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	codecs := []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
	sent := 0
	send := func(cl *kgo.Client, what string) {
		for range 1 + rand.IntN(5) {
			sent++
			r := &kgo.Record{Topic: topic, Partition: int32(rand.IntN(2)), Key: fmt.Append(nil, sent), Value: fmt.Appendf(nil, "%s %d", what, sent)}
			if sent%17 == 0 {
				r.Key = nil
			}
			if err := cl.ProduceSync(ctx, r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	producer := func(opts ...kgo.Opt) *kgo.Client {
		cl, err := kgo.NewClient(append([]kgo.Opt{
			kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.ProducerBatchCompression(codecs[rand.IntN(len(codecs))]), kgo.ProducerLinger(0), kgo.MetadataMinAge(20 * time.Millisecond),
		}, opts...)...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.Close)
		return cl
	}
	plain := producer()
	var txs [3]*kgo.Client
	outcome := make([]string, len(txs)) // of the transaction that is open
	for i := range txs {
		txs[i] = producer(kgo.TransactionalID(fmt.Sprintf("%s-%d", topic, i)), kgo.TransactionTimeout(time.Minute))
	}
	end := func(i int) {
		if err := txs[i].EndTransaction(ctx, kgo.TransactionEndTry(outcome[i] == "committed")); err != nil {
			t.Fatal(err)
		}
		outcome[i] = ""
	}
	for range 40 {
		i := rand.IntN(len(txs) + 1)
		switch {
		case i == len(txs):
			send(plain, "plain")
		case outcome[i] == "":
			if err := txs[i].BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			outcome[i] = []string{"committed", "aborted"}[rand.IntN(2)]
			send(txs[i], outcome[i])
		case rand.IntN(2) == 0:
			send(txs[i], outcome[i])
		default:
			end(i)
		}
	}
	for i := range txs {
		if outcome[i] != "" {
			end(i)
		}
	}
	// What follows an open transaction is not stable yet.
	send(plain, "plain")
	if err := txs[0].BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	send(txs[0], "open")
	send(plain, "plain")
	return sent
}

// TestTailCompacted reads a log with holes.
func TestTailCompacted(t *testing.T) {
	cluster := testkafka.Faulty(t)
	cfg := testConfig(t, cluster.ListenAddrs())
	testkafka.Create(t, cfg.Brokers, cfg.Topic, 1, "cleanup.policy", "compact", "segment.bytes", "20000", "min.cleanable.dirty.ratio", "0.0")
	p := start(t, cfg)
	for n := range 10 {
		publish(t, p, messages(n*200, 200), nil)
	}
	cluster.Compact()
	want := len(consume(t, cfg.Brokers, cfg.Topic))
	got := 0
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	if err := Tail(ctx, cfg, sinks.TailOptions{FromStart: true}, func(sinks.Received) error { got++; return nil }); err != nil {
		t.Fatal(err)
	}
	if got != want || want >= 2000 {
		t.Errorf("got %d records, want %d, fewer than the 2000 sent", got, want)
	}
}

// TestTailRetention loses its place to retention and goes on with what is left.
func TestTailRetention(t *testing.T) {
	cluster := testkafka.Faulty(t)
	cfg := testConfig(t, cluster.ListenAddrs())
	cfg.Partitions = 1
	p := start(t, cfg)
	for n := range 5 {
		publish(t, p, messages(n*10, 10), nil)
	}
	got := 0
	err := Tail(t.Context(), cfg, sinks.TailOptions{FromStart: true}, func(sinks.Received) error {
		if got++; got == 1 {
			return cluster.DeleteRecords(cfg.Topic, 0, 40)
		}
		return nil
	})
	if err != nil || got < 10 {
		t.Errorf("got %d records and error %v, want at least the 10 that were left", got, err)
	}
}

func TestTailMissingTopic(t *testing.T) {
	brokers := testkafka.Brokers(t)
	cfg := testConfig(t, brokers)
	err := Tail(t.Context(), cfg, sinks.TailOptions{}, func(sinks.Received) error { return nil })
	if !fault.IsFatal(err) || !strings.Contains(err.Error(), cfg.Topic) || !strings.Contains(err.Error(), "KAFKA_TOPIC") {
		t.Errorf("got %v, want a fatal error that names the topic and KAFKA_TOPIC", err)
	}
}
