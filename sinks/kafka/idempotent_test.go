package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"connector/checkpoint"
	"connector/internal/fault"
	"connector/internal/testkafka"
	"connector/internal/wait"
	"connector/schema"
	"connector/sinks"
	"connector/sources"
)

// ledgerMarks gives messages marks, as a ledger does.
type ledgerMarks struct{ batch *checkpoint.Batch }

func newLedgerMarks() *ledgerMarks {
	pages := checkpoint.NewPages(func(context.Context, string) ([]byte, error) { return nil, nil }, checkpoint.DefaultPageBytes)
	start := time.UnixMilli(1_700_000_000_000).UTC()
	return &ledgerMarks{checkpoint.New("acme", sources.Stream{Name: "sms", Tick: time.Second}, start, pages).Begin()}
}

// marked returns messages numbered from first on, with marks.
func (m *ledgerMarks) marked(t *testing.T, first, n int) []schema.Message {
	t.Helper()
	list := messages(first, n)
	for i := range list {
		r := sources.Record{ID: list[i].ID, Created: list[i].Time, Print: "print"}
		if _, err := m.batch.Admit(t.Context(), r, sources.Span{From: r.Created, To: r.Created}); err != nil {
			t.Fatal(err)
		}
		list[i].Mark = m.batch.Mark(r.ID)
	}
	return list
}

// headAt is the state of a stream, up to date with n.
func headAt(n int) []checkpoint.Entry {
	return []checkpoint.Entry{{Key: "acme/sms/h", Value: fmt.Append(nil, n)}, {Key: fmt.Sprintf("acme/sms/d/%02d", n%3), Value: fmt.Append(nil, n)}}
}

func openSession(t *testing.T, s *sink) *idempotent {
	t.Helper()
	session, err := s.Open(t.Context(), "u0")
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return session.(*idempotent)
}

// openUnit opens a sink of its own, and a session.
func openUnit(t *testing.T, cfg Config, owner string) *idempotent {
	t.Helper()
	return openSession(t, openSink(t, cfg, sinks.Options{Owner: owner}))
}

func commitTo(t *testing.T, s *idempotent, events []schema.Message, state []checkpoint.Entry) {
	t.Helper()
	if err := s.Commit(t.Context(), sinks.Commit{Events: events, State: state}); err != nil {
		t.Fatalf("Commit: %v", err)
	}
}

