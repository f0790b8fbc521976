package kafka

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
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

// TestTransactionChaos commits while leaders and coordinators move every
// 100 ms, answers are lost after the append, and transactions break.
func TestTransactionChaos(t *testing.T) {
	const commits, size = 60, 300
	cluster := testkafka.Faulty(t, kfake.NumBrokers(3))
	u, net := newUnitTest(t, cluster.ListenAddrs()), &network{}
	u.dial = net.dial
	s := u.open("ann")
	s.grace = 20 * time.Millisecond
	var faults []*kfake.FaultHandle
	for key, codes := range map[kmsg.Key][]*kerr.Error{
		kmsg.Produce: {
			kerr.RequestTimedOut, kerr.NotEnoughReplicasAfterAppend, // appended all the same
			kerr.NotLeaderForPartition, kerr.NotEnoughReplicas, kerr.KafkaStorageError, kerr.OutOfOrderSequenceNumber,
		},
		kmsg.AddPartitionsToTxn: {kerr.ConcurrentTransactions, kerr.NotCoordinator, kerr.InvalidProducerEpoch},
		kmsg.EndTxn:             {kerr.ConcurrentTransactions, kerr.NotCoordinator, kerr.CoordinatorNotAvailable, kerr.InvalidTxnState, kerr.ProducerFenced},
		kmsg.InitProducerID:     {kerr.ConcurrentTransactions, kerr.NotCoordinator},
	} {
		for _, e := range codes {
			faults = append(faults, cluster.Fault(kfake.Fault{
				Keys: []kmsg.Key{key}, Err: e, Count: -1, When: func(kmsg.Request) bool { return rand.IntN(60) == 0 },
			}))
		}
	}
	moved := make(chan int)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		n := 0
		for ; wait.For(ctx, 100*time.Millisecond) == nil; n++ {
			err := errors.Join(
				cluster.MoveTopicPartition(u.cfg.Topic, int32(n%u.cfg.Partitions), int32(rand.IntN(3))),
				cluster.MoveTopicPartition(u.cfg.CheckpointTopic, 0, int32(rand.IntN(3))))
			if err != nil {
				t.Error(err)
			}
			key := []kmsg.Key{kmsg.Produce, kmsg.EndTxn, kmsg.AddPartitionsToTxn}[n%3]
			net.lose(key, rand.IntN(2), rand.IntN(2))
		}
		moved <- n
	}()
	for i := range commits {
		u.commit(s, commit(i*size, size))
	}
	cancel()
	moves, hits := <-moved, 0
	for _, f := range faults {
		hits += f.Hits()
		f.Remove()
	}
	net.lose(-2, 0, 0)
	t.Logf("%d leader moves, %d faults, %d losses on the network", moves, hits, net.count())
	if moves < 3 || hits < 10 || net.count() < 3 {
		t.Error("too few to prove anything")
	}
	u.check(messages(0, commits*size), "ann")
}

// TestTransactionRejected commits messages above the topic's limit, by size
// and by the broker's word: they are named, nothing of the commit is
// published, and its neighbours are once with the next.
func TestTransactionRejected(t *testing.T) {
	t.Parallel()
	for _, lowered := range []bool{false, true} {
		name := "above the limit"
		if lowered {
			name = "limit lowered"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newUnitTest(t, testkafka.Brokers(t))
			u.cfg.Compression = "none"
			testkafka.Create(t, u.cfg.Brokers, u.cfg.Topic, 3, "max.message.bytes", "20000")
			s := u.open("ann")
			if lowered {
				s.publisher.limits.MaxMessageBytes = batchBytes
				for range parallel {
					e := <-s.publisher.encoders
					e.batch.maxBytes = batchBytes
					s.publisher.encoders <- e
				}
			}
			c := commit(0, 600)
			large := []int{0, 17, 18, 333, 599}
			for _, i := range large {
				c.Events[i].Body = noise(30_000)
			}
			c.Dead = messages(5000, 2)
			err := s.Commit(t.Context(), c)
			rejected, ok := errors.AsType[*sinks.RejectedError](err)
			if !ok {
				t.Fatalf("got %v, want a RejectedError", err)
			}
			t.Log(err)
			var got []int
			for _, m := range rejected.Messages {
				if m.Dead {
					t.Errorf("got rejected dead letter %d", m.Index)
				}
				got = append(got, m.Index)
			}
			if !slices.Equal(got, large) {
				t.Errorf("rejected: got %v, want %v", got, large)
			}
			if got := len(u.stored(u.cfg.Topic)) + len(u.stored(u.cfg.DeadletterTopic)); got != 0 {
				t.Errorf("got %d messages of the rejected commit, want none", got)
			}
			for i := len(large) - 1; i >= 0; i-- {
				c.Dead = append(c.Dead, messages(6000+large[i], 1)...)
				c.Events = slices.Delete(c.Events, large[i], large[i]+1)
			}
			u.commit(s, c)
			checkStored(t, u.stored(u.cfg.Topic), c.Events)
			checkStored(t, u.stored(u.cfg.DeadletterTopic), append(slices.Clip(c.Dead[:2]), sorted(c.Dead[2:])...))
			u.checkNumbers()
		})
	}
}

