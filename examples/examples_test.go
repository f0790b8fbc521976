// Package examples holds consumers of the events, in several languages, each with the questions that it answers. Its test
// runs them all against what the real connector publishes of a simulated day, and compares what they print.
package examples

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/twmb/franz-go/pkg/kgo"

	"connector/internal/simrun"
	"connector/internal/testkafka"
)

// What scripts/examples.sh installs; without it the examples that need it are skipped.
const (
	pythonVariable = "EXAMPLES_PYTHON" // a Python with the packages of requirements.txt
	flinkVariable  = "EXAMPLES_FLINK"  // a folder with the jars of flink/pom.xml
)

func TestExamples(t *testing.T) {
	w := newWorld(t)
	file, nats, kafka := fileSink(t), natsSink(t), kafkaSink(t)
	w.day(t, file.sink, nats.sink, kafka.sink)
	t.Run("file", func(t *testing.T) { file.examples(t, w) })
	t.Run("nats", func(t *testing.T) { nats.examples(t, w) })
	t.Run("kafka", func(t *testing.T) { kafka.examples(t, w) })
}

// overFile are the examples that read the file sink's output.
type overFile struct {
	sink
	path string
}

func fileSink(t *testing.T) overFile {
	path := filepath.Join(t.TempDir(), "events.ndjson")
	return overFile{sink{name: "file", vars: []string{"CONNECTOR_SINK=file", "FILE_PATH=" + path, "FILE_ROTATE_BYTES=256KiB"}}, path}
}

func (o overFile) examples(t *testing.T, w *world) {
	put, err := filepath.Glob(o.path + ".0*")
	if err != nil || len(put) == 0 {
		t.Fatalf("got files %q, %v, want rotated ones", put, err)
	}
	files := append(put, o.path)
	w.versions = distinct(t, files)
	t.Run("duckdb", func(t *testing.T) {
		w.example(t, "DuckDB", "files", python(t), append([]string{"duckdb/run.py"}, files...)...)
	})
	t.Run("clickhouse", func(t *testing.T) {
		w.example(t, "ClickHouse (chDB)", "files", python(t), append([]string{"clickhouse/run.py", "file"}, files...)...)
	})
}

// overNATS are the examples that read a JetStream stream.
type overNATS struct {
	sink
	url, state string
}

func natsSink(t *testing.T) overNATS {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	o := overNATS{url: s.ClientURL(), state: filepath.Join(t.TempDir(), "state.db")}
	o.sink = sink{name: "nats", vars: []string{"CONNECTOR_SINK=nats", "NATS_URL=" + o.url}, meanwhile: func(t *testing.T) { run(t, python(t), o.python()...) }}
	return o
}

func (o overNATS) python() []string {
	return []string{"python/consumer.py", "--state", o.state, "nats", o.url}
}

func (o overNATS) examples(t *testing.T, w *world) {
	against := "NATS server " + server.VERSION
	t.Run("go", func(t *testing.T) { w.example(t, "Go", against, goExample(t), "-nats", o.url) })
	t.Run("python", func(t *testing.T) { w.example(t, "Python", against, python(t), o.python()...) })
}

// overKafka are the examples that read a topic.
type overKafka struct {
	sink
	brokers, topic, state string
}

func kafkaSink(t *testing.T) overKafka {
	o := overKafka{brokers: strings.Join(testkafka.Brokers(t), ","), topic: testkafka.Topic(t), state: filepath.Join(t.TempDir(), "state.db")}
	o.sink = sink{name: "kafka", vars: []string{
		"CONNECTOR_SINK=kafka", "KAFKA_BROKERS=" + o.brokers, "KAFKA_DELIVERY=transactional", "KAFKA_PARTITIONS=3",
		"KAFKA_TOPIC=" + o.topic, "KAFKA_DEADLETTER_TOPIC=" + testkafka.Topic(t), "KAFKA_CHECKPOINT_TOPIC=" + testkafka.Topic(t),
	}, meanwhile: func(t *testing.T) {
		o.abort(t)
		run(t, python(t), o.python()...)
	}}
	return o
}

