package kafka

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"connector/internal/config"
	"connector/internal/fault"
	"connector/internal/secret"
	"connector/internal/testkafka"
)

// identity is a certificate and its key in PEM.
type identity struct{ cert, key string }

// authority is a certificate authority of one test.
type authority struct {
	identity
	parsed *x509.Certificate
	signer *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := new(authority)
	a.identity, a.parsed, a.signer = newCertificate(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	return a
}

func (a *authority) issue(t *testing.T) identity {
	t.Helper()
	id, _, _ := newCertificate(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, a)
	return id
}

func newCertificate(t *testing.T, template *x509.Certificate, by *authority) (identity, *x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.Subject = pkix.Name{CommonName: "test"}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := template, key
	if by != nil {
		parent, signer = by.parsed, by.signer
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return identity{
		cert: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		key:  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
	}, parsed, key
}

// serverTLS is the stand-in's side; with clients it asks for certificates of
// that authority.
func serverTLS(t *testing.T, id identity, clients *authority) *tls.Config {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(id.cert), []byte(id.key))
	if err != nil {
		t.Fatal(err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if clients != nil {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		c.ClientCAs.AddCert(clients.parsed)
	}
	return c
}

// hangUp is a port that closes every connection once something was sent to
// it, as Kafka does when that is not its protocol.
func hangUp(t *testing.T) []string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4))
			_ = conn.Close()
		}
	}()
	return []string{listener.Addr().String()}
}

// TestConnect tries what a user can set about connections, right and wrong.
// want is in the error; "" means that publishing works.
func TestConnect(t *testing.T) {
	const password = "canary-horse"
	ca, otherCA := newAuthority(t), newAuthority(t)
	client, stranger := ca.issue(t), otherCA.issue(t)
	plainPort := testkafka.Faulty(t).ListenAddrs()
	tlsPort := testkafka.Faulty(t, kfake.TLS(serverTLS(t, ca.issue(t), nil))).ListenAddrs()
	mutualPort := testkafka.Faulty(t, kfake.TLS(serverTLS(t, ca.issue(t), ca))).ListenAddrs()
	saslPort := testkafka.Faulty(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "ann", password),
		kfake.Superuser("SCRAM-SHA-256", "bob", password), kfake.Superuser("SCRAM-SHA-512", "cid", password)).ListenAddrs()

	withTLS := func(ca, cert, key string) func(*Config) {
		return func(c *Config) {
			c.TLS, c.TLSCa, c.TLSCert, c.TLSKey = true, config.Text(ca), config.Text(cert), config.Text(key)
		}
	}
	withSASL := func(m SASLMechanism, user, pass string) func(*Config) {
		return func(c *Config) { c.SASLMechanism, c.SASLUsername, c.SASLPassword = m, user, secret.New(pass) }
	}
	tests := []struct {
		name    string
		brokers []string
		set     func(*Config)
		want    string
		fatal   bool
	}{
		{"no security", plainPort, nil, "", false},
		{"one of several", []string{"127.0.0.1:1", plainPort[0]}, nil, "", false},
		{"nobody listens", []string{"127.0.0.1:1"}, nil, "connecting to Kafka at 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused; check KAFKA_BROKERS", false},
		{"TLS", tlsPort, withTLS(ca.cert, "", ""), "", false},
		{"TLS, unknown authority", tlsPort, withTLS(otherCA.cert, "", ""), "set KAFKA_TLS_CA", true},
		{"TLS, no authority in KAFKA_TLS_CA", tlsPort, withTLS("-----BEGIN NONSENSE", "", ""), "KAFKA_TLS_CA", true},
		{"TLS to a plain port", hangUp(t), withTLS(ca.cert, "", ""), "whether the port is encrypted (KAFKA_TLS)", false},
		{"no TLS to a TLS port", tlsPort, nil, "KAFKA_TLS=true", false},
		{"mutual TLS", mutualPort, withTLS(ca.cert, client.cert, client.key), "", false},
		{"mutual TLS, stranger", mutualPort, withTLS(ca.cert, stranger.cert, stranger.key), "KAFKA_TLS_CERT", true},
		{"mutual TLS, no certificate", mutualPort, withTLS(ca.cert, "", ""), "KAFKA_TLS_CERT", true},
		{"mutual TLS, key of another", mutualPort, withTLS(ca.cert, client.cert, stranger.key), "KAFKA_TLS_KEY", true},
		{"PLAIN", saslPort, withSASL(Plain, "ann", password), "", false},
		{"SCRAM-SHA-256", saslPort, withSASL(ScramSHA256, "bob", password), "", false},
		{"SCRAM-SHA-512", saslPort, withSASL(ScramSHA512, "cid", password), "", false},
		{"PLAIN, wrong password", saslPort, withSASL(Plain, "ann", "canary-staple"), "KAFKA_SASL_PASSWORD", false},
		{"SCRAM-SHA-512, wrong password", saslPort, withSASL(ScramSHA512, "cid", "canary-staple"), "KAFKA_SASL_PASSWORD", false},
		{"no login to a port that wants one", saslPort, nil, "KAFKA_SASL_MECHANISM", false},
		{"login to a port that wants none", plainPort, withSASL(Plain, "ann", password), "KAFKA_SASL_MECHANISM", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig(t, tt.brokers)
			if tt.set != nil {
				tt.set(&cfg)
			}
			ctx, cancel := context.WithTimeout(t.Context(), hang)
			defer cancel()
			p, err := newPublisher(ctx, &cfg, slog.New(slog.DiscardHandler), new(net.Dialer).DialContext)
			if err == nil {
				err = p.Publish(ctx, messages(0, 10), nil)
				p.client.close()
			}
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("got %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want an error with %q", err, tt.want)
			case fault.IsFatal(err) != tt.fatal:
				t.Errorf("got %v, fatal %v, want fatal %v", err, fault.IsFatal(err), tt.fatal)
			case err != nil && (strings.Contains(err.Error(), "horse") || strings.Contains(err.Error(), "staple") || strings.Contains(err.Error(), "\n")):
				t.Errorf("got an error with a password or a line break: %v", err)
			}
			t.Log(err)
		})
	}
}

