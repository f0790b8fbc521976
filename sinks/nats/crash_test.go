package nats

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"connector/schema"
)

// serveEnv makes the test binary an embedded server on the folder it names.
const serveEnv = "CONNECTOR_TEST_SERVE"

// limitEnv bounds the files of that server, in bytes: a full disk.
const limitEnv = "CONNECTOR_TEST_FILE_SIZE"

func serve(dir string) {
	if n, err := strconv.ParseUint(os.Getenv(limitEnv), 10, 64); err == nil {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	e, err := StartEmbedded(dir, quiet())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(e.URL())
	select {}
}

// child is a process that runs the embedded server.
type child struct {
	cmd *exec.Cmd
	url string
}

func startChild(t testing.TB, dir string, env ...string) *child {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(append(os.Environ(), serveEnv+"="+dir), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd}
	t.Cleanup(c.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("child said %q: %v", line, err)
	}
	c.url = strings.TrimSpace(line)
	return c
}

// kill ends the process as kill -9 does.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// proxy is a fixed address in front of a server that comes and goes.
type proxy struct {
	l  net.Listener
	wg sync.WaitGroup

	mu      sync.Mutex
	backend string
	conns   map[net.Conn]bool
	deaf    bool // swallow what the server answers
	delay   time.Duration
	loses   string // swallow once what holds this
}

func startProxy(t testing.TB, backend string) *proxy {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, backend: backend, conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) url() string { return "nats://" + p.l.Addr().String() }

func (p *proxy) set(backend string, deaf bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.backend, p.deaf = backend, deaf
}

// down refuses new connections until set is called: the port of a server that
// ends may soon be that of another test's.
func (p *proxy) down() { p.set("", false) }

// slow makes each piece of what is sent wait.
func (p *proxy) slow(delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = delay
}

// lose swallows the next piece of what is sent that holds text.
func (p *proxy) lose(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loses = text
}

// lost reports whether piece is to be swallowed.
func (p *proxy) lost(piece []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loses == "" || !bytes.Contains(piece, []byte(p.loses)) {
		return false
	}
	p.loses = ""
	return true
}

// cut breaks all connections, in the middle of whatever they carry.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
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

func (p *proxy) accept() {
	for {
		client, err := p.l.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		backend := p.backend
		p.mu.Unlock()
		server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", strings.TrimPrefix(backend, "nats://"))
		if err != nil {
			_ = client.Close()
			continue
		}
		p.track(client, true)
		p.track(server, true)
		p.wg.Go(func() { p.pipe(server, client, false) })
		p.wg.Go(func() { p.pipe(client, server, true) })
	}
}

func (p *proxy) pipe(to, from net.Conn, answers bool) {
	defer p.track(to, false)
	defer p.track(from, false)
	buf := make([]byte, 1<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		deaf, delay := p.deaf, p.delay
		p.mu.Unlock()
		time.Sleep(delay)
		if answers && deaf || p.lost(buf[:n]) {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// load publishes batches in the background.
type load struct {
	stop    chan struct{}
	done    chan struct{}
	batches atomic.Int64
	all     []schema.Message // after done
}

func startLoad(t testing.TB, p *Publisher) *load {
	l := &load{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		for batch := 0; ; batch++ {
			select {
			case <-l.stop:
				return
			default:
			}
			next := events(batch, 100, 40, 500)
			if err := p.Publish(t.Context(), next, nil); err != nil {
				t.Errorf("batch %d: %v", batch, err)
				return
			}
			l.all = append(l.all, next...)
			l.batches.Add(1)
		}
	}()
	return l
}

// progress waits until some batches more are published.
func (l *load) progress(t testing.TB) {
	t.Helper()
	want := l.batches.Load() + 3
	eventually(t, "publishing goes on", func() bool { return l.batches.Load() >= want })
}

func (l *load) finish() []schema.Message {
	close(l.stop)
	<-l.done
	return l.all
}

// TestKilledServer kills the server in the middle of publishing: everything
// is stored once, the versions of a record in order (invariants 1 and 2).
func TestKilledServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := startChild(t, dir)
	front := startProxy(t, server.url)
	log := &testLog{}
	p := newPublisher(t, testConfig(), front.url(), slog.New(slog.NewTextHandler(log, nil)))
	l := startLoad(t, p)
	for kills := range 5 {
		l.progress(t)
		time.Sleep(time.Duration(3*kills) * time.Millisecond)
		front.down()
		server.kill()
		server = startChild(t, dir)
		front.set(server.url, false)
	}
	l.progress(t)
	checkLoad(t, l.finish(), server.url, log)
}

// TestLostAnswers cuts connections and swallows acknowledgements.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir())
	front := startProxy(t, e.URL())
	log := &testLog{}
	p := newPublisher(t, testConfig(), front.url(), slog.New(slog.NewTextHandler(log, nil)))
	l := startLoad(t, p)
	for cuts := range 6 {
		l.progress(t)
		time.Sleep(time.Duration(3*cuts) * time.Millisecond)
		front.set(e.URL(), true)
		time.Sleep(time.Duration(2*cuts) * time.Millisecond)
		front.cut()
		front.set(e.URL(), false)
	}
	l.progress(t)
	checkLoad(t, l.finish(), e.URL(), log)
}

func checkLoad(t *testing.T, all []schema.Message, url string, log *testLog) {
	t.Helper()
	got := ids(t, testConfig(), url)
	checkStored(t, got, all)
	t.Logf("%d messages published, %d stored", len(all), len(got))
	if !strings.Contains(log.String(), "trying again") {
		t.Error("no batch was interrupted")
	}
}

// TestCancelledWhileDown returns promptly and says what it waited for.
func TestCancelledWhileDown(t *testing.T) {
	t.Parallel()
	server := startChild(t, t.TempDir())
	front := startProxy(t, server.url)
	log := &testLog{}
	p := newPublisher(t, testConfig(), front.url(), logTo(log))
	front.down()
	server.kill()
	eventually(t, "the connection is lost", func() bool { return !p.conn.IsConnected() })
	err := cancelled(t, func(ctx context.Context) error { return p.Publish(ctx, events(0, 10, 10, 100), nil) },
		"it tries again", func() bool { return strings.Contains(log.String(), "trying again") })
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "before that: not connected to NATS") {
		t.Errorf("got %v, want the context's error and the cause", err)
	}
}
