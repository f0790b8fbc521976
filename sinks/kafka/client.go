package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"connector/internal/fault"
)

const (
	clientID = "connector"
	// dialTimeout bounds reaching one address, connectTimeout trying those of
	// KAFKA_BROKERS and logging in.
	dialTimeout    = 3 * time.Second
	connectTimeout = 10 * time.Second
	// refreshInterval is the least time between two renewals of connections
	// and metadata.
	refreshInterval = 20 * time.Millisecond
)

// client speaks to one cluster about a fixed set of topics. It is safe for
// concurrent use.
type client struct {
	addr      net.Addr
	transport *kafkago.Transport
	api       *kafkago.Client
	conns     *connSet
	// fetchBytes bounds an answer with records; a larger batch comes alone.
	fetchBytes int32

	mu        sync.Mutex
	refreshed time.Time
}

// newClient returns a client that has not connected yet.
func newClient(cfg *Config, dial dialFunc, topics ...string) (*client, error) {
	tlsConfig, err := newTLS(cfg)
	if err != nil {
		return nil, err
	}
	mechanism, err := newSASL(cfg)
	if err != nil {
		return nil, err
	}
	conns := &connSet{dialer: dial, open: make(map[net.Conn]struct{})}
	c := &client{addr: kafkago.TCP(cfg.Brokers...), conns: conns, fetchBytes: 1 << 20}
	c.transport = &kafkago.Transport{
		Dial:           conns.dial,
		DialTimeout:    connectTimeout,
		MetadataTopics: topics, // empty would fetch all topics of the cluster
		ClientID:       clientID,
		TLS:            tlsConfig,
		SASL:           mechanism,
	}
	c.api = &kafkago.Client{Addr: c.addr, Transport: c.transport}
	return c, nil
}

// roundTrip sends req to the broker in charge of it. When that one is unknown
// because no broker was reached, the error says why.
func (c *client) roundTrip(ctx context.Context, req protocol.Message) (protocol.Message, error) {
	res, err := c.transport.RoundTrip(ctx, c.addr, req)
	if isUnrouted(err) {
		if _, reason := c.transport.RoundTrip(ctx, c.addr, &metadata.Request{}); reason != nil {
			return nil, reason
		}
	}
	return res, err
}

// metadata returns what the brokers say now about topics.
func (c *client) metadata(ctx context.Context, topics ...string) (*metadata.Response, error) {
	c.renew()
	res, err := c.roundTrip(ctx, &metadata.Request{TopicNames: topics})
	if err != nil {
		return nil, err
	}
	return res.(*metadata.Response), nil
}

// refresh makes the next requests find the leaders anew, after one that began
// at since went wrong. The transport itself looks every few seconds only.
func (c *client) refresh(since time.Time) {
	c.mu.Lock()
	known := c.refreshed.After(since) || time.Since(c.refreshed) < refreshInterval
	c.mu.Unlock()
	if !known {
		c.renew()
	}
}

func (c *client) renew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refreshed = time.Now()
	c.transport.CloseIdleConnections()
}

// close ends all connections, also those with requests that were given up.
func (c *client) close() {
	c.transport.CloseIdleConnections()
	c.conns.close()
}

// isUnrouted reports whether a request was not sent because the transport
// knows no leader for it.
func isUnrouted(err error) bool {
	return isMissing(err) || errors.Is(err, protocol.ErrNoLeader) || errors.Is(err, kafkago.BrokerNotAvailable)
}

// isMissing reports whether err says that the topic or partition does not exist.
func isMissing(err error) bool {
	return errors.Is(err, protocol.ErrNoTopic) || errors.Is(err, protocol.ErrNoPartition) ||
		errors.Is(err, kafkago.UnknownTopicOrPartition)
}

func newTLS(cfg *Config) (*tls.Config, error) {
	if !cfg.TLS {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if !cfg.TLSCa.IsZero() {
		pem, err := cfg.TLSCa.Bytes()
		if err != nil {
			return nil, fault.Fatal(fmt.Errorf("reading CA certificates: %w", err), "check KAFKA_TLS_CA")
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fault.Fatal(errors.New("no CA certificate found"), "put at least one certificate in PEM form into KAFKA_TLS_CA")
		}
	}
	if cfg.TLSCert.IsZero() {
		return t, nil
	}
	// Read on each connection, so that a rotated certificate is taken up.
	load := func() (*tls.Certificate, error) { return clientCertificate(cfg) }
	if _, err := load(); err != nil {
		return nil, fault.Fatal(err, "check KAFKA_TLS_CERT and KAFKA_TLS_KEY")
	}
	t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	return t, nil
}

func clientCertificate(cfg *Config) (*tls.Certificate, error) {
	cert, err := cfg.TLSCert.Bytes()
	if err != nil {
		return nil, fmt.Errorf("reading client certificate: %w", err)
	}
	key, err := cfg.TLSKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("reading key of the client certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("loading client certificate: %w", err)
	}
	return &pair, nil
}

func newSASL(cfg *Config) (sasl.Mechanism, error) {
	user, password := cfg.SASLUsername, cfg.SASLPassword.Reveal()
	var mechanism sasl.Mechanism
	var err error
	switch cfg.SASLMechanism {
	case "":
	case Plain:
		mechanism = plain.Mechanism{Username: user, Password: password}
	case ScramSHA256:
		mechanism, err = scram.Mechanism(scram.SHA256, user, password)
	case ScramSHA512:
		mechanism, err = scram.Mechanism(scram.SHA512, user, password)
	default:
		err = fmt.Errorf("unknown mechanism %q", cfg.SASLMechanism)
	}
	if err != nil {
		return nil, fault.Fatal(fmt.Errorf("preparing login: %w", err), "check KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD")
	}
	return mechanism, nil
}

// dialFunc opens a connection, like [net.Dialer.DialContext].
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// connSet knows the open connections. The transport closes idle ones only; a
// request that was given up would keep its connection, and a goroutine.
type connSet struct {
	dialer dialFunc

	mu     sync.Mutex
	open   map[net.Conn]struct{}
	closed bool
}

func (s *connSet) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := s.dialer(ctx, network, address)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	tracked := &trackedConn{Conn: conn, set: s}
	s.open[tracked] = struct{}{}
	return tracked, nil
}

func (s *connSet) close() {
	s.mu.Lock()
	open := s.open
	s.open, s.closed = nil, true
	s.mu.Unlock()
	for conn := range open {
		_ = conn.Close()
	}
}

type trackedConn struct {
	net.Conn
	set *connSet
}

func (c *trackedConn) Close() error {
	c.set.mu.Lock()
	delete(c.set.open, c) // deleting from a nil map is fine
	c.set.mu.Unlock()
	return c.Conn.Close()
}
