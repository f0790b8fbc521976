package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"connector/checkpoint"
	"connector/internal/testkafka"
	"connector/internal/wait"
	"connector/schema"
	"connector/sinks"
)

// unitTest opens a unit in transactional delivery, again and again.
type unitTest struct {
	t       *testing.T
	cfg     Config
	dial    dialFunc
	timeout time.Duration // of transactions
	grace   time.Duration
	log     logs
}

func newUnitTest(t *testing.T, brokers []string) *unitTest {
	t.Helper()
	u := &unitTest{t: t, cfg: testConfig(t, brokers), dial: new(net.Dialer).DialContext, timeout: transactionTimeout, grace: 2 * time.Second}
	u.cfg.Delivery, u.cfg.TransactionalID = Transactional, u.cfg.CheckpointTopic
	return u
}

// open takes the unit over.
func (u *unitTest) open(owner string) *transactional {
	u.t.Helper()
	s, err := u.tryOpen(owner)
	if err != nil {
		u.t.Fatalf("opening the unit as %s: %v", owner, err)
	}
	return s
}

func (u *unitTest) tryOpen(owner string) (*transactional, error) {
	ctx, cancel := context.WithTimeout(u.t.Context(), 60*time.Second)
	defer cancel()
	sink, err := newSink(ctx, u.cfg, sinks.Options{Owner: owner, Log: u.log.logger()}, u.dial)
	if err != nil {
		return nil, err
	}
	u.t.Cleanup(func() {
		if err := sink.Close(); err != nil {
			u.t.Errorf("Close: %v", err)
		}
	})
	sink.transactionTimeout, sink.ownerGrace = u.timeout, u.grace
	session, err := sink.Open(ctx, "u0")
	if err != nil {
		return nil, err
	}
	u.t.Cleanup(func() {
		if err := session.Close(); err != nil {
			u.t.Errorf("Close: %v", err)
		}
	})
	return session.(*transactional), unmarked(ctx, session)
}

// unmarked fails if a session yields a mark, which no message has.
func unmarked(ctx context.Context, s sinks.Session) error {
	return s.Recover(ctx, func(e checkpoint.Entry) error {
		if strings.Contains(e.Key, "m/") {
			return fmt.Errorf("recovered the mark %q", e.Key)
		}
		return nil
	})
}

// commit is one of n events from first on, and state that says so.
func commit(first, n int) sinks.Commit {
	return sinks.Commit{Events: messages(first, n), State: []checkpoint.Entry{
		{Key: "last", Value: fmt.Appendf(nil, "%d", first+n)},
		{Key: fmt.Sprintf("commit-%d", first%5), Value: fmt.Appendf(nil, "%d", first)},
	}}
}

// commit fails the test unless c becomes durable.
func (u *unitTest) commit(s *transactional, c sinks.Commit) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), 60*time.Second)
	defer cancel()
	if err := s.Commit(ctx, c); err != nil {
		u.t.Fatalf("Commit: %v", err)
	}
}

// check fails the test unless readers of committed messages see exactly
// events, and the state that goes with them, of that owner.
func (u *unitTest) check(events []schema.Message, owner string) {
	u.t.Helper()
	checkStored(u.t, u.stored(u.cfg.Topic), events)
	state := u.state()
	u.checkNumbers()
	if got, want := state["last"], fmt.Sprint(len(events)); got != want && len(events) > 0 {
		u.t.Errorf("state: got %s events, want %s", got, want)
	}
	if got := u.fence().Owner; got != owner {
		u.t.Errorf("owner: got %q, want %q", got, owner)
	}
}

// stored returns what readers of committed messages see of a topic, once no
// transaction is open in it.
func (u *unitTest) stored(topic string) []*kgo.Record {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), 20*time.Second)
	defer cancel()
	if err := settled(ctx, u.cfg.Brokers, topic); err != nil {
		u.t.Fatal(err)
	}
	return consume(u.t, u.cfg.Brokers, topic)
}

// settled waits until no transaction is open in topics: the markers of one
// are written after it is committed.
func settled(ctx context.Context, brokers []string, topics ...string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.MetadataMinAge(20*time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	for admin := kadm.NewClient(cl); ; {
		ends, err := admin.ListEndOffsets(ctx, topics...)
		stable, err2 := admin.ListCommittedOffsets(ctx, topics...)
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		if reflect.DeepEqual(ends.Offsets(), stable.Offsets()) {
			return nil
		}
		if err := wait.For(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("a transaction is still open in %v: %w", topics, err)
		}
	}
}

// state returns what readers of committed messages see of the checkpoint.
func (u *unitTest) state() map[string]string {
	u.t.Helper()
	state := map[string]string{}
	for _, r := range u.stored(u.cfg.CheckpointTopic) {
		state[string(r.Key)] = string(r.Value)
		if r.Value == nil {
			delete(state, string(r.Key))
		}
	}
	return state
}

func (u *unitTest) fence() checkpoint.Fence {
	u.t.Helper()
	v, err := View(u.t.Context(), u.cfg, "u0")
	if err != nil {
		u.t.Fatal(err)
	}
	defer v.Close()
	value, err := v.Get(u.t.Context(), checkpoint.FenceKey)
	if err != nil {
		u.t.Fatal(err)
	}
	f, err := checkpoint.DecodeFence(value)
	if err != nil {
		u.t.Fatal(err)
	}
	return f
}

func TestTransaction(t *testing.T) {
	u := newUnitTest(t, testkafka.Brokers(t))
	s := u.open("ann")
	for i := range 20 {
		u.commit(s, commit(i*50, 50))
	}
	u.commit(s, sinks.Commit{Dead: messages(5000, 7)})
	u.check(messages(0, 1000), "ann")
	checkStored(t, u.stored(u.cfg.DeadletterTopic), messages(5000, 7))
	if got, want := u.fence().Number, uint64(22); got != want {
		t.Errorf("number: got %d, want %d", got, want)
	}
	s = u.open("ben")
	u.commit(s, commit(1000, 10))
	u.check(messages(0, 1010), "ben")
	if got := u.fence(); got.Term != 2 || got.Number != 24 {
		t.Errorf("got %v, number %d", got, got.Number)
	}
}