func sorted(messages []schema.Message) []schema.Message {
	return slices.SortedFunc(slices.Values(messages), func(a, b schema.Message) int { return strings.Compare(a.ID, b.ID) })
}

// TestTransactionTimedOut takes longer than the coordinator lets it.
func TestTransactionTimedOut(t *testing.T) {
	t.Parallel()
	u, net := newUnitTest(t, testkafka.Brokers(t)), &network{}
	u.dial = net.dial
	u.timeout = 3 * time.Second // for each of the others, however slow the brokers are
	s := u.open("ann")
	s.grace = 20 * time.Millisecond
	u.commit(s, commit(0, 10))
	before := s.producer
	net.lose(kmsg.EndTxn, math.MaxInt, 0)
	result := make(chan error, 1)
	go func() { result <- s.Commit(t.Context(), commit(10, 10)) }()
	eventually(t, "it tried to commit", func() bool { return net.count() > 0 })
	u.stored(u.cfg.CheckpointTopic) // once the coordinator aborted it
	net.lose(kmsg.EndTxn, 0, 0)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	if s.producer == before {
		t.Error("the transaction did not time out")
	}
	u.commit(s, commit(20, 10))
	u.check(messages(0, 30), "ann")
	if got := u.uncommitted(); got < 40 {
		t.Errorf("got %d events, committed or not, want 40 with those that were aborted", got)
	}
}

// TestTransactionEpochs uses up the epochs of a producer id.
func TestTransactionEpochs(t *testing.T) {
	t.Parallel()
	cluster := testkafka.Faulty(t)
	u := newUnitTest(t, cluster.ListenAddrs())
	s := u.open("ann")
	s.grace = 20 * time.Millisecond
	u.commit(s, commit(0, 10))
	id := s.producer.id
	exhaust(t, u, s.coordinator.id, math.MaxInt16-3)
	for i := range 5 { // each fenced by the one before, and later by itself
		cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.InvalidTxnState})
		u.commit(s, commit(10+10*i, 10))
	}
	if s.producer.id == id || s.producer.epoch > 10 {
		t.Errorf("got producer %v, want another than %d", s.producer, id)
	}
	u.check(messages(0, 60), "ann")
}

// exhaust begins epochs of a transactional id up to epoch: many requests at a
// time, as there are thousands.
func exhaust(t *testing.T, u *unitTest, id string, epoch int16) {
	t.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.SetVersion(1)
	req.TransactionalID, req.TransactionTimeoutMillis = &id, 60_000
	request := kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", u.cfg.Brokers[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const size = 4 + 4 + 4 + 2 + 8 + 2 // length, correlation id, throttling, error, id and epoch
	for last, n := int16(0), 1; last < epoch; n = min(int(epoch-last), 500) {
		if _, err := conn.Write(bytes.Repeat(request, n)); err != nil {
			t.Fatal(err)
		}
		answers := make([]byte, n*size)
		if _, err := io.ReadFull(conn, answers); err != nil {
			t.Fatal(err)
		}
		answer := answers[(n-1)*size:]
		if code := binary.BigEndian.Uint16(answer[12:]); code != 0 {
			t.Fatal(kerr.ErrorForCode(int16(code)))
		}
		last = int16(binary.BigEndian.Uint16(answer[size-2:]))
	}
}

