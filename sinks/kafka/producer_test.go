package kafka

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"connector/internal/fault"
	"connector/internal/testkafka"
	"connector/internal/wait"
	"connector/schema"
	"connector/sinks"
)

// TestChaos publishes while leaders move and answers are lost after the
// append: nothing may be lost, stored twice, or out of order.
func TestChaos(t *testing.T) {
	t.Parallel()
	const commits, size = 40, 500
	cluster := testkafka.Faulty(t, kfake.NumBrokers(3))
	cfg := testConfig(t, cluster.ListenAddrs())
	p := start(t, cfg)
	var faults []*kfake.FaultHandle
	for _, e := range []*kerr.Error{
		kerr.RequestTimedOut, kerr.NotEnoughReplicasAfterAppend, // appended all the same
		kerr.NotLeaderForPartition, kerr.NotEnoughReplicas, kerr.KafkaStorageError, kerr.CorruptMessage,
	} {
		faults = append(faults, cluster.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Produce}, Topic: cfg.Topic, Err: e, Count: -1,
			When: func(kmsg.Request) bool { return rand.IntN(25) == 0 },
		}))
	}
	moved := make(chan int)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		n := 0
		for ; wait.For(ctx, 50*time.Millisecond) == nil; n++ {
			if err := cluster.MoveTopicPartition(cfg.Topic, int32(n%cfg.Partitions), int32(rand.IntN(3))); err != nil {
				t.Error(err)
			}
		}
		moved <- n
	}()
	for i := range commits {
		publish(t, p, messages(i*size, size), nil)
	}
	cancel()
	moves, lost := <-moved, 0
	for _, f := range faults {
		lost += f.Hits()
		f.Remove()
	}
	t.Logf("%d leader moves, %d faults", moves, lost)
	if moves < 3 || lost < 10 {
		t.Errorf("got %d moves and %d faults, too few to prove anything", moves, lost)
	}
	checkStored(t, consume(t, cfg.Brokers, cfg.Topic), messages(0, commits*size))
	checkSequences(t, p, commits*size)
}

// TestLostAnswers cuts connections while answers come in, on a real Kafka
// where there is one.
func TestLostAnswers(t *testing.T) {
	const commits, size = 40, 100
	brokers := testkafka.Brokers(t)
	cfg := testConfig(t, brokers)
	var answers, cuts atomic.Int32
	var on atomic.Bool
	p := startWith(t, cfg, slog.New(slog.DiscardHandler), func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return &cutConn{Conn: conn, cut: func() bool {
			if !on.Load() || answers.Add(1)%11 > 0 {
				return false
			}
			cuts.Add(1)
			return true
		}}, err
	})
	on.Store(true)
	for i := range commits {
		publish(t, p, messages(i*size, size), nil)
	}
	if got := cuts.Load(); got < 5 {
		t.Errorf("got %d lost answers, too few to prove anything", got)
	}
	t.Logf("%d answers lost", cuts.Load())
	checkStored(t, consume(t, brokers, cfg.Topic), messages(0, commits*size))
	checkSequences(t, p, commits*size)
}

// cutConn loses what the other side sends once cut says so.
type cutConn struct {
	net.Conn
	cut func() bool
}

