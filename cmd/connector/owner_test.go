package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"connector/internal/testkafka"
	"connector/sinks/nats"
)

// natsServer runs a server that is not the connector's, and returns the variables for it.
func natsServer(t *testing.T) []string {
	t.Helper()
	server, err := nats.StartEmbedded(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return []string{"CONNECTOR_SINK=nats", "NATS_URL=" + server.URL()}
}

func jetStream(t *testing.T, vars []string) jetstream.JetStream {
	t.Helper()
	conn, err := natsio.Connect(value(vars, "NATS_URL"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// TestRequireExactlyOnce refuses what promises less: with code 2 where the
// configuration tells, else with code 1.
func TestRequireExactlyOnce(t *testing.T) {
	t.Parallel()
	_, _, vars := simulators(t, 3)
	file := []string{"CONNECTOR_SINK=file", "FILE_PATH=" + filepath.Join(t.TempDir(), "f")}
	kafka := []string{"CONNECTOR_SINK=kafka", "KAFKA_BROKERS=localhost:1"}
	transactional := []string{
		"CONNECTOR_SINK=kafka", "KAFKA_DELIVERY=transactional", "KAFKA_BROKERS=" + strings.Join(testkafka.Brokers(t), ","), "KAFKA_TOPIC=" + testkafka.Topic(t),
		"KAFKA_DEADLETTER_TOPIC=" + testkafka.Topic(t), "KAFKA_CHECKPOINT_TOPIC=" + testkafka.Topic(t), "KAFKA_PARTITIONS=1",
	}
	able, unable := natsServer(t), natsServer(t)
	_, err := jetStream(t, unable).CreateStream(t.Context(), jetstream.StreamConfig{Name: "DELIVERY", Subjects: []string{"delivery.>"}})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		vars []string
		args string
		code int
		want []string
	}{
		{"stdout", []string{"CONNECTOR_SINK=stdout"}, "run --once", exitUsage, []string{"CONNECTOR_REQUIRE_EXACTLY_ONCE: does not go with CONNECTOR_SINK=stdout", "duplicates", "file, nats or kafka"}},
		{"stdout, and another fault", []string{"CONNECTOR_SINK=stdout", "HQ_LAG=soon"}, "run --once", exitUsage, []string{"2 fault(s)", "CONNECTOR_REQUIRE_EXACTLY_ONCE", "HQ_LAG"}},
		{"idempotent Kafka", kafka, "run --once", exitUsage, []string{"does not go with KAFKA_DELIVERY=idempotent", "only from an earlier process", "set KAFKA_DELIVERY=transactional"}},
		{"idempotent Kafka, checked", kafka, "check", exitUsage, []string{"set KAFKA_DELIVERY=transactional"}},
		{"transactional Kafka", transactional, "run --once", exitOK, []string{"exactly once for consumers that read committed messages only"}},
		{"file", file, "run --once", exitOK, nil},
		{"embedded NATS", []string{"CONNECTOR_SINK=nats"}, "run --once", exitOK, nil},
		{"NATS", able, "run --once", exitOK, nil},
		{"NATS that cannot", unable, "run --once", exitFailed, []string{"CONNECTOR_REQUIRE_EXACTLY_ONCE is set, and sink nats promises: no loss; duplicates", "allow_atomic"}},
		{"NATS that cannot, checked", unable, "check", exitFailed, []string{"FAIL  sink/nats", "allow_atomic"}},
		{"NATS that cannot, backfill", unable, "backfill --from 2h --to 1h", exitFailed, []string{"allow_atomic"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			more := append([]string{"CONNECTOR_REQUIRE_EXACTLY_ONCE=true", "CONNECTOR_DATA_DIR=" + t.TempDir()}, tt.vars...)
			code, stdout, stderr := command(t.Context(), with(vars, more...), strings.Fields(tt.args)...)
			if code != tt.code {
				t.Errorf("got code %d, want %d; stderr:\n%s", code, tt.code, stderr)
			}
			wantLines(t, "output", stdout+stderr, tt.want...)
		})
	}
	if code, _, stderr := command(t.Context(), with(vars, unable...), "run", "--once"); code != exitOK {
		t.Errorf("not required: got code %d; stderr:\n%s", code, stderr)
	}
}

// TestFencedConnectorStops starts a second connector, and then goes back in the
// checkpoint, while another one runs: that says once who took over, and stops.
func TestFencedConnectorStops(t *testing.T) {
	t.Parallel()
	brokers := testkafka.Brokers(t)
	for name, sink := range map[string][]string{
		"nats": natsServer(t),
		"kafka": {
			"CONNECTOR_SINK=kafka", "KAFKA_BROKERS=" + strings.Join(brokers, ","), "KAFKA_TOPIC=" + testkafka.Topic(t),
			"KAFKA_DEADLETTER_TOPIC=" + testkafka.Topic(t), "KAFKA_CHECKPOINT_TOPIC=" + testkafka.Topic(t), "KAFKA_PARTITIONS=1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, vars := simulators(t, 30)
			vars = with(vars, sink...)
			run := func() *child {
				c := start(t, with(vars, "CONNECTOR_DATA_DIR="+t.TempDir()), "run")
				base := c.ready(t)
				c.until(t, "events", func() bool { _, body := get(base + "/readyz"); return strings.Contains(body, `"frontier"`) })
				return c
			}
			stops := func(c *child) {
				t.Helper()
				c.until(t, "its end", func() bool { return len(c.ended) > 0 })
				<-c.ended
				errs := c.stderr.String()
				i := strings.Index(errs, "connector: ")
				if code := c.ProcessState.ExitCode(); code != exitFailed || i < 0 || strings.Count(errs[i:], "fenced by ") != 1 || !strings.Contains(errs[i:], " pid ") {
					t.Errorf("the earlier connector: got code %d, want 1 and once who fenced it; stderr:\n%s", code, errs)
				}
			}
			first := run()
			second := run()
			stops(first)
			code, stdout, stderr := command(t.Context(), vars, "checkpoint", "list")
			if code != exitOK {
				t.Errorf("list beside a connector: got code %d; stderr:\n%s", code, stderr)
			}
			wantLines(t, "list", stdout, "owner: ", "(took over at term 2")
			select {
			case err := <-second.ended:
				t.Fatalf("the second connector ended by being looked at: %v", err)
			default:
			}
			if code, stdout, stderr := command(t.Context(), vars, "checkpoint", "rewind", "--to", "0s", "--yes"); code != exitOK {
				t.Errorf("rewind: got code %d; stderr:\n%s%s", code, stdout, stderr)
			} else {
				wantLines(t, "rewind", stdout, "done; ")
			}
			stops(second)
			if code, _, stderr := command(t.Context(), vars, "run", "--once"); code != exitOK {
				t.Errorf("run --once: got code %d; stderr:\n%s", code, stderr)
			}
		})
	}
}

// TestCheckpointCreate loses the checkpoint of a sink that holds events.
func TestCheckpointCreate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "events.ndjson")
	server := natsServer(t)
	for name, tt := range map[string]struct {
		vars []string
		lose func(t *testing.T, vars []string) error
	}{
		"file": {[]string{"CONNECTOR_SINK=file", "FILE_PATH=" + path}, func(_ *testing.T, vars []string) error {
			return os.Remove(filepath.Join(value(vars, "CONNECTOR_DATA_DIR"), "checkpoint", "file", "checkpoint-u0.db"))
		}},
		"nats": {server, func(t *testing.T, vars []string) error {
			s, err := jetStream(t, vars).Stream(t.Context(), "DELIVERY")
			if err != nil {
				return err
			}
			return s.Purge(t.Context(), jetstream.WithPurgeSubject("delivery.checkpoint.>"))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, vars := simulators(t, 10)
			vars = with(vars, tt.vars...)
			steps := []struct {
				args string
				code int
				want []string
			}{
				{"run --once", exitOK, nil},
				{"checkpoint create --yes", exitFailed, []string{"sink " + name + " has a checkpoint, owned by ", "connector checkpoint rewind"}},
				{"", 0, nil}, // it is lost
				{"run --once", exitFailed, []string{"holds events, but there is no checkpoint", "connector checkpoint create"}},
				{"checkpoint create", exitUsage, []string{"nothing was changed", "--yes"}},
				{"run --once", exitFailed, []string{"there is no checkpoint"}},
				{"checkpoint create --yes", exitOK, []string{"has a new checkpoint"}},
				{"checkpoint create --yes", exitFailed, []string{"has a checkpoint, owned by "}},
				{"run --once", exitOK, nil},
			}
			for i, s := range steps {
				if s.args == "" {
					if err := tt.lose(t, vars); err != nil {
						t.Fatal(err)
					}
					continue
				}
				code, stdout, stderr := command(t.Context(), vars, strings.Fields(s.args)...)
				if code != s.code {
					t.Errorf("step %d, %s: got code %d, want %d; stderr:\n%s", i, s.args, code, s.code, stderr)
				}
				wantLines(t, s.args, stdout+stderr, s.want...)
			}
		})
	}
}
