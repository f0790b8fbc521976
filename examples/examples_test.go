// Package examples holds consumers of the events, in several languages, each with the questions that it answers. Its test
// runs them all against what the real connector publishes of a simulated day, and compares what they print.
package examples

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/twmb/franz-go/pkg/kgo"

	"connector/internal/simrun"
	"connector/internal/testkafka"
)

// What scripts/examples.sh installs; without it the examples that need it are skipped.
const (
	pythonVariable = "EXAMPLES_PYTHON" // folder of a python with the packages of all requirements.txt
	flinkVariable  = "EXAMPLES_FLINK"  // folder with the jars of flink/pom.xml
)

// TestExamples runs the commands of README.md.
func TestExamples(t *testing.T) {
	w := newWorld(t)
	file, nats, kafka := w.fileSink(t), w.natsSink(t), w.kafkaSink(t)
	w.day(t, file, nats, kafka)
	w.abort(t)
	w.set("VERSIONS", fmt.Sprint(distinct(t, w.file)))
	for _, c := range w.commands {
		t.Run(c.name, func(t *testing.T) {
			w.needs(t, c)
			printed := w.run(t, c)
			if problem := w.answers.compare(printed); problem != "" {
				t.Fatalf("%s; it printed\n%s", problem, printed)
			}
			if strings.HasPrefix(c.name, "Python") { // it knows where it was
				c.script = "exec 2>&1; " + c.script
				if again := w.run(t, c); !strings.Contains("\n"+again, "\n0 new events, 0 repeated\n") || w.answers.compare(again) != "" {
					t.Fatalf("run once more, it printed\n%s", again)
				}
			}
			t.Logf("example: %s: right, %d + %d + %d rows", w.against(c), len(w.answers.failureRate), len(w.answers.latency), len(w.answers.unresolved))
		})
	}
}

// command is one of README.md.
type command struct{ name, script string }

var marked = regexp.MustCompile("(?s)<!-- run: ([^\n]+) -->\n```sh\n(.*?)```\n")

func commands(t *testing.T) (list []command) {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range marked.FindAllStringSubmatch(string(readme), -1) {
		list = append(list, command{m[1], m[2]})
	}
	if len(list) != 9 {
		t.Fatalf("README.md has %d commands, want 9", len(list))
	}
	return list
}

// run runs a command in the folder of the repository.
func (w *world) run(t *testing.T, c command) string {
	t.Helper()
	vars := append([]string{"TZ=Asia/Shanghai", "PYTHONDONTWRITEBYTECODE=1"}, w.readers...) // the answers are in UTC wherever they are asked for
	return simrun.Run(t, vars, "bash", "-euc", "cd ..; PATH=${"+pythonVariable+":+$"+pythonVariable+":}$PATH; "+c.script)
}

// needs skips a command that needs what is not there.
func (w *world) needs(t *testing.T, c command) {
	t.Helper()
	for program, variable := range map[string]string{"python ": pythonVariable, "java ": flinkVariable} {
		if strings.HasPrefix(c.script, program) && os.Getenv(variable) == "" {
			t.Skipf("needs %s: make examples", variable)
		}
	}
	if strings.HasPrefix(c.script, "java ") && !w.realKafka {
		t.Skip("needs a real Kafka: make examples")
	}
}

// against names a command with what it reads.
func (w *world) against(c command) string {
	kafka := "in-process stand-in for Kafka"
	if w.realKafka {
		kafka = "real Apache Kafka"
	}
	return strings.NewReplacer("over Kafka", "over "+kafka, "over NATS", "over NATS server "+server.VERSION).Replace(c.name)
}

// early runs the Python example, which goes on from there when it is run again.
func (w *world) early(t *testing.T, over string) {
	for _, c := range w.commands {
		if c.name == "Python over "+over && os.Getenv(pythonVariable) != "" {
			w.run(t, c)
		}
	}
}

func (w *world) fileSink(t *testing.T) sink {
	w.file = filepath.Join(t.TempDir(), "events.ndjson")
	w.set("FILE_PATH", w.file)
	return sink{name: "file", vars: []string{"CONNECTOR_SINK=file", "FILE_PATH=" + w.file, "FILE_ROTATE_BYTES=256KiB"}}
}

func (w *world) natsSink(t *testing.T) sink {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	w.set("NATS_URL", s.ClientURL())
	return sink{name: "nats", vars: []string{"CONNECTOR_SINK=nats", "NATS_URL=" + s.ClientURL()}, meanwhile: func(t *testing.T) { w.early(t, "NATS") }}
}

func (w *world) kafkaSink(t *testing.T) sink {
	w.brokers, w.topic = testkafka.Brokers(t), testkafka.Topic(t)
	w.realKafka = os.Getenv(testkafka.Variable) != ""
	brokers := strings.Join(w.brokers, ",")
	w.set("KAFKA_BROKERS", brokers)
	w.set("KAFKA_TOPIC", w.topic)
	return sink{name: "kafka", vars: []string{
		"CONNECTOR_SINK=kafka", "KAFKA_BROKERS=" + brokers, "KAFKA_DELIVERY=transactional", "KAFKA_PARTITIONS=3",
		"KAFKA_TOPIC=" + w.topic, "KAFKA_DEADLETTER_TOPIC=" + testkafka.Topic(t), "KAFKA_CHECKPOINT_TOPIC=" + testkafka.Topic(t),
	}, meanwhile: func(t *testing.T) {
		w.abort(t)
		w.early(t, "Kafka")
	}}
}

// distinct counts the ids of the events in a file and those that were put away under its name.
func distinct(t *testing.T, path string) int {
	t.Helper()
	files, err := filepath.Glob(path + ".0*")
	if err != nil || len(files) == 0 {
		t.Fatalf("got files %q, %v, want some that were put away", files, err)
	}
	files = append(files, path)
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
func (w *world) abort(t *testing.T) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(w.brokers...), kgo.TransactionalID(w.topic), kgo.DefaultProduceTopic(w.topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
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
