//go:build unix

package chaos

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// mode is what a proxy does to what passes.
type mode int

const (
	open     mode = iota
	deaf          // answers vanish: what the client sends arrives
	slow          // 20 ms for each piece, and 100 kB/s at most
	halfOpen      // connections are accepted, and nothing passes either way
	modes
)

func (m mode) String() string {
	return [...]string{"open", "answers lost", "slow", "half-open"}[m]
}

const (
	pieceBytes = 2 << 10
	pieceDelay = 20 * time.Millisecond
)

// proxy stands between a connector and its broker.
type proxy struct {
	l       net.Listener
	backend string
	running sync.WaitGroup

	mode   atomic.Int32
	pieces [modes]atomic.Int64 // that passed in a mode or were lost, and connections that lead nowhere

	mu    sync.Mutex
	conns map[net.Conn]bool
}

// startProxy leads connections to l to the backend until the test ends.
func startProxy(t *testing.T, l net.Listener, backend string) *proxy {
	p := &proxy{l: l, backend: backend, conns: map[net.Conn]bool{}}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.set(open)
		p.running.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.l.Addr().String() }
func (p *proxy) now() mode    { return mode(p.mode.Load()) }

// set changes the mode; open cuts all connections, what they lost being lost.
func (p *proxy) set(m mode) {
	if p.mode.Store(int32(m)); m != open {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *proxy) accept() {
	for {
		client, err := p.l.Accept()
		if err != nil {
			return
		}
		p.track(client, true)
		if p.now() == halfOpen {
			p.pieces[halfOpen].Add(1)
			p.running.Go(func() { p.pipe(nil, client, false) })
			continue
		}
		server, err := net.Dial("tcp", p.backend)
		if err != nil {
			p.track(client, false)
			continue
		}
		p.track(server, true)
		p.running.Go(func() { p.pipe(server, client, false) })
		p.running.Go(func() { p.pipe(client, server, true) })
	}
}

func (p *proxy) track(c net.Conn, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if open {
		p.conns[c] = true
		return
	}
	delete(p.conns, c)
	_ = c.Close()
}

// pipe copies until one end closes, as far as the mode lets it. Without to all
// vanishes.
func (p *proxy) pipe(to, from net.Conn, answers bool) {
	defer p.track(from, false)
	if to != nil {
		defer p.track(to, false)
	}
	buf := make([]byte, pieceBytes)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		m := p.now()
		if m != deaf || answers {
			p.pieces[m].Add(1)
		}
		if to == nil || m == halfOpen || m == deaf && answers {
			continue
		}
		if m == slow {
			time.Sleep(pieceDelay)
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// disturb sets a mode and returns when it has changed the fate of something, or
// the time is over.
func (p *proxy) disturb(m mode, limit time.Duration) {
	before := p.pieces[m].Load()
	p.set(m)
	for deadline := time.Now().Add(limit); p.pieces[m].Load() == before && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}

// trouble makes n faults, one after the other, with some quiet between. Each
// ends a while, of longest at most, after it changed the fate of something.
func (p *proxy) trouble(n int, longest time.Duration, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 2))
	for i := range n {
		time.Sleep(100*time.Millisecond + time.Duration(rng.Int64N(int64(500*time.Millisecond))))
		p.disturb(1+mode(i)%(modes-1), hang)
		time.Sleep(time.Duration(rng.Int64N(int64(longest))))
		p.set(open)
	}
}

// TestProxy sees each mode do what it says.
func TestProxy(t *testing.T) {
	t.Parallel()
	backend := listen(t)
	t.Cleanup(func() { _ = backend.Close() })
	var heard atomic.Int64
	go func() { // echoes
		for {
			c, err := backend.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, io.TeeReader(c, counter{&heard}))
			}()
		}
	}()
	p := startProxy(t, listen(t), backend.Addr().String())
	for m, want := range map[mode]struct{ answered, arrives bool }{
		open: {true, true}, slow: {true, true}, deaf: {false, true}, halfOpen: {false, false},
	} {
		p.set(m)
		before, passed := heard.Load(), p.pieces[m].Load()
		c, err := net.Dial("tcp", p.addr())
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		silence := 300 * time.Millisecond
		if want.answered {
			silence = hang
		}
		_ = c.SetDeadline(began.Add(silence))
		_, _ = c.Write([]byte("x"))
		_, err = io.ReadFull(c, make([]byte, 1))
		for (p.pieces[m].Load() == passed || want.arrives && heard.Load() == before) && time.Since(began) < hang {
			time.Sleep(time.Millisecond)
		}
		if answered, arrived := err == nil, heard.Load() > before; answered != want.answered || arrived != want.arrives {
			t.Errorf("%v: got answered %v, arrived %v, want %+v", m, answered, arrived, want)
		}
		if took := time.Since(began); m == slow && took < 2*pieceDelay {
			t.Errorf("slow: took %v, want %v", took, 2*pieceDelay)
		}
		_ = c.SetDeadline(time.Now().Add(hang))
		p.set(open)
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v: the connection goes on afterwards", m)
		}
		_ = c.Close()
	}
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return len(b), nil
}