func (c *cutConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil && c.cut() {
		c.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

// TestDoubt ends ctx while most answers are lost. The next call settles that
// before anything else, whatever it publishes.
func TestDoubt(t *testing.T) {
	first, other := messages(0, 200), messages(200, 10)
	tests := []struct {
		name  string
		calls [][]schema.Message
	}{
		{"same commit", [][]schema.Message{first}},
		{"more than that", [][]schema.Message{append(first[:200:200], other...)}},
		{"nothing, then the same", [][]schema.Message{nil, first}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cluster := testkafka.Faulty(t)
			cfg := testConfig(t, cluster.ListenAddrs())
			cfg.Partitions = 4 * parallel
			p := start(t, cfg)
			lost := cluster.Fault(kfake.Fault{ // stored
				Keys: []kmsg.Key{kmsg.Produce}, Topic: cfg.Topic, Err: kerr.RequestTimedOut, Count: -1,
				When: func(kmsg.Request) bool { return rand.IntN(10) > 5 },
			}, kfake.Fault{ // not stored
				Keys: []kmsg.Key{kmsg.Produce}, Topic: cfg.Topic, Err: kerr.NotEnoughReplicas, Count: -1,
				When: func(kmsg.Request) bool { return rand.IntN(10) > 1 },
			})
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if err := p.Publish(ctx, first, nil); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("Publish: got %v, want context.DeadlineExceeded", err)
			}
			if end, _ := ctx.Deadline(); time.Since(end) > promptly {
				t.Errorf("returned %v after the end of ctx", time.Since(end))
			}
			lost.Remove()
			for _, events := range tt.calls {
				publish(t, p, events, nil)
			}
			want := first
			if tt.name == "more than that" {
				want = tt.calls[0]
			}
			checkStored(t, consume(t, cfg.Brokers, cfg.Topic), want)
		})
	}
}

// TestUnanswered publishes to a broker that never answers: Publish still ends
// with ctx, and Close leaves nothing behind.
func TestUnanswered(t *testing.T) {
	cluster := testkafka.Faulty(t)
	p := start(t, testConfig(t, cluster.ListenAddrs()))
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		return nil, nil, true
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(nil) })
	began := time.Now()
	if err := p.Publish(ctx, messages(0, 100), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if d := time.Since(began); d > promptly {
		t.Errorf("returned after %v", d)
	}
	p.client.close()
	if n := len(p.client.conns.open); n > 0 {
		t.Errorf("got %d connections open after Close", n)
	}
}

// TestRenumber makes the broker reject our sequence: on a real Kafka by
// leaving a gap, on the stand-in with each code that means it.
func TestRenumber(t *testing.T) {
	t.Run("gap", func(t *testing.T) {
		brokers := testkafka.Brokers(t)
		var log logs
		cfg := testConfig(t, brokers)
		p := startWith(t, cfg, log.logger(), new(net.Dialer).DialContext)
		publish(t, p, messages(0, 200), nil)
		id := p.partitions[cfg.Topic][1].producer
		p.partitions[cfg.Topic][1].sequence += 1000
		publish(t, p, messages(200, 200), nil)
		publish(t, p, messages(400, 200), nil)
		checkStored(t, consume(t, brokers, cfg.Topic), messages(0, 600))
		if got := log.count("new producer id"); got != 1 {
			t.Errorf("got %d log lines, want 1:\n%s", got, log.String())
		}
		for i, part := range p.partitions[cfg.Topic] {
			if renewed := part.producer != id; renewed != (i == 1) {
				t.Errorf("partition %d: new producer id: got %v", i, renewed)
			}
			if part.sequence >= 1000 {
				t.Errorf("partition %d: got sequence %d, want it counted anew", i, part.sequence)
			}
		}
	})
	for _, e := range []*kerr.Error{kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID, kerr.InvalidTxnState, kerr.InvalidProducerIDMapping} {
		t.Run(e.Message, func(t *testing.T) {
			cluster := testkafka.Faulty(t)
			cfg := testConfig(t, cluster.ListenAddrs())
			p := start(t, cfg)
			publish(t, p, messages(0, 100), nil)
			cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: cfg.Topic, Err: e, Count: 3})
			publish(t, p, messages(100, 100), nil)
			checkStored(t, consume(t, cfg.Brokers, cfg.Topic), messages(0, 200))
		})
	}
}

