package kafka

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"connector/internal/testkafka"
)

// network loses requests or answers of one kind between the connector and
// the brokers.
type network struct {
	mu      sync.Mutex
	key     kmsg.Key
	request int // how many requests are lost
	answer  int // how many answers are lost, after that
	hits    int
	delayed []byte // a lost request that arrives before the next InitProducerId, if delay says so
	delay   bool
}

func (n *network) lose(key kmsg.Key, requests, answers int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.key, n.request, n.answer = key, requests, answers
}

func (n *network) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	return &lossyConn{Conn: conn, network: n}, err
}

func (n *network) loses(key kmsg.Key, left *int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if key != n.key || *left == 0 {
		return false
	}
	*left--
	n.hits++
	return true
}

// lossyConn carries one request at a time, as the transport's do.
type lossyConn struct {
	net.Conn
	network *network
	key     kmsg.Key
}

func (c *lossyConn) Write(b []byte) (int, error) {
	c.key = -1
	if len(b) >= 6 {
		c.key = kmsg.Key(binary.BigEndian.Uint16(b[4:]))
	}
	if c.network.loses(c.key, &c.network.request) {
		c.network.delayed = bytes.Clone(b)
		c.Close()
		return 0, net.ErrClosed
	}
	if c.key == kmsg.InitProducerID && c.network.delay {
		c.network.deliver(c.RemoteAddr().String())
	}
	return c.Conn.Write(b)
}

// deliver sends the request that was delayed and waits for the answer.
func (n *network) deliver(address string) {
	n.delay = false
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write(n.delayed)
	_, _ = conn.Read(make([]byte, 100))
}

func (c *lossyConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil && c.network.loses(c.key, &c.network.answer) {
		c.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

// TestTransactionFaults answers a request of the second of three commits with
// an error. Readers of committed messages see each event once all the same.
func TestTransactionFaults(t *testing.T) {
	t.Parallel()
	produce, add, end, initID := kmsg.Produce, kmsg.AddPartitionsToTxn, kmsg.EndTxn, kmsg.InitProducerID
	tests := []struct {
		key   kmsg.Key
		codes []*kerr.Error
		anew  bool // whether the commit is done anew, under the next epoch
	}{
		{produce, []*kerr.Error{
			kerr.CorruptMessage, kerr.UnknownTopicOrPartition, kerr.LeaderNotAvailable, kerr.NotLeaderForPartition,
			kerr.RequestTimedOut, kerr.BrokerNotAvailable, kerr.NetworkException, kerr.CoordinatorLoadInProgress,
			kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.ConcurrentTransactions, kerr.KafkaStorageError,
			kerr.FencedLeaderEpoch, kerr.UnknownLeaderEpoch,
		}, false},
		{produce, []*kerr.Error{
			kerr.OutOfOrderSequenceNumber, kerr.InvalidTxnState, kerr.InvalidProducerIDMapping,
			kerr.OperationNotAttempted, kerr.UnknownProducerID,
			kerr.InvalidProducerEpoch, kerr.TransactionCoordinatorFenced, kerr.ProducerFenced, // though nobody else owns the unit
		}, true},
		{add, []*kerr.Error{
			kerr.UnknownTopicOrPartition, kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable,
			kerr.NotCoordinator, kerr.ConcurrentTransactions,
		}, false},
		{add, []*kerr.Error{
			kerr.InvalidTxnState, kerr.InvalidProducerIDMapping, kerr.OperationNotAttempted,
			kerr.InvalidProducerEpoch, kerr.TransactionCoordinatorFenced, kerr.ProducerFenced,
		}, true},
		{end, []*kerr.Error{
			kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.ConcurrentTransactions,
			kerr.RequestTimedOut,
		}, false},
		{end, []*kerr.Error{
			kerr.InvalidTxnState, kerr.InvalidProducerIDMapping, kerr.InvalidProducerEpoch,
			kerr.TransactionCoordinatorFenced, kerr.ProducerFenced,
		}, true},
		{kmsg.FindCoordinator, []*kerr.Error{kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress}, false},
		{initID, []*kerr.Error{
			kerr.ConcurrentTransactions, kerr.CoordinatorLoadInProgress, kerr.NotCoordinator, kerr.CoordinatorNotAvailable,
			kerr.InvalidProducerEpoch, kerr.ProducerFenced, kerr.InvalidProducerIDMapping,
		}, true}, // with a fault that makes it be asked for
	}
	for _, tt := range tests {
		for _, code := range tt.codes {
			t.Run(tt.key.Name()+"/"+code.Message, func(t *testing.T) {
				t.Parallel()
				cluster := testkafka.Faulty(t)
				u := newUnitTest(t, cluster.ListenAddrs())
				s := u.open("ann")
				s.grace = 20 * time.Millisecond
				u.commit(s, commit(0, 100))
				before := s.producer
				if tt.key == initID {
					cluster.Fault(kfake.Fault{Keys: []kmsg.Key{end}, Err: kerr.InvalidTxnState})
				}
				faults := cluster.Fault(
					kfake.Fault{Keys: []kmsg.Key{tt.key}, Err: code, Count: 2},
					kfake.Fault{Keys: []kmsg.Key{tt.key}, TopLevel: true, Err: code, Count: 2},
				)
				u.commit(s, commit(100, 100))
				if got := faults.Hits(); got == 0 {
					t.Error("no request met the fault")
				}
				faults.Remove()
				u.commit(s, commit(200, 100))
				if anew := s.producer != before; anew != tt.anew {
					t.Errorf("done anew: got %v, want %v", anew, tt.anew)
				}
				u.check(messages(0, 300), "ann")
				if got := u.fence(); got.Term != 1 || got.Number != 4 {
					t.Errorf("got %v, number %d", got, got.Number)
				}
			})
		}
	}
}

// TestTransactionDuplicate answers that a batch is stored already, as it is.
func TestTransactionDuplicate(t *testing.T) {
	cluster := testkafka.Faulty(t)
	u := newUnitTest(t, cluster.ListenAddrs())
	u.cfg.Partitions = 1
	s := u.open("ann")
	u.commit(s, commit(0, 10))
	faults := cluster.Fault(
		kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: u.cfg.Topic, Err: kerr.RequestTimedOut}, // stored
		kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: u.cfg.Topic, Err: kerr.DuplicateSequenceNumber},
	)
	u.commit(s, commit(10, 10))
	u.commit(s, commit(20, 10))
	if faults.Hits() != 2 {
		t.Errorf("got %d faults, want 2", faults.Hits())
	}
	u.check(messages(0, 30), "ann")
}