func (o overKafka) python() []string {
	return []string{"python/consumer.py", "--state", o.state, "kafka", o.brokers, "--topic", o.topic}
}

func (o overKafka) examples(t *testing.T, w *world) {
	o.abort(t)
	against, real := "in-process stand-in for Kafka", os.Getenv(testkafka.Variable) != ""
	if real {
		against = "real Apache Kafka"
	}
	t.Run("go", func(t *testing.T) { w.example(t, "Go", against, goExample(t), "-kafka", o.brokers, "-topic", o.topic) })
	t.Run("python", func(t *testing.T) { w.example(t, "Python", against, python(t), o.python()...) })
	t.Run("clickhouse", func(t *testing.T) {
		w.example(t, "ClickHouse (chDB: the Kafka table, without the background work of a server)", against, python(t), "clickhouse/run.py", "kafka", o.brokers, o.topic, fmt.Sprint(w.versions))
	})
	t.Run("flink", func(t *testing.T) {
		jars := os.Getenv(flinkVariable)
		if jars == "" || !real {
			t.Skipf("needs %s and a real Kafka: make examples", flinkVariable)
		}
		w.example(t, "Flink SQL", against, "java", "--add-opens=java.base/java.util=ALL-UNNAMED", "--add-opens=java.base/java.lang=ALL-UNNAMED",
			"-Xmx1g", "-XX:TieredStopAtLevel=1", "-cp", filepath.Join(jars, "*"), "flink/Run.java", "flink", o.brokers, o.topic)
	})
}

// example runs one and compares the tables that it prints with the answers.
func (w *world) example(t *testing.T, name, against, program string, args ...string) {
	t.Helper()
	printed := run(t, program, args...)
	if problem := w.answers.compare(printed); problem != "" {
		t.Fatalf("%s over %s: %s; it printed\n%s", name, against, problem, printed)
	}
	t.Logf("example: %s over %s: right, %d + %d + %d rows", name, against, len(w.answers.failureRate), len(w.answers.latency), len(w.answers.unresolved))
}

func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	return simrun.Run(t, []string{"PYTHONDONTWRITEBYTECODE=1", "TZ=Asia/Shanghai"}, program, args...) // answers are in UTC wherever they are asked for
}

func python(t *testing.T) string {
	t.Helper()
	path := os.Getenv(pythonVariable)
	if path == "" {
		t.Skipf("needs %s: make examples", pythonVariable)
	}
	return path
}

func goExample(t *testing.T) string {
	t.Helper()
	return simrun.Build(t, "connector/examples/go")
}

// distinct counts the ids of the events in files.
func distinct(t *testing.T, files []string) int {
	t.Helper()
	ids := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var m struct{ ID, Type string }
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if !strings.HasPrefix(m.Type, "delivery.deadletter") {
				ids[m.ID] = true
			}
		}
	}
	return len(ids)
}

// abort writes an event in a transaction and aborts that. It would change the answers.
func (o overKafka) abort(t *testing.T) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(o.brokers, ",")...), kgo.TransactionalID(o.topic), kgo.DefaultProduceTopic(o.topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	const body = `{"schemaVersion":"1.0","source":{"system":"ekuaibao","account":"hq","stream":"flow"},"record":{"id":"aborted","revision":1,"terminal":false},
		"channel":"webhook","status":"failed","providerStatus":"FAILURE","createdAt":"2026-01-15T01:00:00Z","observedAt":"2026-01-15T01:00:00Z","privacy":"off","webhook":{}}`
	for p := range int32(3) {
		r := &kgo.Record{Partition: p, Value: []byte(body), Headers: []kgo.RecordHeader{{Key: "ce_id", Value: fmt.Append(nil, "aborted", p)}}}
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.EndTransaction(context.WithoutCancel(t.Context()), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
}