// TestFenced sends with an epoch below the one the broker has seen.
func TestFenced(t *testing.T) {
	brokers := testkafka.Brokers(t)
	cfg := testConfig(t, brokers)
	cfg.Partitions = 1
	p := start(t, cfg)
	part := p.partitions[cfg.Topic][0]
	part.producer.epoch = 5
	publish(t, p, messages(0, 10), nil)
	part.producer.epoch = 4
	if err := p.Publish(t.Context(), messages(10, 10), nil); !errors.Is(err, sinks.ErrFenced) {
		t.Errorf("got %v, want ErrFenced", err)
	}
	checkStored(t, consume(t, brokers, cfg.Topic), messages(0, 10))
}

// TestStopped answers with faults that only a person can mend. Partitions
// that could be trying for ever do not hide them.
func TestStopped(t *testing.T) {
	tests := []struct {
		err  *kerr.Error
		want string
	}{
		{kerr.TopicAuthorizationFailed, "KAFKA_SASL_USERNAME"},
		{kerr.ClusterAuthorizationFailed, "KAFKA_SASL_USERNAME"},
		{kerr.UnsupportedCompressionType, "KAFKA_COMPRESSION"},
		{kerr.PolicyViolation, "see the log of the Kafka brokers"},
	}
	for _, tt := range tests {
		t.Run(tt.err.Message, func(t *testing.T) {
			cluster := testkafka.Faulty(t)
			cfg := testConfig(t, cluster.ListenAddrs())
			p := start(t, cfg)
			faults := cluster.Fault(
				kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: cfg.Topic, Partitions: []int32{2}, Err: tt.err, Count: -1},
				kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: cfg.Topic, Partitions: []int32{0}, Err: kerr.NotEnoughReplicas, Count: -1},
			)
			err := p.Publish(t.Context(), messages(0, 100), nil)
			if !fault.IsFatal(err) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want a fatal error with %q", err, tt.want)
			}
			t.Log(err)
			faults.Remove()
			publish(t, p, messages(0, 100), nil)
			checkStored(t, consume(t, cfg.Brokers, cfg.Topic), messages(0, 100))
		})
	}
}

// TestInvalidRecord refuses batches that hold certain messages.
func TestInvalidRecord(t *testing.T) {
	for _, e := range []*kerr.Error{kerr.InvalidRecord, kerr.InvalidTimestamp, kerr.RecordListTooLarge} {
		t.Run(e.Message, func(t *testing.T) {
			cluster := testkafka.Faulty(t)
			cfg := testConfig(t, cluster.ListenAddrs())
			cfg.Compression, cfg.Partitions = "none", 1
			p := start(t, cfg)
			cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: e, Count: -1, When: func(r kmsg.Request) bool {
				return bytes.Contains(r.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records, []byte("poison"))
			}})
			events, dead := messages(0, 1000), messages(5000, 3)
			poison := []int{3, 4, 500, 999}
			for _, i := range poison {
				events[i].Body = []byte("poison")
			}
			dead[1].Body = []byte("poison")
			err := p.Publish(t.Context(), events, dead)
			rejected, ok := errors.AsType[*sinks.RejectedError](err)
			if !ok {
				t.Fatalf("got %v, want a RejectedError", err)
			}
			t.Log(err)
			var got []sinks.Rejection
			for _, m := range rejected.Messages {
				got = append(got, sinks.Rejection{Dead: m.Dead, Index: m.Index})
			}
			want := []sinks.Rejection{{Index: 3}, {Index: 4}, {Index: 500}, {Index: 999}, {Dead: true, Index: 1}}
			if !slices.Equal(got, want) {
				t.Errorf("rejected: got %v, want %v", got, want)
			}
			for i := len(poison) - 1; i >= 0; i-- {
				events = slices.Delete(events, poison[i], poison[i]+1)
			}
			publish(t, p, events, dead[:1]) // nothing new
			checkStored(t, consume(t, cfg.Brokers, cfg.Topic), events)
			checkStored(t, consume(t, cfg.Brokers, cfg.DeadletterTopic), []schema.Message{dead[0], dead[2]})
		})
	}
}
