package nats

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	natsio "github.com/nats-io/nats.go"

	"connector/internal/fault"
)

const (
	dialTimeout   = 5 * time.Second // per server
	reconnectWait = 500 * time.Millisecond
	requestWait   = 5 * time.Second  // for JetStream's answer to a request, before it is asked again
	busyWait      = 30 * time.Second // for its answer then
	writeTimeout  = 10 * time.Second // for the network to take what is sent
	pingInterval  = 20 * time.Second // two without an answer end a connection
)

// What to do about an error.
const (
	urlRemedy    = "check NATS_URL, and that the server runs and can be reached"
	loginRemedy  = "check NATS_CREDS, NATS_NKEY, NATS_TOKEN, or NATS_USER and NATS_PASSWORD"
	tlsRemedy    = "check NATS_CA, NATS_CERT and NATS_KEY, and that the name in NATS_URL is the certificate's"
	permitRemedy = "let the user publish to %s.> and $JS.API.>, and subscribe to _INBOX.>"
)

// connection is a connection and what its server refused.
type connection struct {
	*natsio.Conn

	denied chan error // the last permission the user lacked
	socket socket
}

// socket dials, and keeps what it dialed last.
type socket struct {
	mu   sync.Mutex
	conn net.Conn
}

// Dial implements [natsio.CustomDialer].
func (s *socket) Dial(network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = conn
	return conn, nil
}

// cut breaks the connection, which is then made again.
func (s *socket) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		_ = s.conn.Close()
	}
}

// unblock sees to it that the network holds nothing up once ctx ends, until
// stop is called: nats.go waits for it under its lock, up to writeTimeout.
func (c *connection) unblock(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, c.socket.cut)
}

// connect connects to one of the servers that url lists, which must be
// reachable now; later it reconnects without end.
func connect(ctx context.Context, cfg *Config, url string, log *slog.Logger) (*connection, error) {
	c := &connection{denied: make(chan error, 1)}
	opts, err := c.options(cfg, log)
	if err != nil {
		return nil, err
	}
	type result struct {
		conn *natsio.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		conn, err := natsio.Connect(url, opts...)
		done <- result{conn, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, connectError(url, r.err)
		}
		c.Conn = r.conn
		return c, nil
	case <-ctx.Done():
		go func() {
			if r := <-done; r.err == nil {
				r.conn.Close()
			}
		}()
		return nil, fmt.Errorf("connecting to NATS at %s: %w", url, ctx.Err())
	}
}

func connectError(url string, err error) error {
	what := fmt.Errorf("connecting to NATS at %s: %w", url, err)
	_, badCertificate := errors.AsType[*tls.CertificateVerificationError](err)
	alert, ok := errors.AsType[*net.OpError](err)
	refused := ok && alert.Op == "remote error" // as crypto/tls reports the server's alert
	switch {
	case badCertificate, refused, errors.Is(err, natsio.ErrTLS), errors.Is(err, natsio.ErrSecureConnRequired), errors.Is(err, natsio.ErrSecureConnWanted):
		return fault.Fatal(what, tlsRemedy)
	case isLogin(err):
		return fault.Fatal(what, loginRemedy)
	}
	return fault.Fatal(what, urlRemedy)
}

// isLogin reports whether the server refused who connects. nats.go has no
// common error for it.
func isLogin(err error) bool {
	for _, e := range []error{
		natsio.ErrAuthorization, natsio.ErrAuthExpired, natsio.ErrAuthRevoked, natsio.ErrAccountAuthExpired,
		natsio.ErrNkeysNotSupported, natsio.ErrNoUserCB,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (c *connection) options(cfg *Config, log *slog.Logger) ([]natsio.Option, error) {
	opts := []natsio.Option{
		natsio.Name("connector"), natsio.Timeout(greetingWait(cfg)), natsio.SetCustomDialer(&c.socket),
		natsio.MaxReconnects(-1), natsio.ReconnectWait(reconnectWait), natsio.ReconnectBufSize(-1),
		natsio.FlusherTimeout(writeTimeout), natsio.PingInterval(pingInterval),
		natsio.ErrorHandler(func(_ *natsio.Conn, _ *natsio.Subscription, err error) {
			log.Warn("NATS reports an error", "error", err)
			c.noteDenied(err)
		}),
		natsio.DisconnectErrHandler(func(_ *natsio.Conn, err error) {
			if err != nil {
				log.Warn("connection to NATS lost; reconnecting", "error", err)
			}
		}),
		natsio.ReconnectHandler(func(conn *natsio.Conn) { log.Info("reconnected to NATS", "url", conn.ConnectedUrlRedacted()) }),
	}
	login, err := loginOption(cfg)
	if err != nil {
		return nil, err
	}
	secure, err := tlsOption(cfg)
	if err != nil {
		return nil, err
	}
	return append(opts, login, secure), nil
}

// greetingWait is how long a server may take to greet. The embedded one is there
// for certain, but the machine may be busy.
func greetingWait(cfg *Config) time.Duration {
	if cfg.URL.Embedded() {
		return busyWait
	}
	return dialTimeout
}

// noteDenied keeps err when it says that the user lacks a permission: a
// refused message has no other answer.
func (c *connection) noteDenied(err error) {
	if !errors.Is(err, natsio.ErrPermissionViolation) {
		return
	}
	select {
	case c.denied <- err:
	default:
	}
}

// takeDenied returns the last permission the user lacked, once.
func (c *connection) takeDenied() error {
	select {
	case err := <-c.denied:
		return err
	default:
		return nil
	}
}

// guard calls f with a context that ends after limit; when the server says that
// the user lacks a permission, and then returns what it said: a refused request
// is never answered; and when the connection is lost, with the answer.
func (c *connection) guard(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ctx, refuse := context.WithCancelCause(ctx)
	defer refuse(nil)
	lost := c.StatusChanged(natsio.RECONNECTING, natsio.CLOSED)
	defer c.RemoveStatusListener(lost)
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case err := <-c.denied:
			refuse(err)
		case <-lost:
			refuse(natsio.ErrDisconnected)
		case <-ctx.Done():
		}
	})
	err := f(ctx)
	cause := context.Cause(ctx)
	refuse(nil)
	watch.Wait()
	if err != nil && (errors.Is(cause, natsio.ErrPermissionViolation) || errors.Is(cause, natsio.ErrDisconnected)) {
		return cause
	}
	return err
}
