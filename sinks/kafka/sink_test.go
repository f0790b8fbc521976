package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"connector/checkpoint"
	"connector/internal/testkafka"
	"connector/sinks"
	"connector/sinks/sinktest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, d := range []Delivery{Idempotent, Transactional} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			conform(t, d)
		})
	}
}

func conform(t *testing.T, d Delivery) {
	t.Helper()
	cfg := testConfig(t, testkafka.Brokers(t))
	cfg.Delivery = d
	testkafka.Create(t, cfg.Brokers, cfg.CheckpointTopic, 4, "cleanup.policy", "compact", "max.message.bytes", fmt.Sprint(stateBytes))
	var network breakable
	target := sinktest.Target{
		Open: func(ctx context.Context) (sinks.Sink, error) {
			return newSink(ctx, cfg, sinks.Options{Owner: "test", Log: slog.New(slog.DiscardHandler)}, network.dial)
		},
		Tail: func(ctx context.Context, opts sinks.TailOptions, yield func(sinks.Received) error) error {
			if err := settled(ctx, cfg.Brokers, cfg.Topic, cfg.DeadletterTopic); err != nil {
				return err
			}
			return Tail(ctx, cfg, opts, yield)
		},
		View: func(ctx context.Context, unit string) (checkpoint.Reader, error) {
			if err := settled(ctx, cfg.Brokers, cfg.CheckpointTopic); err != nil {
				return nil, err
			}
			return View(ctx, cfg, unit)
		},
		Trouble: network.fail,
		Damage: func(ctx context.Context, unit, key string) error {
			s, err := View(ctx, cfg, unit)
			if err != nil {
				return err
			}
			defer s.Close()
			state := s.(*reader).state
			return writeState(ctx, cfg, state.view.partition, state.term, checkpoint.Entry{Key: key})
		},
	}
	if d == Idempotent {
		target.PublishOnly = func(ctx context.Context, _ sinks.Sink, session sinks.Session, c sinks.Commit) error {
			return session.(*idempotent).publisher.Publish(ctx, c.Events, c.Dead)
		}
	}
	if err := sinktest.Check(t.Context(), target); err != nil {
		t.Error(err)
	}
}

// writeState writes entries to the checkpoint topic as an owner of a term would.
func writeState(ctx context.Context, cfg Config, partition int32, term uint64, entries ...checkpoint.Entry) error {
	records := make([]*kgo.Record, len(entries))
	for i, e := range entries {
		records[i] = &kgo.Record{
			Topic: cfg.CheckpointTopic, Partition: partition, Key: []byte(e.Key), Value: e.Value,
			Headers: []kgo.RecordHeader{{Key: termHeader, Value: []byte(strconv.FormatUint(term, 10))}},
		}
	}
	return store(ctx, cfg.Brokers, records...)
}

// store stores records in the partitions they name, as one batch of each.
func store(ctx context.Context, brokers []string, records ...*kgo.Record) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer cl.Close()
	return cl.ProduceSync(ctx, records...).FirstErr()
}

// breakable is a network that can fail: connections then break, and none is
// made.
type breakable struct {
	dialer dialFunc // of the real network, if nil
	cut    atomic.Bool

	mu   sync.Mutex
	open []net.Conn
}

func (b *breakable) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dial := b.dialer
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cut.Load() {
		return nil, net.ErrClosed
	}
	conn, err := dial(ctx, network, address)
	if err == nil {
		conn = &cutConn{Conn: conn, cut: b.cut.Load}
		b.open = append(b.open, conn)
	}
	return conn, err
}

// fail breaks all connections; what they have under way is lost or stored
// without an answer.
func (b *breakable) fail() (end func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cut.Store(true)
	for _, c := range b.open {
		_ = c.Close()
	}
	b.open = nil
	return func() { b.cut.Store(false) }
}

func TestGuarantee(t *testing.T) {
	s := openSink(t, testConfig(t, testkafka.Brokers(t)), sinks.Options{})
	if got := s.Guarantee(); got != sinks.OnceUnlessZombie {
		t.Errorf("got %q, want %q", got, sinks.OnceUnlessZombie)
	}
}

func openSink(t *testing.T, cfg Config, opts sinks.Options) *sink {
	t.Helper()
	return openSinkOn(t, cfg, opts, new(net.Dialer).DialContext)
}

func openSinkOn(t *testing.T, cfg Config, opts sinks.Options, dial dialFunc) *sink {
	t.Helper()
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	s, err := newSink(t.Context(), cfg, opts, dial)
	if err != nil {
		t.Fatalf("newSink: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestPartitionOf(t *testing.T) {
	for _, tt := range []struct {
		unit string
		want int32
		ok   bool
	}{{"u0", 0, true}, {"u63", 63, true}, {"u2147483647", math.MaxInt32, true}, {"u2147483648", 0, false}, {"u", 0, false}, {"0", 0, false}, {"u-1", 0, false}, {"u01", 0, false}, {"v1", 0, false}} {
		if got, err := partitionOf(tt.unit); got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%q: got %d and error %v, want %d, ok: %v", tt.unit, got, err, tt.want, tt.ok)
		}
	}
}
