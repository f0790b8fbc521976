//go:build unix

package chaos

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connector/internal/failpoint"
	"connector/internal/testkafka"
	"connector/sinks"
	"connector/sinks/nats"
)

// place is where a connector publishes.
type place struct {
	vars    []string                            // of the connector, its data folder included
	promise sinks.Guarantee                     // what the connector must say of it
	points  []failpoint.Point                   // where it is killed
	once    []failpoint.Point                   // those that only the first connector comes to
	provoke map[failpoint.Point]fault           // what leads to a point that nothing else leads to
	lead    map[failpoint.Point]failpoint.Point // where a connector must have died before one comes to a point
	absent  map[failpoint.Point]string          // why none comes to a point
	server  *natsServer                         // is killed as well; nil when there is none
	addr    string                              // of a server that a connector which starts may not reach
	open    func() func()                       // makes what a dead connector left readable, until the returned function is called; may be nil
}

// fault is something that goes wrong.
type fault struct {
	do     func()          // called again and again while the connector runs
	undo   func()          // called once, when it is dead; may be nil
	during failpoint.Point // where the connector pauses for do to meet it; "" for nowhere
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
	serve := func() (*nats.Embedded, func()) {
		server, err := nats.StartEmbedded(dir, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return server, func() {
			if err := server.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	return &place{
		promise: sinks.ExactlyOnce,
		vars:    []string{"CONNECTOR_SINK=nats", "CONNECTOR_DATA_DIR=" + dir},
		points:  failpoint.NATS,
		once:    []failpoint.Point{failpoint.NATSImportWritten, failpoint.NATSImported},
		provoke: map[failpoint.Point]fault{failpoint.NATSDoubt: {
			do: func() {
				if url, err := nats.FindEmbedded(dir); err == nil {
					_ = limitStream(t, url, 1) // the server may not be up yet
				}
			},
			undo: func() {
				server, stop := serve()
				defer stop()
				if err := limitStream(t, server.URL(), -1); err != nil {
					t.Error(err)
				}
			},
		}},
		absent: map[failpoint.Point]string{
			failpoint.NATSRepair:        "its storage does not run out; see the NATS server",
			failpoint.NATSRepairDeleted: "its storage does not run out; see the NATS server",
		},
		open: func() func() {
			_, stop := serve()
			return stop
		},
	}
}

// kafka is the Kafka that the tests have, behind brokers.
func kafka(t *testing.T, delivery string, brokers []string) *place {
	promise := map[string]sinks.Guarantee{"idempotent": sinks.OnceUnlessZombie, "transactional": sinks.ExactlyOnceCommitted}
	return &place{
		promise: promise[delivery],
		vars: []string{
			"CONNECTOR_SINK=kafka", "CONNECTOR_DATA_DIR=" + t.TempDir(), "KAFKA_BROKERS=" + strings.Join(brokers, ","), "KAFKA_DELIVERY=" + delivery,
			"KAFKA_TOPIC=" + testkafka.Topic(t), "KAFKA_DEADLETTER_TOPIC=" + testkafka.Topic(t), "KAFKA_CHECKPOINT_TOPIC=" + testkafka.Topic(t), "KAFKA_PARTITIONS=3",
			"KAFKA_TRANSACTIONAL_ID=" + testkafka.Topic(t), // is unique, too
		},
	}
}

func idempotentKafka(t *testing.T) *place {
	p := kafka(t, "idempotent", testkafka.Brokers(t))
	p.vars = append(p.vars, "CONNECTOR_CLOUDEVENTS=structured") // read back by the connector itself; the other places are in binary mode
	p.points = failpoint.Kafka
	p.once = []failpoint.Point{failpoint.KafkaImported, failpoint.KafkaBegun}
	return p
}

func transactionalKafka(t *testing.T) *place {
	brokers := testkafka.Brokers(t)
	p := kafka(t, "transactional", brokers)
	abort := fault{during: failpoint.KafkaTxnWritten, do: func() { abortTransaction(t, brokers, p.value("KAFKA_TRANSACTIONAL_ID")+"-u0") }}
	p.points = failpoint.KafkaTransactional
	p.once = []failpoint.Point{failpoint.KafkaImported, failpoint.KafkaBegun}
	p.provoke = map[failpoint.Point]fault{failpoint.KafkaTxnAborting: abort, failpoint.KafkaTxnAborted: abort}
	return p
}

// externalNATS is a NATS server in a process of its own, behind a proxy.
func externalNATS(t *testing.T) *place {
	server := startNATS(t)
	front := startProxy(t, listen(t), server.addr())
	full := fault{do: server.fill, undo: server.empty}
	return &place{
		promise: sinks.ExactlyOnce,
		vars:    []string{"CONNECTOR_SINK=nats", "CONNECTOR_DATA_DIR=" + t.TempDir(), "NATS_URL=nats://" + front.addr()},
		points:  failpoint.NATS,
		once:    []failpoint.Point{failpoint.NATSImportWritten, failpoint.NATSImported},
		provoke: map[failpoint.Point]fault{
			failpoint.NATSRepair: full, failpoint.NATSRepairDeleted: full,
			failpoint.NATSDoubt: {during: failpoint.NATSStateSent, do: func() {
				front.disturb(deaf, time.Second)
				front.set(open)
			}},
		},
		server: server, addr: front.addr(),
	}
}

func file(t *testing.T) *place {
	dir := t.TempDir()
	return &place{
		promise: sinks.ExactlyOnce,
		vars:    []string{"CONNECTOR_SINK=file", "CONNECTOR_DATA_DIR=" + dir, "FILE_PATH=" + filepath.Join(dir, "events.ndjson"), "FILE_ROTATE_BYTES=32KiB"},
		points:  failpoint.File,
		lead:    map[failpoint.Point]failpoint.Point{failpoint.FileCut: failpoint.FileWritten},
	}
}
