package kafka

import (
	"bytes"
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
	u := &unitTest{t: t, cfg: testConfig(t, brokers), dial: new(net.Dialer).DialContext, timeout: transactionTimeout, grace: time.Minute}
	u.cfg.Delivery = Transactional
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
	s, marks, err := u.tryOpenAny(owner)
	if err == nil && marks > 0 {
		err = fmt.Errorf("recovered %d marks, which no message has", marks)
	}
	if err != nil {
		return nil, err
	}
	return s.(*transactional), nil
}

// openAny takes the unit over in the way that u.cfg says, and returns how many
// marks were recovered.
func (u *unitTest) openAny(owner string) (s sinks.Session, marks int) {
	u.t.Helper()
	s, marks, err := u.tryOpenAny(owner)
	if err != nil {
		u.t.Fatalf("opening the unit as %s: %v", owner, err)
	}
	return s, marks
}

func (u *unitTest) tryOpenAny(owner string) (s sinks.Session, marks int, err error) {
	ctx, cancel := context.WithTimeout(u.t.Context(), hang)
	defer cancel()
	sink, err := newSink(ctx, u.cfg, sinks.Options{Owner: owner, Log: u.log.logger()}, u.dial)
	if err != nil {
		return nil, 0, err
	}
	u.t.Cleanup(func() {
		if err := sink.Close(); err != nil {
			u.t.Errorf("Close: %v", err)
		}
	})
	sink.transactionTimeout, sink.ownerGrace = u.timeout, u.grace
	if s, err = sink.Open(ctx, "u0"); err != nil {
		return nil, 0, err
	}
	u.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			u.t.Errorf("Close: %v", err)
		}
	})
	err = s.Recover(ctx, func(e checkpoint.Entry) error {
		if strings.Contains(e.Key, "/m/") {
			marks++
		}
		return nil
	})
	return s, marks, err
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
	ctx, cancel := context.WithTimeout(u.t.Context(), hang)
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
	ctx, cancel := context.WithTimeout(u.t.Context(), hang)
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
	if n := len(s.publisher.stored) + len(s.publisher.settled); n > 0 {
		t.Errorf("the session remembers %d parts of commits", n)
	}
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

// TestTransactionGet reads pages of the state: at once, in a later session,
// and while commits replace them.
func TestTransactionGet(t *testing.T) {
	u := newUnitTest(t, testkafka.Brokers(t))
	s := u.open("ann")
	page := func(n int) checkpoint.Entry {
		return checkpoint.Entry{Key: fmt.Sprintf("acct/sms/b/20260101%02d/0", n%3), Value: fmt.Appendf(nil, "page %d", n)}
	}
	check := func(s *transactional, n int) {
		t.Helper()
		e := page(n)
		if got, err := s.Get(t.Context(), e.Key); err != nil || string(got) != string(e.Value) {
			t.Errorf("%s: got %q and error %v, want %q", e.Key, got, err, e.Value)
		}
	}
	for n := range 9 {
		u.commit(s, sinks.Commit{Events: messages(n, 1), State: []checkpoint.Entry{page(n), {Key: "acct/sms/b/gone/0", Value: []byte("x")}}})
		check(s, n)
	}
	u.commit(s, sinks.Commit{State: []checkpoint.Entry{{Key: "acct/sms/b/gone/0"}}})
	u.abort(s, messages(90, 5))
	for _, s := range []*transactional{s, u.open("ben")} {
		for n := 6; n < 9; n++ {
			check(s, n)
		}
		if got, err := s.Get(t.Context(), "acct/sms/b/gone/0"); got != nil || err != nil {
			t.Errorf("deleted: got %q and error %v", got, err)
		}
	}
}

// TestTransactionLargeState saves more than a batch takes.
func TestTransactionLargeState(t *testing.T) {
	u := newUnitTest(t, testkafka.Brokers(t))
	u.cfg.Compression = "none"
	s := u.open("ann")
	var state []checkpoint.Entry
	for i := range 8 {
		state = append(state, checkpoint.Entry{Key: fmt.Sprintf("acct/sms/b/%02d/0", i), Value: noise(500 << 10)})
	}
	u.commit(s, sinks.Commit{Events: messages(0, 10), State: state})
	u.commit(s, sinks.Commit{Events: messages(10, 10), State: state[:1]})
	for _, s := range []*transactional{s, u.open("ben")} {
		for _, e := range state {
			if got, err := s.Get(t.Context(), e.Key); err != nil || !bytes.Equal(got, e.Value) {
				t.Errorf("%s: got %d bytes and error %v, want %d", e.Key, len(got), err, len(e.Value))
			}
		}
	}
}

// TestDeliveryChanges goes from one way to deliver to the other and back. What
// an idempotent owner published and did not save is found in either, until a
// commit with messages, which comes after the marks of all streams.
func TestDeliveryChanges(t *testing.T) {
	u := newUnitTest(t, testkafka.Brokers(t))
	marked := newLedgerMarks().marked(t, 0, 33)
	u.cfg.Delivery = Idempotent
	s, marks := u.openAny("ann")
	if err := s.Commit(t.Context(), sinks.Commit{Events: marked[:10], State: commit(0, 10).State}); err != nil || marks != 0 {
		t.Fatal(marks, err)
	}
	if err := s.(*idempotent).publisher.Publish(t.Context(), marked[10:30], nil); err != nil { // and dies
		t.Fatal(err)
	}
	n := 30
	for _, step := range []struct {
		delivery Delivery
		marks    int
		events   int
	}{{Transactional, 20, 0}, {Idempotent, 20, 0}, {Transactional, 20, 1}, {Transactional, 0, 1}, {Idempotent, 0, 1}, {Transactional, 0, 0}} {
		u.cfg.Delivery = step.delivery
		s, marks := u.openAny("ben")
		if marks != step.marks {
			t.Errorf("%s: got %d marks, want %d", step.delivery, marks, step.marks)
		}
		c := sinks.Commit{Events: marked[n : n+step.events], State: commit(n, step.events).State}
		if err := s.Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		n += step.events
	}
	u.check(marked, "ben")
}

// A real broker verifies one partition of a transaction at a time.
func TestTransactionVerified(t *testing.T) {
	u := newUnitTest(t, testkafka.Brokers(t))
	u.cfg.Partitions = 8
	s := u.open("owner")
	for i := range 10 {
		u.commit(s, commit(i*100, 100))
	}
	if u.log.count("Unable to verify the partition") > 0 {
		t.Errorf("batches were refused and sent again:\n%s", u.log.String())
	}
}
