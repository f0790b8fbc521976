//go:build unix

package chaos

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"connector/internal/failpoint"
	"connector/internal/testkafka"
	"connector/sinks/nats"
)

// place is where a connector publishes.
type place struct {
	vars    []string                   // of the connector, its data folder included
	points  []failpoint.Point          // where it is killed
	once    []failpoint.Point          // those that only the first connector comes to
	provoke map[failpoint.Point]func() // what makes it reach a point that nothing else leads to, called again and again
	server  *natsServer                // is killed as well; nil when there is none
	addr    string                     // of a server that a connector which starts may not reach
	open    func() func()              // makes what a dead connector left readable, until the returned function is called; may be nil
}

// value returns one of the variables.
func (p *place) value(name string) string {
	for _, v := range p.vars {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// read returns all messages of the place, in its order, as connector tail
// prints them. No connector may run.
func (p *place) read(t *testing.T) []message {
	t.Helper()
	if p.open != nil {
		defer p.open()()
	}
	return parse(t, output(t, program(t, connectorPath), p.vars, "tail", "--from-start", "--follow=false", "--dead", "--output", "json"))
}

// embeddedNATS is a NATS server inside the connector, which dies with it.
func embeddedNATS(t *testing.T) *place {
	dir := t.TempDir()
	return &place{
		vars: []string{"CONNECTOR_SINK=nats", "CONNECTOR_DATA_DIR=" + dir},
		open: func() func() {
			server, err := nats.StartEmbedded(dir, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := server.Close(); err != nil {
					t.Error(err)
				}
			}
		},
	}
}

// kafka is the Kafka that the tests have, behind brokers.
func kafka(t *testing.T, delivery string, brokers []string) *place {
	return &place{
		vars: []string{
			"CONNECTOR_SINK=kafka", "CONNECTOR_DATA_DIR=" + t.TempDir(), "KAFKA_BROKERS=" + strings.Join(brokers, ","), "KAFKA_DELIVERY=" + delivery,
			"KAFKA_TOPIC=" + testkafka.Topic(t), "KAFKA_DEADLETTER_TOPIC=" + testkafka.Topic(t), "KAFKA_PARTITIONS=3",
		},
	}
}

func idempotentKafka(t *testing.T) *place    { return kafka(t, "idempotent", testkafka.Brokers(t)) }
func transactionalKafka(t *testing.T) *place { return kafka(t, "transactional", testkafka.Brokers(t)) }

// externalNATS is a NATS server in a process of its own.
func externalNATS(t *testing.T) *place {
	server := startNATS(t)
	front := startProxy(t, listen(t), server.addr())
	return &place{
		vars:   []string{"CONNECTOR_SINK=nats", "CONNECTOR_DATA_DIR=" + t.TempDir(), "NATS_URL=nats://" + front.addr()},
		server: server, addr: front.addr(),
	}
}

func file(t *testing.T) *place {
	dir := t.TempDir()
	return &place{
		vars: []string{"CONNECTOR_SINK=file", "CONNECTOR_DATA_DIR=" + dir, "FILE_PATH=" + filepath.Join(dir, "events.ndjson")},
	}
}
