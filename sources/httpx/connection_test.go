package httpx

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// counted is a server that counts its connections.
type counted struct {
	*httptest.Server
	opened, open atomic.Int64
}

func newCounted(t *testing.T, secure bool, h http.HandlerFunc) *counted {
	t.Helper()
	s := &counted{Server: httptest.NewUnstartedServer(h)}
	s.EnableHTTP2 = secure
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.opened.Add(1)
			s.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			s.open.Add(-1)
		case http.StateActive, http.StateIdle:
		}
	}
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// TestReuse sends many requests over one connection, answers that are refused
// with a long page included.
func TestReuse(t *testing.T) {
	for name, secure := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		var protocol atomic.Value
		n := 0
		srv := newCounted(t, secure, func(w http.ResponseWriter, r *http.Request) {
			protocol.Store(r.Proto)
			switch n++; n % 4 {
			case 1:
				w.WriteHeader(http.StatusForbidden)
			case 2:
				w.WriteHeader(http.StatusBadGateway)
				fmt.Fprint(w, "<html>"+strings.Repeat("not now ", 10_000))
			case 3:
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(http.StatusTooManyRequests)
				fmt.Fprint(w, "slow down")
			default:
				fmt.Fprint(w, strings.Repeat("an answer ", 10_000))
			}
		})
		tr := account(t, srv, "")
		c := New(Options{Transport: tr}, nil)
		for range 20 {
			_, _ = get(t.Context(), c, srv.URL)
		}
		if got := srv.opened.Load(); got != 1 || protocol.Load() != name {
			t.Errorf("got %d connections for 20 requests over %v, want 1 over %s", got, protocol.Load(), name)
		}
		tr.CloseIdleConnections()
		for deadline := time.Now().Add(time.Minute); srv.open.Load() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d connections are open after CloseIdleConnections", name, srv.open.Load())
			}
		}
	}
}

// TestEndlessRefusal: a connection is not worth reading a refusal without end.
func TestEndlessRefusal(t *testing.T) {
	var sent atomic.Int64
	srv := newCounted(t, false, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		piece := strings.Repeat("no ", 10_000)
		for {
			n, err := io.WriteString(w, piece)
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	})
	c := New(Options{Transport: account(t, srv, "")}, nil)
	_, err := get(t.Context(), c, srv.URL)
	if status, ok := errors.AsType[*StatusError](err); !ok || status.Status != http.StatusForbidden {
		t.Errorf("got %v, want status 403", err)
	}
	srv.Close() // waits for the handler
	if got := sent.Load(); got > 64<<20 {
		t.Errorf("the server could send %d bytes", got)
	}
}

// TestTimeouts: each phase before the answer has its limit.
func TestTimeouts(t *testing.T) {
	for name, tt := range map[string]struct {
		url  string
		dial dialFunc
		want time.Duration
		says string
	}{
		"connect": {"http://pipe", func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, connectTimeout, "no connection within 10s"},
		"TLS handshake": {"https://pipe", deaf, tlsTimeout, "TLS handshake timeout"},
		"header":        {"http://pipe", deaf, headerTimeout, "timeout awaiting response headers"},
	} {
		synctest.Test(t, func(t *testing.T) {
			tr := NewTransport(tt.dial)
			defer tr.CloseIdleConnections()
			began := time.Now()
			_, err := get(t.Context(), New(Options{Transport: tr}, nil), tt.url)
			if took := time.Since(began); err == nil || !strings.Contains(err.Error(), tt.says) || took != tt.want {
				t.Errorf("%s: got %v after %v, want %q after %v", name, err, took, tt.says, tt.want)
			}
			if Late(err) != (name == "header") || Late(err) != errors.Is(err, ErrNoHeader) {
				t.Errorf("%s: got %v, called late: %v", name, err, Late(err))
			}
			if name == "connect" && !Misdirected(err) {
				t.Errorf("%s: got %v, want one that is about the base URL", name, err)
			}
		})
	}
}

// TestTimeoutOfASecondTry: a request whose connection had been closed by the server is sent again,
// but for that there is no connection.
func TestTimeoutOfASecondTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		tr := NewTransport(func(context.Context, string, string) (net.Conn, error) {
			if dials++; dials > 1 {
				return nil, &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
			}
			client, server := net.Pipe()
			go func() {
				defer func() { _ = server.Close() }()
				in := bufio.NewReader(server)
				if _, err := http.ReadRequest(in); err != nil {
					t.Error(err)
				}
				_, _ = io.WriteString(server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
				_, _ = http.ReadRequest(in)
			}()
			return client, nil
		})
		defer tr.CloseIdleConnections()
		c := New(Options{Transport: tr}, nil)
		if _, err := get(t.Context(), c, "http://pipe"); err != nil {
			t.Fatal(err)
		}
		if _, err := get(t.Context(), c, "http://pipe"); err == nil || dials != 2 || Late(err) || !Misdirected(err) {
			t.Errorf("got %v after %d dials, called late: %v", err, dials, Late(err))
		}
	})
}

// deaf connects to a server that takes everything and says nothing.
func deaf(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, server) }()
	return client, nil
}

// TestForgottenConnection: a firewall drops an idle HTTP/2 connection without a
// word. One request pays for it, the next has a new connection.
func TestForgottenConnection(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	certificate := srv.TLS.Clone()
	srv.Close()
	synctest.Test(t, func(t *testing.T) {
		var wires []*wire
		conns := make(chan net.Conn)
		tr := NewTransport(func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			w := &wire{Conn: client}
			wires = append(wires, w)
			conns <- server
			return w, nil
		})
		tr.TLSClientConfig = trusting(srv)
		l := &listener{conns: conns, done: make(chan struct{})}
		server := &http.Server{Handler: srv.Config.Handler, TLSConfig: certificate, ReadHeaderTimeout: time.Minute}
		go func() { _ = server.ServeTLS(l, "", "") }()
		t.Cleanup(func() { tr.CloseIdleConnections(); _ = server.Close() })

		c := New(Options{Transport: tr}, nil)
		if got, err := get(t.Context(), c, "https://example.com"); err != nil || got != "HTTP/2.0" {
			t.Fatalf("got %q, %v, want an answer over HTTP/2.0", got, err)
		}
		wires[0].cut()
		began := time.Now()
		if _, err := get(t.Context(), c, "https://example.com"); err == nil || time.Since(began) > headerTimeout {
			t.Errorf("got %v after %v, want an error within %v", err, time.Since(began), headerTimeout)
		}
		began = time.Now()
		if _, err := get(t.Context(), c, "https://example.com"); err != nil || time.Since(began) > time.Second || len(wires) != 2 {
			t.Errorf("got %v after %v over connection %d, want an answer at once over the second", err, time.Since(began), len(wires))
		}
	})
}

// wire is a connection that can go silent.
type wire struct {
	net.Conn
	mu  sync.Mutex
	off bool
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.off = true
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.off {
		return len(p), nil
	}
	return w.Conn.Write(p)
}