// TestTransactionRights lacks a right that only a person can grant.
func TestTransactionRights(t *testing.T) {
	t.Parallel()
	tests := []struct {
		key  kmsg.Key
		err  *kerr.Error
		want []string
	}{
		{kmsg.AddPartitionsToTxn, kerr.TransactionalIDAuthorizationFailed, []string{"transactional id", "WRITE", "KAFKA_TRANSACTIONAL_ID", "KAFKA_SASL_USERNAME"}},
		{kmsg.AddPartitionsToTxn, kerr.TopicAuthorizationFailed, []string{"WRITE on topic", "KAFKA_SASL_USERNAME"}},
		{kmsg.Produce, kerr.TopicAuthorizationFailed, []string{"WRITE on topic", "KAFKA_SASL_USERNAME"}},
		{kmsg.Produce, kerr.ClusterAuthorizationFailed, []string{"IDEMPOTENT_WRITE", "KAFKA_SASL_USERNAME"}},
		{kmsg.Produce, kerr.TransactionalIDAuthorizationFailed, []string{"transactional id", "KAFKA_TRANSACTIONAL_ID"}},
		{kmsg.EndTxn, kerr.TransactionalIDAuthorizationFailed, []string{"transactional id", "KAFKA_TRANSACTIONAL_ID"}},
		{kmsg.InitProducerID, kerr.TransactionalIDAuthorizationFailed, []string{"transactional id", "KAFKA_TRANSACTIONAL_ID"}},
		{kmsg.InitProducerID, kerr.ClusterAuthorizationFailed, []string{"IDEMPOTENT_WRITE"}},
		{kmsg.InitProducerID, kerr.InvalidTransactionTimeout, []string{"transaction.max.timeout.ms"}},
	}
	for _, tt := range tests {
		t.Run(tt.key.Name()+"/"+tt.err.Message, func(t *testing.T) {
			t.Parallel()
			cluster := testkafka.Faulty(t)
			u := newUnitTest(t, cluster.ListenAddrs())
			s := u.open("ann")
			u.commit(s, commit(0, 10))
			lack := kfake.Fault{Keys: []kmsg.Key{tt.key}, Err: tt.err, Count: -1}
			if tt.key == kmsg.AddPartitionsToTxn && tt.err == kerr.TopicAuthorizationFailed {
				lack.Topic = u.cfg.Topic // the others are not attempted
			}
			faults := cluster.Fault(lack)
			var err error
			if tt.key == kmsg.InitProducerID {
				_, err = u.tryOpen("ben")
			} else {
				err = s.Commit(t.Context(), commit(10, 10))
			}
			t.Log(err)
			if !fault.IsFatal(err) {
				t.Errorf("got %v, want a fatal error", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
			faults.Remove()
			if tt.key == kmsg.EndTxn { // nobody can tell
				if err := s.Commit(t.Context(), commit(10, 10)); !errors.Is(err, errInDoubt) {
					t.Errorf("got %v, want errInDoubt", err)
				}
				s = u.open("ann")
			}
			u.commit(s, commit(10, 10))
			u.check(messages(0, 20), "ann")
		})
	}
}

// TestTransactionCancelled ends ctx while the brokers do not answer.
func TestTransactionCancelled(t *testing.T) {
	t.Parallel()
	for _, key := range []kmsg.Key{kmsg.AddPartitionsToTxn, kmsg.Produce, kmsg.EndTxn} {
		t.Run(key.Name(), func(t *testing.T) {
			t.Parallel()
			cluster := testkafka.Faulty(t)
			u := newUnitTest(t, cluster.ListenAddrs())
			s := u.open("ann")
			u.commit(s, commit(0, 10))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var began atomic.Pointer[time.Time]
			cluster.ControlKey(int16(key), func(r kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				if p, ok := r.(*kmsg.ProduceRequest); ok && p.Topics[0].Topic != u.cfg.CheckpointTopic {
					return nil, nil, false // the events are stored
				}
				now := time.Now()
				if began.CompareAndSwap(nil, &now) {
					time.AfterFunc(50*time.Millisecond, cancel)
				}
				return nil, nil, true // without an answer
			})
			if err := s.Commit(ctx, commit(10, 10)); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want context.Canceled", err)
			}
			if d := time.Since(*began.Load()); d > promptly {
				t.Errorf("returned after %v", d)
			}
			if key == kmsg.EndTxn {
				if err := s.Commit(t.Context(), commit(10, 10)); !errors.Is(err, errInDoubt) {
					t.Errorf("got %v, want errInDoubt", err)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if d := time.Since(*began.Load()); d > abortTimeout+promptly {
				t.Errorf("closed after %v", d)
			}
			if key != kmsg.EndTxn {
				u.check(messages(0, 10), "ann") // no transaction is open
			}
		})
	}
}

// TestTransactionOutage lasts an hour: the session keeps trying, keeps
// nothing, and goes on by itself.
func TestTransactionOutage(t *testing.T) {
	for _, key := range []kmsg.Key{kmsg.Produce, kmsg.AddPartitionsToTxn, kmsg.EndTxn} {
		t.Run(key.Name(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var network kfake.VirtualNetwork
				cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(network.Listen))
				if err != nil {
					t.Fatal(err)
				}
				defer cluster.Close()
				u := newUnitTest(t, cluster.ListenAddrs())
				u.dial = network.DialContext
				s := u.open("ann")
				u.commit(s, commit(0, 10))
				code := kerr.NotEnoughReplicas
				if key != kmsg.Produce {
					code = kerr.CoordinatorNotAvailable
				}
				outage := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: code, Count: -1})
				time.AfterFunc(time.Hour, outage.Remove)
				var before, after runtime.MemStats
				time.AfterFunc(5*time.Minute, func() { runtime.GC(); runtime.ReadMemStats(&before) })
				time.AfterFunc(55*time.Minute, func() { runtime.GC(); runtime.ReadMemStats(&after) })
				if err := s.Commit(t.Context(), commit(10, 100)); err != nil {
					t.Fatal(err)
				}
				if err := s.Commit(t.Context(), commit(110, 10)); err != nil {
					t.Fatal(err)
				}
				grown := int64(after.HeapAlloc) - int64(before.HeapAlloc)
				t.Logf("%d attempts, heap grown by %d KB in 50 minutes, %d lines logged", outage.Hits(), grown>>10, u.log.count("\n"))
				if grown > 2<<20 {
					t.Errorf("the heap grew by %d bytes", grown)
				}
				if got := u.log.count("trying again"); got > 800 {
					t.Errorf("got %d lines about failures in an hour", got)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
