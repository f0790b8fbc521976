package nats

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"connector/internal/config"
	"connector/internal/fault"
	"connector/internal/secret"
)

func secretOf(s string) secret.String { return secret.New(s) }

// authority signs certificates for the tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pem = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue returns a certificate for loopback and its key, in PEM.
func (a *authority) issue(t *testing.T) (certificate, key string) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP(loopback)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	leaf := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, leaf.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(leaf)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}

// serverTLS returns the configuration of a server that wants client certificates.
func (a *authority) serverTLS(t *testing.T) *tls.Config {
	t.Helper()
	certificate, key := a.issue(t)
	pair, err := tls.X509KeyPair([]byte(certificate), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}
}

// operator is the JWT configuration of a server, with a credentials file of a user.
func operator(t *testing.T) (opts *server.Options, creds string) {
	t.Helper()
	op, acc, usr := seed(t, nkeys.PrefixByteOperator), seed(t, nkeys.PrefixByteAccount), seed(t, nkeys.PrefixByteUser)
	account := jwt.NewAccountClaims(public(t, acc))
	account.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	accountJWT, err := account.Encode(op)
	if err != nil {
		t.Fatal(err)
	}
	userJWT, err := jwt.NewUserClaims(public(t, usr)).Encode(acc)
	if err != nil {
		t.Fatal(err)
	}
	userSeed, err := usr.Seed()
	if err != nil {
		t.Fatal(err)
	}
	file, err := jwt.FormatUserConfig(userJWT, userSeed)
	if err != nil {
		t.Fatal(err)
	}
	claims := jwt.NewOperatorClaims(public(t, op))
	resolver := &server.MemAccResolver{}
	if err := resolver.Store(public(t, acc), accountJWT); err != nil {
		t.Fatal(err)
	}
	system := jwt.NewAccountClaims(public(t, seed(t, nkeys.PrefixByteAccount)))
	systemJWT, err := system.Encode(op)
	if err != nil {
		t.Fatal(err)
	}
	if err := resolver.Store(system.Subject, systemJWT); err != nil {
		t.Fatal(err)
	}
	return &server.Options{TrustedOperators: []*jwt.OperatorClaims{claims}, AccountResolver: resolver, SystemAccount: system.Subject}, string(file)
}

