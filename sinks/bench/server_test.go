//go:build linux

package bench

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/twmb/franz-go/pkg/kfake"

	"connector/internal/testkafka"
)

// serveEnv makes the test binary a broker of the kind it names; dirEnv is where
// the broker stores.
const (
	serveEnv = "CONNECTOR_BENCH_SERVE"
	dirEnv   = "CONNECTOR_BENCH_DIR"
)

const (
	natsKind  = "nats"
	kafkaKind = "kafka"
)

// serve prints the broker's address and serves until standard input ends.
func serve(kind string) {
	address, err := start(kind, os.Getenv(dirEnv))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(address)
	_, _ = io.Copy(io.Discard, os.Stdin) // the end says all
}

func start(kind, dir string) (string, error) {
	if kind == kafkaKind {
		c, err := kfake.NewCluster(kfake.NumBrokers(1))
		if err != nil {
			return "", err
		}
		return strings.Join(c.ListenAddrs(), ","), nil
	}
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: dir})
	if err != nil {
		return "", err
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return "", fmt.Errorf("the NATS server is not ready")
	}
	return s.ClientURL(), nil
}

// startBroker starts a broker in a process of its own and returns its address.
func startBroker(b *testing.B, kind string) string {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), serveEnv+"="+kind, dirEnv+"="+b.TempDir())
	cmd.Stderr = os.Stderr
	stop, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = stop.Close() // ends it
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatalf("the broker said %q: %v", line, err)
	}
	return strings.TrimSpace(line)
}

// kafkaBrokers returns the real Kafka that KAFKA_TEST_BROKERS names, or a
// stand-in, and says which.
func kafkaBrokers(b *testing.B) []string {
	b.Helper()
	if os.Getenv(testkafka.Variable) != "" {
		return testkafka.Brokers(b)
	}
	b.Logf("kafka broker: stand-in (kfake), set %s for a real one", testkafka.Variable)
	return strings.Split(startBroker(b, kafkaKind), ",")
}
