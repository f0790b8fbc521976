//go:build unix

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natsServer is a NATS server process that comes and goes on one address.
type natsServer struct {
	t    *testing.T
	port int
	dir  string

	mu      sync.Mutex
	process *process
	limit   int64         // bytes of storage
	full    time.Duration // for how long storage is left little; longer each time, for a machine that is busy
	kills   int
}

func startNATS(t *testing.T) *natsServer {
	t.Helper()
	l := listen(t)
	s := &natsServer{t: t, port: l.Addr().(*net.TCPAddr).Port, dir: t.TempDir(), limit: plenty}
	_ = l.Close()
	s.start()
	return s
}

func (s *natsServer) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// start starts the server with as much storage as the limit says.
func (s *natsServer) start() {
	s.t.Helper()
	config := filepath.Join(s.dir, "server.conf")
	text := fmt.Sprintf("listen: %q\njetstream { store_dir: %q, max_file_store: %d }\n", s.addr(), s.dir, s.limit)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		s.t.Error(err)
	}
	s.process = start(s.t, program(s.t, natsServerPath), nil, "-c", config)
	for deadline := time.Now().Add(hang); time.Now().Before(deadline); {
		if c, err := net.Dial("tcp", s.addr()); err == nil {
			_ = c.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Errorf("the NATS server does not answer; it said\n%s", s.process.said())
}

// restart kills the server and starts it a moment later.
func (s *natsServer) restart(later time.Duration, limit int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process.kill()
	s.kills++
	time.Sleep(later)
	if limit > 0 {
		s.limit = limit
	}
	s.start()
}

// haunt kills the server and starts it again until stop is closed.
func (s *natsServer) haunt(seed uint64, stop <-chan struct{}) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Second + time.Duration(rng.Int64N(int64(2*time.Second)))):
		}
		if s.scarce() {
			continue // what follows from that takes longer than a server lives here
		}
		s.restart(time.Duration(rng.Int64N(int64(300*time.Millisecond))), 0)
	}
}

const (
	plenty = 1 << 30
	little = 4 << 10
)

// fill leaves the server little storage for a while, so that it runs out in the
// middle of a commit.
func (s *natsServer) fill() {
	used, err := storeUsed(s.t, "nats://"+s.addr())
	if err != nil {
		return // it is being restarted
	}
	s.restart(0, used+little)
	s.full += time.Second
	time.Sleep(s.full)
}

// scarce reports whether the server has little storage.
func (s *natsServer) scarce() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limit < plenty
}

// empty gives the server plenty of storage again.
func (s *natsServer) empty() {
	s.full = 0
	s.restart(0, plenty)
}

// jetStream connects for a moment. It gives up when the server dies.
func jetStream(t *testing.T, url string, do func(context.Context, jetstream.JetStream) error) error {
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	nc, err := natsio.Connect(url, natsio.Timeout(hang), natsio.NoReconnect(), natsio.ClosedHandler(func(*natsio.Conn) { cancel() }))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	return do(ctx, js)
}

func storeUsed(t *testing.T, url string) (used int64, err error) {
	err = jetStream(t, url, func(ctx context.Context, js jetstream.JetStream) error {
		info, err := js.AccountInfo(ctx)
		if err == nil {
			used = int64(info.Store)
		}
		return err
	})
	return used, err
}

// limitStream lets the stream take no message beyond so many, -1 for any number.
func limitStream(t *testing.T, url string, messages int64) error {
	return jetStream(t, url, func(ctx context.Context, js jetstream.JetStream) error {
		stream, err := js.Stream(ctx, "DELIVERY")
		if err != nil {
			return err
		}
		config := stream.CachedInfo().Config
		config.MaxMsgs = messages
		_, err = js.UpdateStream(ctx, config)
		return err
	})
}