// TestStart tries what can be wrong with topics.
func TestStart(t *testing.T) {
	key := func(k kmsg.Key) []kmsg.Key { return []kmsg.Key{k} }
	tests := []struct {
		name  string
		fault kfake.Fault
		set   func(*Config)
		want  string
		fatal bool
	}{
		{name: "not to be created", set: func(c *Config) { c.CreateTopics = false }, want: "KAFKA_CREATE_TOPICS=true", fatal: true},
		{name: "too many replicas", set: func(c *Config) { c.ReplicationFactor = 3 }, want: "KAFKA_REPLICATION_FACTOR", fatal: true},
		{name: "brokers' defaults", set: func(c *Config) { c.Partitions, c.ReplicationFactor = 0, 0 }},
		{name: "not allowed to create", fault: kfake.Fault{Keys: key(kmsg.CreateTopics), Err: kerr.TopicAuthorizationFailed}, want: "CREATE", fatal: true},
		{name: "created late", fault: kfake.Fault{Keys: key(kmsg.CreateTopics), Err: kerr.RequestTimedOut}},
		{name: "not allowed to look", fault: kfake.Fault{Keys: key(kmsg.Metadata), Err: kerr.TopicAuthorizationFailed, Count: -1}, want: "DESCRIBE", fatal: true},
		{name: "no producer id for the user", fault: kfake.Fault{Keys: key(kmsg.InitProducerID), TopLevel: true, Err: kerr.ClusterAuthorizationFailed}, want: "IDEMPOTENT_WRITE", fatal: true},
		{name: "no producer id at the moment", fault: kfake.Fault{Keys: key(kmsg.InitProducerID), TopLevel: true, Err: kerr.CoordinatorLoadInProgress, Count: 3}},
		{name: "not allowed to see settings", fault: kfake.Fault{Keys: key(kmsg.DescribeConfigs), Err: kerr.TopicAuthorizationFailed, Count: -1}, want: "DESCRIBE_CONFIGS", fatal: true},
		{name: "not allowed to see limits", fault: kfake.Fault{Keys: key(kmsg.DescribeConfigs), Err: kerr.TopicAuthorizationFailed, Count: -1, When: func(r kmsg.Request) bool {
			return len(r.(*kmsg.DescribeConfigsRequest).Resources) == 2 // the topics of messages
		}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cluster := testkafka.Faulty(t)
			if tt.fault.Err != nil {
				cluster.Fault(tt.fault)
			}
			cfg := testConfig(t, cluster.ListenAddrs())
			if tt.set != nil {
				tt.set(&cfg)
			}
			ctx, cancel := context.WithTimeout(t.Context(), hang)
			defer cancel()
			p, err := newPublisher(ctx, &cfg, slog.New(slog.DiscardHandler), new(net.Dialer).DialContext)
			t.Log(err)
			if err == nil {
				defer p.client.close()
				publish(t, p, messages(0, 10), messages(10, 10))
			}
			if fault.IsFatal(err) != tt.fatal || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, fatal %v; want %q, fatal %v", err, fault.IsFatal(err), tt.want, tt.fatal)
			}
			if tt.name == "not allowed to see limits" && p.limits.MaxMessageBytes != assumedMessageBytes-messageOverhead {
				t.Errorf("MaxMessageBytes: got %d", p.limits.MaxMessageBytes)
			}
		})
	}
}

// TestAdvertised finds a cluster whose brokers announce an address that
// cannot be reached.
func TestAdvertised(t *testing.T) {
	cluster := testkafka.Faulty(t)
	cfg := testConfig(t, cluster.ListenAddrs())
	testkafka.Create(t, cfg.Brokers, cfg.Topic, 1)
	testkafka.Create(t, cfg.Brokers, cfg.DeadletterTopic, 1)
	testkafka.Create(t, cfg.Brokers, cfg.CheckpointTopic, 1)
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == cfg.Brokers[0] {
			address = "127.0.0.1:1"
		} else {
			address = cfg.Brokers[0]
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	found := cfg
	found.Brokers = []string{"bootstrap:9092"}
	_, err := newPublisher(t.Context(), &found, slog.New(slog.DiscardHandler), dial)
	if err == nil || !strings.Contains(err.Error(), "advertised.listeners") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want one line with advertised.listeners", err)
	}
	t.Log(err)
}

func TestClosedConnSet(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s := &connSet{dialer: new(net.Dialer).DialContext, open: map[net.Conn]struct{}{}}
	conn, err := s.dial(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s.close()
	if _, err := conn.Write([]byte("x")); err == nil {
		t.Error("the connection is still open")
	}
	if _, err := s.dial(t.Context(), "tcp", listener.Addr().String()); err == nil {
		t.Error("a closed set opened a connection")
	}
	if err := conn.Close(); err == nil {
		t.Error("want the error of closing twice")
	}
}