// TestTransactionEndInDoubt loses the request to commit, or the answer to it,
// and what comes after tells nothing: the fence does.
func TestTransactionEndInDoubt(t *testing.T) {
	t.Parallel()
	for _, later := range []*kerr.Error{nil, kerr.InvalidTxnState, kerr.InvalidProducerIDMapping, kerr.ProducerFenced, kerr.InvalidProducerEpoch} {
		for _, committed := range []bool{true, false} {
			name := "request lost"
			if committed {
				name = "answer lost"
			}
			if later != nil {
				name += ", then " + later.Message
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				brokers := []string(nil)
				if later == nil {
					brokers = testkafka.Brokers(t)
				}
				var cluster *kfake.Cluster
				if later != nil {
					cluster = testkafka.Faulty(t)
					brokers = cluster.ListenAddrs()
				}
				u, net := newUnitTest(t, brokers), &network{}
				u.dial = net.dial
				s := u.open("ann")
				s.grace = 20 * time.Millisecond
				u.commit(s, commit(0, 10))
				if committed {
					net.lose(kmsg.EndTxn, 0, 1)
				} else {
					net.lose(kmsg.EndTxn, 1, 0)
				}
				if later != nil {
					n := 0
					cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: later, When: func(kmsg.Request) bool {
						n++
						return !committed || n == 2 // the first one is carried out
					}})
				}
				u.commit(s, commit(10, 10))
				if net.hits != 1 {
					t.Errorf("got %d losses, want 1", net.hits)
				}
				u.commit(s, commit(20, 10))
				u.check(messages(0, 30), "ann")
				if got := u.fence(); got.Term != 1 || got.Number != 4 {
					t.Errorf("got %v, number %d", got, got.Number)
				}
			})
		}
	}
}

// TestTransactionEndLate has a request to commit arrive after the answer to
// its repetition, and after the fence was read for the first time.
func TestTransactionEndLate(t *testing.T) {
	t.Parallel()
	cluster := testkafka.Faulty(t)
	u, net := newUnitTest(t, cluster.ListenAddrs()), &network{}
	u.dial = net.dial
	s := u.open("ann")
	u.commit(s, commit(0, 10))
	net.delay = true
	net.lose(kmsg.EndTxn, 1, 0)
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.InvalidTxnState})
	u.commit(s, commit(10, 10))
	if net.delay {
		t.Error("nothing was delayed")
	}
	u.commit(s, commit(20, 10))
	u.check(messages(0, 30), "ann")
}

// TestTransactionClaimInDoubt loses the answer to the commit of a takeover.
func TestTransactionClaimInDoubt(t *testing.T) {
	t.Parallel()
	cluster := testkafka.Faulty(t)
	u, net := newUnitTest(t, cluster.ListenAddrs()), &network{}
	u.dial = net.dial
	u.commit(u.open("ann"), commit(0, 10))
	net.lose(kmsg.EndTxn, 0, 1)
	n := 0
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.ProducerFenced, When: func(kmsg.Request) bool {
		n++
		return n == 2 // the first one is carried out
	}})
	u.commit(u.open("ben"), commit(10, 10))
	u.check(messages(0, 20), "ben")
	if got := u.fence(); got.Term != 2 {
		t.Errorf("got %v, want term 2", got)
	}
}

// TestTransactionLostAnswers loses answers of every kind, on a real Kafka
// where there is one.
func TestTransactionLostAnswers(t *testing.T) {
	t.Parallel()
	u, net := newUnitTest(t, testkafka.Brokers(t)), &network{}
	u.dial = net.dial
	s := u.open("ann")
	n := 0
	for _, key := range []kmsg.Key{kmsg.AddPartitionsToTxn, kmsg.Produce, kmsg.EndTxn, kmsg.FindCoordinator} {
		for _, lost := range []struct{ requests, answers int }{{1, 0}, {0, 1}, {3, 2}} {
			net.lose(key, lost.requests, lost.answers)
			u.commit(s, commit(n, 100))
			n += 100
		}
	}
	if net.hits < 10 {
		t.Errorf("got %d losses, too few to prove anything", net.hits)
	}
	t.Logf("%d requests and answers lost", net.hits)
	u.check(messages(0, n), "ann")
}