// recovered returns the state and the marks that a session yields.
func recovered(t *testing.T, s sinks.Session) (state map[string]string, marks []string) {
	t.Helper()
	state = map[string]string{}
	err := s.Recover(t.Context(), func(e checkpoint.Entry) error {
		if strings.HasPrefix(e.Key, "acme/sms/m/") {
			marks = append(marks, string(e.Value))
		} else {
			state[e.Key] = string(e.Value)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("Recover: %v", err)
	}
	return state, marks
}

// viewed returns the state as it is durable.
func viewed(t *testing.T, cfg Config) map[string]string {
	t.Helper()
	v, err := View(t.Context(), cfg, "u0")
	if err != nil {
		t.Fatalf("View: %v", err)
	}
	defer v.Close()
	state := map[string]string{}
	if err := v.Load(t.Context(), func(e checkpoint.Entry) error { state[e.Key] = string(e.Value); return nil }); err != nil {
		t.Fatalf("Load: %v", err)
	}
	return state
}

func checkState(t *testing.T, got map[string]string, want ...checkpoint.Entry) {
	t.Helper()
	for _, e := range want {
		if got[e.Key] != string(e.Value) {
			t.Errorf("%s: got %q, want %q", e.Key, got[e.Key], e.Value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d entries, want %d: %v", len(got), len(want), got)
	}
}

// TestCrashBeforeSave dies between publishing and saving: the next owner is
// told of exactly what the state does not cover, until it has published
// something itself.
func TestCrashBeforeSave(t *testing.T) {
	cfg := testConfig(t, testkafka.Brokers(t))
	m := newLedgerMarks()
	covered, lost := m.marked(t, 0, 100), m.marked(t, 100, 100)
	a := openUnit(t, cfg, "a")
	commitTo(t, a, covered, headAt(1))
	if err := a.publisher.Publish(t.Context(), lost[:60], lost[60:]); err != nil {
		t.Fatal(err)
	}
	want := make([]string, len(lost))
	for i := range lost {
		want[i] = string(lost[i].Mark)
	}
	slices.Sort(want)
	for _, name := range []string{"b", "c"} { // c: b died before it had saved the marks
		s := openUnit(t, cfg, name)
		state, marks := recovered(t, s)
		slices.Sort(marks)
		if !slices.Equal(marks, want) {
			t.Errorf("%s: got %d marks, want the %d of what is not covered", name, len(marks), len(want))
		}
		checkState(t, state, headAt(1)...)
	}
	d := openUnit(t, cfg, "d")
	recovered(t, d)
	commitTo(t, d, nil, headAt(2))
	if _, marks := recovered(t, openUnit(t, cfg, "e")); len(marks) != len(lost) {
		t.Errorf("got %d marks after a commit without messages, which may cover one stream of several, want %d", len(marks), len(lost))
	}
	f := openUnit(t, cfg, "f")
	recovered(t, f)
	commitTo(t, f, m.marked(t, 200, 10), headAt(3))
	if _, marks := recovered(t, openUnit(t, cfg, "g")); len(marks) != 0 {
		t.Errorf("got %d marks when all is covered, want none", len(marks))
	}
	checkStored(t, consume(t, cfg.Brokers, cfg.Topic), append(slices.Concat(covered, lost[:60]), messages(200, 10)...))
	checkState(t, viewed(t, cfg), append(headAt(3), headAt(1)[1], headAt(2)[1])...)
}

// TestSwitchDelivery restarts in the other way to deliver after a crash, and
// back: what was not covered is found until it is.
func TestSwitchDelivery(t *testing.T) {
	cfg := testConfig(t, testkafka.Brokers(t))
	m := newLedgerMarks()
	a := openUnit(t, cfg, "a")
	commitTo(t, a, m.marked(t, 0, 10), headAt(1))
	lost := m.marked(t, 10, 10)
	if err := a.publisher.Publish(t.Context(), lost, nil); err != nil {
		t.Fatal(err)
	}
	transactional := cfg
	transactional.Delivery = Transactional
	marks := func(cfg Config, then ...sinks.Commit) int {
		t.Helper()
		s, err := openSink(t, cfg, sinks.Options{Owner: "x"}).Open(t.Context(), "u0")
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		_, marks := recovered(t, s)
		for _, c := range then {
			if err := s.Commit(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		return len(marks)
	}
	for i := range 2 { // a commit without messages may save the marks of one stream of several
		if got := marks(transactional, sinks.Commit{State: headAt(2 + i)}); got != len(lost) {
			t.Errorf("start %d: got %d marks, want %d", i, got, len(lost))
		}
	}
	if got := marks(transactional, sinks.Commit{Events: messages(20, 10), State: headAt(4)}, sinks.Commit{Events: messages(30, 10), State: headAt(5)}); got != len(lost) {
		t.Errorf("got %d marks, want %d", got, len(lost))
	}
	for _, cfg := range []Config{transactional, cfg, transactional} {
		if got := marks(cfg, sinks.Commit{State: headAt(6)}); got != 0 {
			t.Errorf("%s: got %d marks when all is covered, want none", cfg.Delivery, got)
		}
	}
}

// TestForeignMessages shares the topics with others: only our own messages are
// read back.
func TestForeignMessages(t *testing.T) {
	brokers := testkafka.Brokers(t)
	cfg, other := testConfig(t, brokers), testConfig(t, brokers)
	a := openUnit(t, cfg, "a")
	other.Topic, other.DeadletterTopic = cfg.Topic, cfg.DeadletterTopic
	neighbour := openSession(t, openSink(t, other, sinks.Options{Owner: "n", New: true}))
	plain := start(t, cfg)
	m := newLedgerMarks()
	commitTo(t, neighbour, m.marked(t, 0, 50), headAt(1))
	publish(t, plain, messages(50, 50), nil)
	ours := m.marked(t, 100, 50)
	if err := a.publisher.Publish(t.Context(), ours, nil); err != nil {
		t.Fatal(err)
	}
	commitTo(t, neighbour, m.marked(t, 150, 50), headAt(2))
	if _, marks := recovered(t, openUnit(t, cfg, "b")); len(marks) != len(ours) {
		t.Errorf("got %d marks, want our %d", len(marks), len(ours))
	}
}

// TestOwnerFenced has two owners: the earlier one publishes nothing more, and is
// told who the other is.
func TestOwnerFenced(t *testing.T) {
	cfg := testConfig(t, testkafka.Brokers(t))
	a := openUnit(t, cfg, "first")
	commitTo(t, a, messages(0, 10), headAt(1))
	b := openUnit(t, cfg, "second")
	for range 2 {
		err := a.Commit(t.Context(), sinks.Commit{Events: messages(10, 10), State: headAt(2)})
		if !errors.Is(err, sinks.ErrFenced) || !fault.IsFatal(err) || !strings.Contains(err.Error(), "second (took over at term 2") {
			t.Errorf("got %v, want to be fenced by second at term 2", err)
		}
	}
	commitTo(t, b, messages(10, 10), headAt(3))
	checkStored(t, consume(t, cfg.Brokers, cfg.Topic), messages(0, 20))
	checkState(t, viewed(t, cfg), append(headAt(3), headAt(1)[1])...)
}

// TestZombie has the earlier owner stopped in the middle of a commit, where
// the later one cannot keep it from publishing: the only case of duplicates,
// which have the same id. Its state does not count, and what it hides is
// repeated before it can be compacted.
func TestZombie(t *testing.T) {
	cfg := testConfig(t, testkafka.Brokers(t))
	a := openUnit(t, cfg, "first")
	page := checkpoint.Entry{Key: "acme/sms/b/1", Value: []byte("page")}
	gone := checkpoint.Entry{Key: "acme/sms/d/09", Value: []byte("x")}
	commitTo(t, a, nil, append(headAt(1), page, gone))
	if err := a.check(t.Context()); err != nil { // nobody else yet; here it is stopped
		t.Fatal(err)
	}
	b := openUnit(t, cfg, "second")
	recovered(t, b)
	commitTo(t, b, messages(0, 10), append(headAt(2), checkpoint.Entry{Key: gone.Key}))
	if err := a.publisher.Publish(t.Context(), messages(0, 10), nil); err != nil {
		t.Fatal(err)
	}
	late := append(headAt(4), checkpoint.Entry{Key: page.Key, Value: []byte("wrong")}, checkpoint.Entry{Key: gone.Key, Value: []byte("y")}, checkpoint.Entry{Key: "acme/sms/d/10", Value: []byte("z")})
	if err := a.save(t.Context(), a.unit.Commit(late, time.Now())); !errors.Is(err, sinks.ErrFenced) {
		t.Errorf("got %v, want to be fenced", err)
	}
	want := append(headAt(2), headAt(1)[1])
	checkState(t, viewed(t, cfg), want...)

	ids := map[string]int{}
	for _, r := range consume(t, cfg.Brokers, cfg.Topic) {
		ids[headerValue(r, "ce_id")]++
	}
	if len(ids) != 10 || ids["id-000000"] != 2 {
		t.Errorf("got %v, want ten ids twice", ids)
	}

	get := func(s *idempotent, when string) {
		t.Helper()
		if got, err := s.Get(t.Context(), page.Key); err != nil || string(got) != "page" {
			t.Errorf("%s: got page %q and error %v, want %q", when, got, err, "page")
		}
	}
	get(b, "before the repair")
	commitTo(t, b, nil, nil)
	get(b, "after the repair")
	if n := len(b.state.stale); n != 0 {
		t.Errorf("got %d keys to repair after a commit, want none", n)
	}
	checkState(t, viewed(t, cfg), want...)
	// What a reader finds that knows nothing of terms, as after compaction.
	last := map[string]string{}
	for _, r := range consume(t, cfg.Brokers, cfg.CheckpointTopic) {
		last[string(r.Key)] = string(r.Value)
	}
	for _, e := range append(want, page, checkpoint.Entry{Key: gone.Key}, checkpoint.Entry{Key: "acme/sms/d/10"}) {
		if last[e.Key] != string(e.Value) {
			t.Errorf("%s: the last record has %q, want %q", e.Key, last[e.Key], e.Value)
		}
	}
	c := openUnit(t, cfg, "third")
	recovered(t, c)
	get(c, "after a restart")
	commitTo(t, c, nil, headAt(3))
}

// TestLateMessages has requests of a dead process arrive after its messages
// were read back: they are not published again, in either mode.
func TestLateMessages(t *testing.T) {
	for _, structured := range []bool{false, true} {
		t.Run(fmt.Sprint("structured ", structured), func(t *testing.T) { checkLateMessages(t, structured) })
	}
}

func checkLateMessages(t *testing.T, structured bool) {
	cfg := testConfig(t, testkafka.Brokers(t))
	a := openUnit(t, cfg, "a")
	list := newLedgerMarks().marked(t, 0, 20)
	for i := range list {
		if structured {
			list[i].Structure()
		}
	}
	b := openUnit(t, cfg, "b")
	recovered(t, b)
	if err := a.publisher.Publish(t.Context(), list[:10], nil); err != nil {
		t.Fatal(err)
	}
	commitTo(t, b, list, headAt(1))
	checkStored(t, consume(t, cfg.Brokers, cfg.Topic), list)
	if _, marks := recovered(t, openUnit(t, cfg, "c")); len(marks) != 0 {
		t.Errorf("got %d marks when all is covered, want none", len(marks))
	}
}

// TestTakeovers lets several owners take over at once: one is left, with all
// that was committed.
func TestTakeovers(t *testing.T) {
	cfg := testConfig(t, testkafka.Brokers(t))
	commitTo(t, openUnit(t, cfg, "first"), nil, headAt(1))
	sessions := make([]*idempotent, 5)
	var group sync.WaitGroup
	for i := range sessions {
		s := openSink(t, cfg, sinks.Options{Owner: fmt.Sprint("owner ", i)})
		group.Go(func() {
			session, err := s.Open(t.Context(), "u0")
			if err == nil {
				sessions[i] = session.(*idempotent)
			} else if !errors.Is(err, sinks.ErrFenced) {
				t.Error(err)
			}
		})
	}
	group.Wait()
	left := 0
	for i, s := range sessions {
		if s == nil {
			continue
		}
		switch err := s.Commit(t.Context(), sinks.Commit{Events: messages(i, 1), State: headAt(2)}); {
		case err == nil:
			left++
		case !errors.Is(err, sinks.ErrFenced):
			t.Error(err)
		}
	}
	if left != 1 {
		t.Errorf("got %d owners that could commit, want 1", left)
	}
	if got := len(consume(t, cfg.Brokers, cfg.Topic)); got != 1 {
		t.Errorf("got %d messages, want 1", got)
	}
	checkState(t, viewed(t, cfg), append(headAt(2), headAt(1)[1])...)
}

// TestSessionLostAnswers cuts connections while answers come in, on a real
// Kafka where there is one.
func TestSessionLostAnswers(t *testing.T) {
	const commits, size = 60, 20
	cfg := testConfig(t, testkafka.Brokers(t))
	var answers, cuts atomic.Int32
	var on atomic.Bool
	s := openSession(t, openSinkOn(t, cfg, sinks.Options{Owner: "a"}, func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return &cutConn{Conn: conn, cut: func() bool {
			if !on.Load() || answers.Add(1)%13 > 0 {
				return false
			}
			cuts.Add(1)
			return true
		}}, err
	}))
	on.Store(true)
	page := checkpoint.Entry{Key: "acme/sms/b/1"}
	for i := range commits {
		page.Value = fmt.Append(nil, "page ", i)
		commitTo(t, s, messages(i*size, size), append(headAt(i), page))
		if got, err := s.Get(t.Context(), page.Key); err != nil || string(got) != string(page.Value) {
			t.Fatalf("commit %d: got page %q and error %v, want %q", i, got, err, page.Value)
		}
	}
	if got := cuts.Load(); got < 10 {
		t.Errorf("got %d lost answers, too few to prove anything", got)
	}
	checkStored(t, consume(t, cfg.Brokers, cfg.Topic), messages(0, commits*size))
	checkState(t, viewed(t, cfg), append(headAt(commits-1), headAt(commits - 2)[1], headAt(commits - 3)[1])...)
	if _, marks := recovered(t, openUnit(t, cfg, "b")); len(marks) != 0 {
		t.Errorf("got %d marks when all is covered, want none", len(marks))
	}
}

// TestSessionChaos commits while leaders move and requests of all kinds fail.
func TestSessionChaos(t *testing.T) {
	t.Parallel()
	const commits, size = 40, 50
	cluster := testkafka.Faulty(t, kfake.NumBrokers(3))
	cfg := testConfig(t, cluster.ListenAddrs())
	s := openSink(t, cfg, sinks.Options{Owner: "a"})
	var faults []*kfake.FaultHandle
	for _, e := range []*kerr.Error{
		kerr.RequestTimedOut, kerr.NotEnoughReplicasAfterAppend, // appended all the same
		kerr.NotLeaderForPartition, kerr.NotEnoughReplicas, kerr.KafkaStorageError,
	} {
		for _, topic := range []string{cfg.Topic, cfg.CheckpointTopic} {
			faults = append(faults, cluster.Fault(kfake.Fault{
				Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: e, Count: -1, When: func(kmsg.Request) bool { return rand.IntN(25) == 0 },
			}))
		}
	}
	faults = append(faults, cluster.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.ListOffsets, kmsg.Fetch}, Err: kerr.NotLeaderForPartition, Count: -1, When: func(kmsg.Request) bool { return rand.IntN(10) == 0 },
	}))
	ctx, cancel := context.WithCancel(t.Context())
	moved := make(chan int)
	go func() {
		n := 0
		for ; wait.For(ctx, 30*time.Millisecond) == nil; n++ {
			for _, topic := range []string{cfg.Topic, cfg.CheckpointTopic} {
				if err := cluster.MoveTopicPartition(topic, 0, int32(rand.IntN(3))); err != nil {
					t.Error(err)
				}
			}
		}
		moved <- n
	}()
	session := openSession(t, s)
	recovered(t, session)
	for i := range commits {
		if i%10 == 9 { // a new owner, which finds all that was committed
			session = openSession(t, s)
			state, marks := recovered(t, session)
			if state["acme/sms/h"] != fmt.Sprint(i-1) || len(marks) > 0 {
				t.Errorf("got head %q and %d marks, want %d and none", state["acme/sms/h"], len(marks), i-1)
			}
		}
		commitTo(t, session, messages(i*size, size), headAt(i))
	}
	cancel()
	moves, hits := <-moved, 0
	for _, f := range faults {
		hits += f.Hits()
		f.Remove()
	}
	t.Logf("%d leader moves, %d faults", moves, hits)
	if hits < 20 {
		t.Errorf("got %d faults, too few to prove anything", hits)
	}
	checkStored(t, consume(t, cfg.Brokers, cfg.Topic), messages(0, commits*size))
	checkState(t, viewed(t, cfg), append(headAt(commits-1), headAt(commits - 2)[1], headAt(commits - 3)[1])...)
}

// TestSessionOutage cuts the network for an hour: a commit under way ends well
// after it.
func TestSessionOutage(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		ctx := t.Context()
		var log logs
		network := breakable{dialer: b.network.DialContext}
		s, err := newSink(ctx, b.cfg, sinks.Options{Owner: "a", Log: log.logger()}, network.dial)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		session, err := s.Open(ctx, "u0")
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Hour, network.fail())
		began := time.Now()
		if err := session.Commit(ctx, sinks.Commit{Events: messages(0, 10), State: headAt(1)}); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d < time.Hour || d > time.Hour+time.Minute {
			t.Errorf("the commit took %v, want an hour and a little", d)
		}
		if got := log.count("trying again"); got < 60 || got > 125 {
			t.Errorf("got %d lines about failures in an hour, want about 120", got)
		}
	})
}

