package testkafka

import (
	"net"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// ProxiedVariable names two addresses of the real Kafka, with a comma between: where it listens for what comes through a proxy,
// and where it says that it does.
const ProxiedVariable = "KAFKA_TEST_PROXIED"

// Proxied returns a listener for a proxy and the address of the broker it must
// lead to. The broker says that it is at the listener, so that all connections
// of a client that begins there go through the proxy.
func Proxied(tb testing.TB) (front net.Listener, backend string) {
	tb.Helper()
	if len(realBrokers()) == 0 {
		tb.Logf("kafka broker: in-process stand-in (kfake), set %s and %s for a real one", Variable, ProxiedVariable)
		front = listen(tb, "127.0.0.1:0")
		Faulty(tb, kfake.ListenFn(func(network, address string) (net.Listener, error) {
			l, err := net.Listen(network, address) //nolint:noctx // returns at once
			if err == nil {
				backend = l.Addr().String()
			}
			return advertised{l, front.Addr()}, err
		}))
		return front, backend
	}
	brokers := Brokers(tb)
	backend, address, ok := strings.Cut(os.Getenv(ProxiedVariable), ",")
	if !ok {
		tb.Fatalf("%s=%q: want two addresses, as scripts/kafka.sh sets it for the Kafka at %s", ProxiedVariable, os.Getenv(ProxiedVariable), strings.Join(brokers, ","))
	}
	return listen(tb, address), backend
}

func listen(tb testing.TB, address string) net.Listener {
	tb.Helper()
	l, err := net.Listen("tcp", address) //nolint:noctx // returns at once
	if err != nil {
		tb.Fatalf("listening for a proxy of Kafka: %v", err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	return l
}

// advertised is a listener that names another address as its own.
type advertised struct {
	net.Listener
	addr net.Addr
}

func (a advertised) Addr() net.Addr { return a.addr }
