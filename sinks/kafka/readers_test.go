package kafka

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"connector/internal/testkafka"
	"connector/schema"
	"connector/sinks"
)

// thirdParty is a consumer of somebody else's.
type thirdParty struct {
	name    string
	program string
	args    func(brokers, topic, isolation string, n int) []string
}

// kcat is a consumer on librdkafka.
func kcat() thirdParty {
	return thirdParty{"kcat", "kcat", func(brokers, topic, isolation string, _ int) []string {
		return []string{"-C", "-q", "-e", "-o", "beginning", "-X", "isolation.level=" + isolation, "-b", brokers, "-t", topic, "-f", `%h\t%k\t%s\n`}
	}}
}

// javaClient is Kafka's own consumer, from the jars of scripts/kafka.sh.
func javaClient() thirdParty {
	return thirdParty{"the Java client", "../../scripts/kafka.sh", func(brokers, topic, isolation string, n int) []string {
		return []string{"tool", "-Dlog4j2.level=OFF", "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", brokers, "--topic", topic,
			"--from-beginning", "--isolation-level", isolation, "--timeout-ms", "30000", "--max-messages", fmt.Sprint(n),
			"--property", "print.key=true", "--property", "print.headers=true", "--property", "headers.separator=,"}
	}}
}

// read returns the messages of a topic, at most about n, by key, each as id
// and body.
func (r thirdParty) read(t *testing.T, brokers []string, topic, isolation string, n int) map[string][]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), r.program, r.args(strings.Join(brokers, ","), topic, isolation, n)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, stderr.String())
	}
	found := map[string][]string{}
	n = 0
	for line := range strings.Lines(string(out)) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 3)
		if len(parts) != 3 {
			t.Fatalf("%s printed %q", r.name, line)
		}
		found[parts[1]] = append(found[parts[1]], headerID(parts[0])+" "+parts[2])
		n++
	}
	t.Logf("read back with %s: %d events, %s", r.name, n, isolation)
	return found
}

// headerID finds the event id among printed headers: kcat writes name=value,
// the Java client name:value.
func headerID(headers string) string {
	for _, h := range strings.Split(headers, ",") {
		if id, ok := strings.CutPrefix(strings.Replace(h, "=", ":", 1), "ce_id:"); ok {
			return id
		}
	}
	return ""
}

func byKey(messages []schema.Message) map[string][]string {
	want := map[string][]string{}
	for _, m := range messages {
		want[m.Key()] = append(want[m.Key()], m.ID+" "+string(m.Body))
	}
	return want
}

func total(found map[string][]string) (n int) {
	for _, list := range found {
		n += len(list)
	}
	return n
}

// TestReaders compares what other clients see of a topic with committed,
// aborted and open transactions, in batches of every codec, with what was
// committed.
func TestReaders(t *testing.T) {
	t.Parallel()
	u := newUnitTest(t, testkafka.Brokers(t))
	var want []schema.Message
	aborted := 0
	for _, codec := range Compression("").Choices() {
		u.cfg.Compression = Compression(codec)
		s := u.open(codec)
		for range 3 {
			u.commit(s, commit(len(want), 70))
			want = append(want, messages(len(want), 70)...)
			aborted += u.abort(s, messages(90_000, 50))
			u.commit(s, commit(len(want), 30))
			want = append(want, messages(len(want), 30)...)
		}
	}
	last := u.open("last")
	u.commit(last, commit(len(want), 10))
	want = append(want, messages(len(want), 10)...)
	u.check(want, "last")
	open := u.leaveOpen(last, messages(95_000, 50))
	u.checkReaders(want, aborted+open)
}

// abort writes events in a transaction that is aborted, and returns how many
// were written.
func (u *unitTest) abort(s *transactional, events []schema.Message) int {
	u.t.Helper()
	poison := messages(99_000, 1)
	poison[0].Body = make([]byte, s.Limits().MaxMessageBytes+1)
	err := s.Commit(u.t.Context(), sinks.Commit{Events: append(slices.Clone(events), poison...)})
	if _, ok := errors.AsType[*sinks.RejectedError](err); !ok {
		u.t.Fatalf("got %v, want a RejectedError", err)
	}
	return len(events)
}

// leaveOpen writes events in a transaction that never ends.
func (u *unitTest) leaveOpen(s *transactional, events []schema.Message) int {
	u.t.Helper()
	work := s.publisher.route(events, nil)
	if err := s.coordinator.add(u.t.Context(), s.producer, slices.Collect(maps.Keys(work))); err != nil {
		u.t.Fatal(err)
	}
	if err := s.publisher.each(u.t.Context(), work, s.publisher.publish); err != nil {
		u.t.Fatal(err)
	}
	return len(events)
}

func (u *unitTest) checkReaders(want []schema.Message, hidden int) {
	readers := []thirdParty{kcat()}
	if os.Getenv(testkafka.Variable) == "" {
		u.t.Logf("not read back with the Java client: set %s", testkafka.Variable)
	} else {
		readers = append(readers, javaClient())
	}
	for _, r := range readers {
		if _, err := exec.LookPath(r.program); err != nil {
			u.t.Logf("not read back with %s: %v", r.name, err)
			continue
		}
		got := r.read(u.t, u.cfg.Brokers, u.cfg.Topic, "read_committed", len(want)+hidden)
		if want := byKey(want); !maps.EqualFunc(got, want, slices.Equal) {
			u.t.Errorf("%s: got %d committed events that differ from the %d published: %.500s", r.name, total(got), total(want), fmt.Sprint(got))
		}
		if got := total(r.read(u.t, u.cfg.Brokers, u.cfg.Topic, "read_uncommitted", len(want)+hidden)); got != len(want)+hidden {
			u.t.Errorf("%s: got %d events, committed or not, want %d", r.name, got, len(want)+hidden)
		}
	}
}
