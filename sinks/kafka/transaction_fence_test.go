package kafka

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"connector/checkpoint"
	"connector/internal/fault"
	"connector/internal/testkafka"
	"connector/internal/wait"
	"connector/sinks"
)

// checkFenced fails the test unless err says that by took the unit.
func checkFenced(t *testing.T, err error, by string) {
	t.Helper()
	if !errors.Is(err, sinks.ErrFenced) || !fault.IsFatal(err) || !strings.Contains(err.Error(), "fenced by "+by) {
		t.Errorf("got %v, want a fatal error: fenced by %s", err, by)
	}
}

// TestTransactionFenced takes a unit over from an owner that goes on.
func TestTransactionFenced(t *testing.T) {
	t.Parallel()
	brokers := testkafka.Brokers(t)
	t.Run("between commits", func(t *testing.T) {
		t.Parallel()
		u := newUnitTest(t, brokers)
		ann := u.open("ann")
		u.commit(ann, commit(0, 10))
		ben := u.open("ben")
		for range 2 {
			checkFenced(t, ann.Commit(t.Context(), commit(10, 10)), "ben")
		}
		u.commit(ben, commit(10, 20))
		checkFenced(t, ann.Commit(t.Context(), commit(10, 10)), "ben")
		u.commit(ben, commit(30, 10))
		u.check(messages(0, 40), "ben")
	})
	t.Run("before the end of a commit", func(t *testing.T) {
		t.Parallel()
		u, net := newUnitTest(t, brokers), &network{}
		dial := u.dial
		u.dial = net.dial
		ann := u.open("ann")
		u.commit(ann, commit(0, 10))
		net.lose(kmsg.EndTxn, 1000, 0)
		result := make(chan error)
		go func() { result <- ann.Commit(t.Context(), commit(10, 10)) }()
		eventually(t, "it tried to commit", func() bool { return net.count() > 0 })
		if got := u.uncommitted(); got != 20 {
			t.Errorf("got %d events, committed or not, want 20", got)
		}
		u.dial = dial
		ben := u.open("ben")
		net.lose(kmsg.EndTxn, 0, 0)
		checkFenced(t, <-result, "ben")
		u.commit(ben, commit(10, 5))
		u.check(messages(0, 15), "ben")
	})
	t.Run("before the fence is written", func(t *testing.T) {
		t.Parallel()
		u := newUnitTest(t, brokers)
		ann := u.open("ann")
		u.commit(ann, commit(0, 10))
		if _, err := ann.coordinator.init(t.Context()); err != nil { // what ben's takeover begins with
			t.Fatal(err)
		}
		result := make(chan error)
		go func() { result <- ann.Commit(t.Context(), commit(10, 10)) }()
		wait.For(t.Context(), 300*time.Millisecond)
		ben := u.open("ben")
		checkFenced(t, <-result, "ben")
		u.commit(ben, commit(10, 5))
		u.check(messages(0, 15), "ben")
	})
	t.Run("without writing a fence", func(t *testing.T) {
		t.Parallel()
		u := newUnitTest(t, brokers)
		ann := u.open("ann")
		ann.grace = 300 * time.Millisecond
		u.commit(ann, commit(0, 10))
		if _, err := ann.coordinator.init(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		u.commit(ann, commit(10, 10))
		if d := time.Since(began); d < ann.grace {
			t.Errorf("took the unit back after %v, want %v", d, ann.grace)
		}
		u.check(messages(0, 20), "ann")
	})
	t.Run("back, during the takeover", func(t *testing.T) {
		t.Parallel()
		u := newUnitTest(t, brokers)
		u.grace = 10 * time.Millisecond
		ann := u.open("ann")
		u.commit(ann, commit(0, 10))
		sink, err := newSink(t.Context(), u.cfg, sinks.Options{Owner: "ben", Log: u.log.logger()}, u.dial)
		if err != nil {
			t.Fatal(err)
		}
		defer sink.Close()
		state, err := sink.state("u0")
		if err != nil {
			t.Fatal(err)
		}
		sink.transactionTimeout, sink.ownerGrace = u.timeout, u.grace
		ben := newTransactional(sink, state)
		if err := ben.initialise(t.Context()); err != nil {
			t.Fatal(err)
		}
		ben.ready = true
		ctx, cancel := context.WithTimeout(t.Context(), hang)
		defer cancel()
		err = ben.open(ctx, func(ctx context.Context, claim takeover) error {
			return errors.Join(ann.Commit(ctx, commit(10, 10)), ben.claim(ctx, claim)) // takes the transactional id back
		})
		if err != nil {
			t.Fatal(err)
		}
		checkFenced(t, ann.Commit(t.Context(), commit(20, 10)), "ben")
		u.commit(ben, commit(20, 5))
		u.check(messages(0, 25), "ben")
	})
	t.Run("many at once", func(t *testing.T) {
		t.Parallel()
		u := newUnitTest(t, brokers)
		results := make(chan error)
		for _, owner := range []string{"ann", "ben", "cid", "dan"} {
			go func() {
				s, err := u.tryOpen(owner)
				for i := 0; err == nil && i < 20; i++ {
					err = s.Commit(t.Context(), commit(0, 1))
				}
				results <- err
			}()
		}
		kept := 0
		for range 4 {
			err := <-results
			if err == nil {
				kept++
			} else if !errors.Is(err, sinks.ErrFenced) {
				t.Errorf("got %v, want ErrFenced; the log:\n%s", err, u.log.String())
			}
		}
		if kept == 0 {
			t.Error("nobody kept the unit")
		}
		t.Logf("%d kept the unit", kept)
		u.checkNumbers()
	})
}

// TestTransactionLateState has an earlier owner in idempotent delivery write
// state after the takeover. It does not count, and what it hides is repeated.
func TestTransactionLateState(t *testing.T) {
	t.Parallel()
	u := newUnitTest(t, testkafka.Brokers(t))
	u.commit(u.open("ann"), commit(0, 10))
	ben := u.open("ben")
	u.commit(ben, commit(10, 10))
	late := checkpoint.Entry{Key: "last", Value: []byte("10")}
	if err := writeState(t.Context(), u.cfg, 0, 1, late); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		u.commit(ben, sinks.Commit{State: []checkpoint.Entry{{Key: "other", Value: []byte("x")}}})
	}
	u.check(messages(0, 20), "ben")
	if got, err := ben.Get(t.Context(), "last"); string(got) != "20" || err != nil {
		t.Errorf("got %q and error %v, want 20", got, err)
	}
}

func (n *network) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hits
}

// uncommitted counts the events that readers of uncommitted messages see.
func (u *unitTest) uncommitted() int {
	u.t.Helper()
	return len(consumeAt(u.t, kgo.ReadUncommitted(), u.cfg.Brokers, u.cfg.Topic))
}

// checkNumbers fails the test unless the committed fences count the commits of
// each owner without a gap, and go on after those of the owner before.
func (u *unitTest) checkNumbers() {
	u.t.Helper()
	var last checkpoint.Fence
	for _, r := range u.stored(u.cfg.CheckpointTopic) {
		if string(r.Key) != checkpoint.FenceKey {
			continue
		}
		f, err := checkpoint.DecodeFence(r.Value)
		least, most := last.Number+1, last.Number+1
		if takeovers := f.Term - last.Term; takeovers > 0 && last.Term > 0 { // some may have ended at once
			least, most = least+1, most+takeovers
		}
		if err != nil || f.Number < least || f.Number > most {
			u.t.Errorf("commit at offset %d: got %v, number %d and error %v, want number %d to %d", r.Offset, f, f.Number, err, least, most)
		}
		last = f
	}
}