func seed(t *testing.T, prefix nkeys.PrefixByte) nkeys.KeyPair {
	t.Helper()
	pair, err := nkeys.CreatePair(prefix)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func public(t *testing.T, pair nkeys.KeyPair) string {
	t.Helper()
	key, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func inFile(t *testing.T, content string) config.FileOrText {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	var f config.FileOrText
	if err := f.Decode(path); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestLogin(t *testing.T) {
	user := seed(t, nkeys.PrefixByteUser)
	userSeed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	withCreds, creds := operator(t)
	_, otherCreds := operator(t)
	ca, otherCA := newAuthority(t), newAuthority(t)
	certificate, key := ca.issue(t)
	withTLS := func(c *Config) { c.CA, c.Cert, c.Key = config.Text(ca.pem), inFile(t, certificate), config.Text(key) }
	tests := []struct {
		name string
		opts *server.Options
		cfg  func(*Config)
		want string // in the fatal error; "" when it works
	}{
		{"password", &server.Options{Username: "u", Password: "canary-p"}, func(c *Config) { c.User, c.Password = "u", secretOf("canary-p") }, ""},
		{"wrong password", &server.Options{Username: "u", Password: "canary-p"}, func(c *Config) { c.User, c.Password = "u", secretOf("canary-wrong") }, "NATS_PASSWORD"},
		{"no login", &server.Options{Username: "u", Password: "canary-p"}, func(*Config) {}, "NATS_CREDS"},
		{"token", &server.Options{Authorization: "canary-t"}, func(c *Config) { c.Token = secretOf("canary-t") }, ""},
		{"wrong token", &server.Options{Authorization: "canary-t"}, func(c *Config) { c.Token = secretOf("canary-wrong") }, "NATS_TOKEN"},
		{"nkey text", &server.Options{Nkeys: []*server.NkeyUser{{Nkey: public(t, user)}}}, func(c *Config) { c.Nkey = Nkey{config.Text(string(userSeed))} }, ""},
		{"nkey file", &server.Options{Nkeys: []*server.NkeyUser{{Nkey: public(t, user)}}}, func(c *Config) { c.Nkey = Nkey{inFile(t, string(userSeed)+"\n")} }, ""},
		{"bad nkey", &server.Options{}, func(c *Config) { c.Nkey = Nkey{inFile(t, "canary-wrong")} }, "NATS_NKEY"},
		{"missing nkey", &server.Options{}, func(c *Config) { _ = c.Nkey.Decode("/nonexistent/nkey") }, "NATS_NKEY"},
		{"creds", withCreds, func(c *Config) { c.Creds = inFile(t, creds) }, ""},
		{"creds text", withCreds, func(c *Config) { c.Creds = config.Text(creds) }, ""},
		{"other creds", withCreds, func(c *Config) { c.Creds = config.Text(otherCreds) }, "NATS_CREDS"},
		{"missing creds", withCreds, func(c *Config) { _ = c.Creds.Decode("/nonexistent/creds") }, "NATS_CREDS"},
		{"client certificate", &server.Options{TLSConfig: ca.serverTLS(t), TLSVerify: true}, withTLS, ""},
		{"unknown CA", &server.Options{TLSConfig: ca.serverTLS(t), TLSVerify: true}, func(c *Config) { withTLS(c); c.CA = config.Text(otherCA.pem) }, "NATS_CA"},
		{"no CA", &server.Options{TLSConfig: ca.serverTLS(t), TLSVerify: true}, func(*Config) {}, "NATS_CA"},
		{"no client certificate", &server.Options{TLSConfig: ca.serverTLS(t), TLSVerify: true}, func(c *Config) { withTLS(c); c.Cert, c.Key = config.FileOrText{}, config.FileOrText{} }, "NATS_CERT"},
		{"no TLS at the server", &server.Options{}, withTLS, "NATS_URL"},
		{"CA is no certificate", &server.Options{}, func(c *Config) { c.CA = config.Text("-----BEGIN nothing") }, "NATS_CA"},
		{"key is of another", &server.Options{}, func(c *Config) { withTLS(c); _, k := ca.issue(t); c.Key = config.Text(k) }, "NATS_KEY"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			opts := *tt.opts
			opts.JetStream, opts.StoreDir = true, t.TempDir()
			s := startServer(t, &opts)
			cfg := testConfig()
			cfg.URL = Servers{s.ClientURL()}
			tt.cfg(&cfg)
			p, err := NewPublisher(t.Context(), cfg, s.ClientURL(), quiet())
			if err == nil {
				err = errors.Join(p.Publish(t.Context(), events(0, 1, 1, 1), nil), p.Close())
			}
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("got %v, want no error", err)
			case tt.want != "" && (!fault.IsFatal(err) || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want a fatal error with %s", err, tt.want)
			case err != nil && (strings.Contains(err.Error(), "canary-wrong") || strings.Contains(err.Error(), "\n")):
				t.Errorf("got %q, want one line without the secret", err)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "nats://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	noJetStream := startServer(t, &server.Options{})
	tests := []struct{ name, url, want string }{
		{"nothing listens", url, "NATS_URL"},
		{"none of several", url + "," + url + "0", "NATS_URL"},
		{"unknown name", "nats://nats.invalid:4222", "NATS_URL"},
		{"no JetStream", noJetStream.ClientURL(), "enable JetStream"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewPublisher(within(t, hang), testConfig(), tt.url, quiet())
			if !fault.IsFatal(err) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one fatal line with %s", err, tt.want)
			}
		})
	}
}

// TestCancelledConnect is a server that accepts and says nothing.
func TestGreetingWait(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]time.Duration{"embedded": busyWait, "nats://127.0.0.1:4222": dialTimeout} {
		cfg := &Config{}
		if err := cfg.URL.Decode(url); err != nil {
			t.Fatal(err)
		}
		list, err := new(connection).options(cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got natsio.Options
		for _, o := range list {
			if err := o(&got); err != nil {
				t.Fatal(err)
			}
		}
		if got.Timeout != want {
			t.Errorf("%s: got %v for the server to greet, want %v", url, got.Timeout, want)
		}
	}
}

func TestCancelledConnect(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = NewPublisher(ctx, testConfig(), "nats://"+l.Addr().String(), quiet())
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's error", err)
	}
	if err := l.Close(); err != nil { // ends the connection attempt as well
		t.Error(err)
	}
}
