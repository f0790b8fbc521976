package nats

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"connector/schema"
	"connector/sinks"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveEnv); dir != "" {
		serve(dir)
		return
	}
	flag.Parse()
	_ = flag.Set("test.parallel", "8") // tests wait for time to pass more than they compute
	goleak.VerifyTestMain(m)
}

// testLog collects lines.
type testLog struct {
	mu    sync.Mutex
	lines strings.Builder
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(p)
}

func (l *testLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.String()
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func testConfig() Config {
	return Config{URL: Servers{embedded}, Stream: "DELIVERY", SubjectPrefix: "delivery"}
}

func startEmbedded(t testing.TB, dir string) *Embedded {
	t.Helper()
	e, err := StartEmbedded(dir, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// startServer starts a server with these options on a free port.
func startServer(t testing.TB, opts *server.Options) *server.Server {
	t.Helper()
	opts.Host, opts.NoSigs, opts.NoLog = loopback, true, true
	if opts.Port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(hang) {
		t.Fatal("server is not ready")
	}
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	return s
}

func newPublisher(t testing.TB, cfg Config, url string, log *slog.Logger) *Publisher {
	t.Helper()
	p, err := NewPublisher(t.Context(), cfg, url, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func jetStream(t testing.TB, url string, opts ...natsio.Option) jetstream.JetStream {
	t.Helper()
	nc, err := natsio.Connect(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// events returns n messages: the versions of some records, in order.
func events(batch, n, records, size int) []schema.Message {
	all := make([]schema.Message, n)
	for i := range all {
		record := fmt.Sprintf("record %d", i%records)
		version := fmt.Sprintf("%d", batch*n+i)
		all[i] = schema.Message{
			ID: schema.EventID("acct", "sms", record, version), Type: "delivery.sms.delivered",
			Source:   schema.Source{System: "submail", Account: "acct", Stream: "sms"},
			RecordID: record, Time: time.Unix(1774749599, 0), DataSchema: schema.DataSchema,
			Body: fmt.Appendf(nil, `{"version":%s,"fill":%q}`, version, strings.Repeat("x", size)),
		}
	}
	return all
}

// ids reads the ids of all events at url in stored order.
func ids(t testing.TB, cfg Config, url string) []string {
	t.Helper()
	var got []string
	err := Tail(t.Context(), cfg, url, sinks.TailOptions{FromStart: true}, func(r sinks.Received) error {
		got = append(got, r.Attribute("id"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// checkStored wants every message once, and the versions of a record in order.
func checkStored(t testing.TB, got []string, want []schema.Message) {
	t.Helper()
	place := make(map[string]int, len(want))
	for i, m := range want {
		place[m.ID] = i
	}
	count, last := map[string]int{}, map[string]int{}
	for _, id := range got {
		i, ok := place[id]
		if !ok {
			t.Errorf("unknown id %s is stored", id)
			continue
		}
		if count[id]++; count[id] > 1 {
			t.Errorf("message %d is stored %d times", i, count[id])
		}
		if before, ok := last[want[i].RecordID]; ok && i < before {
			t.Errorf("message %d of %s is stored behind message %d", i, want[i].RecordID, before)
		}
		last[want[i].RecordID] = i
	}
	for i, m := range want {
		if count[m.ID] == 0 {
			t.Errorf("message %d is missing", i)
		}
	}
}

// hang is what nothing takes but what hangs, however busy the machine is.
const hang = 2 * time.Minute

// promptly is less than any limit of the connector's own, and much of it for a busy machine.
const promptly = 4 * time.Second

// eventually waits until done reports true.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(hang); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain until %s", hang, what)
		}
	}
}

// cancelled calls f, ends its context when done reports true, and returns f's
// error. f must return [promptly].
func cancelled(t testing.TB, f func(context.Context) error, what string, done func() bool) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- f(ctx) }()
	eventually(t, what, func() bool { return len(result) > 0 || done() })
	cancel()
	end := time.Now()
	err := <-result
	if d := time.Since(end); d >= promptly {
		t.Errorf("it went on for %v after the end of its context", d)
	}
	return err
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