// TestRights takes a right away at each request about the checkpoint.
func TestRights(t *testing.T) {
	for _, tt := range []struct {
		key  kmsg.Key
		want string
	}{
		{kmsg.ListOffsets, "DESCRIBE and READ"},
		{kmsg.Fetch, "DESCRIBE and READ"},
		{kmsg.Produce, "DESCRIBE and WRITE"},
	} {
		t.Run(tt.key.Name(), func(t *testing.T) {
			cluster := testkafka.Faulty(t)
			cfg := testConfig(t, cluster.ListenAddrs())
			openUnit(t, cfg, "a")
			cluster.Fault(kfake.Fault{Keys: []kmsg.Key{tt.key}, Topic: cfg.CheckpointTopic, Err: kerr.TopicAuthorizationFailed, Count: -1})
			s, err := newSink(t.Context(), cfg, sinks.Options{Owner: "b", Log: slog.New(slog.DiscardHandler)}, new(net.Dialer).DialContext)
			if err == nil {
				defer s.Close()
				_, err = s.Open(t.Context(), "u0")
			}
			if !fault.IsFatal(err) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), cfg.CheckpointTopic) {
				t.Errorf("got %v, want a fatal error with %s on the topic", err, tt.want)
			}
		})
	}
}

// TestStateRefused has the broker refuse the state of a commit.
func TestStateRefused(t *testing.T) {
	cluster := testkafka.Faulty(t)
	cfg := testConfig(t, cluster.ListenAddrs())
	s := openUnit(t, cfg, "a")
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: cfg.CheckpointTopic, Err: kerr.MessageTooLarge})
	err := s.Commit(t.Context(), sinks.Commit{Events: messages(0, 10), State: headAt(1)})
	if !fault.IsFatal(err) || !strings.Contains(err.Error(), "max.message.bytes") {
		t.Errorf("got %v, want a fatal error with max.message.bytes", err)
	}
	if again := s.Commit(t.Context(), sinks.Commit{}); !errors.Is(again, err) {
		t.Errorf("got %v, want the same again", again)
	}
}
