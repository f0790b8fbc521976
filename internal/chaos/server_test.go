//go:build unix

package chaos

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"
)

// natsServer is a NATS server process that comes and goes on one address.
type natsServer struct {
	t    *testing.T
	port int
	dir  string

	mu      sync.Mutex
	process *process
	kills   int
}

func startNATS(t *testing.T) *natsServer {
	t.Helper()
	l := listen(t)
	s := &natsServer{t: t, port: l.Addr().(*net.TCPAddr).Port, dir: t.TempDir()}
	_ = l.Close()
	s.start()
	return s
}

func (s *natsServer) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

func (s *natsServer) start() {
	s.t.Helper()
	s.mu.Lock()
	s.process = start(s.t, program(s.t, natsServerPath), nil, "-a", "127.0.0.1", "-p", strconv.Itoa(s.port), "-js", "-sd", s.dir)
	s.mu.Unlock()
	for range 500 {
		if c, err := net.Dial("tcp", s.addr()); err == nil {
			_ = c.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Fatalf("the NATS server does not answer; it said\n%s", s.process.said())
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
		s.process.kill()
		s.kills++
		time.Sleep(time.Duration(rng.Int64N(int64(300 * time.Millisecond))))
		s.start()
	}
}
