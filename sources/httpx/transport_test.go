package httpx

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connector/internal/config"
	"connector/internal/secret"
	"connector/internal/testproxy"
)

// authority returns the certificate of a server, as PEM.
func authority(srv *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
}

func trusting(srv *httptest.Server) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// account returns the transport of account hq that trusts srv and uses a proxy; "" for none.
func account(t *testing.T, srv *counted, proxy string) *Transport {
	t.Helper()
	var c config.Common
	if srv.TLS != nil {
		c.CA = config.Text(authority(srv.Server))
	}
	if proxy == "" {
		proxy = "none"
	}
	if err := c.ProxyURL.Decode(proxy); err != nil {
		t.Fatal(err)
	}
	tr, err := NewAccountTransport("hq", c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func startProxy(t *testing.T, start func(testproxy.Config) (*testproxy.Proxy, error), c testproxy.Config) *testproxy.Proxy {
	t.Helper()
	p, err := start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// TestProxy reads through proxies of every kind, by a name that only the proxy
// knows, and meets those that refuse. User and password are shown nowhere.
func TestProxy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	_ = l.Close()
	const login = "proxy-user:canary-p%40ss"
	user := func(c testproxy.Config) testproxy.Config { c.User = "proxy-user:canary-p@ss"; return c }
	refuse := func(status int) func(testproxy.Config) testproxy.Config {
		return func(c testproxy.Config) testproxy.Config { c.Refuse = status; return c }
	}
	plain := func(c testproxy.Config) testproxy.Config { return c }
	tests := []struct {
		name   string
		start  func(testproxy.Config) (*testproxy.Proxy, error)
		set    func(testproxy.Config) testproxy.Config
		url    string // of the proxy; %s is its address
		target string
		says   string // in the error; "": an answer
	}{
		{"CONNECT", testproxy.HTTP, plain, "http://%s", "https://example.com", ""},
		{"CONNECT with a password", testproxy.HTTP, user, "http://" + login + "@%s", "https://example.com", ""},
		{"plain HTTP with a password", testproxy.HTTP, user, "http://" + login + "@%s", "http://example.com", ""},
		{"SOCKS5", testproxy.SOCKS5, plain, "socks5://%s", "https://example.com", ""},
		{"SOCKS5 with a password", testproxy.SOCKS5, user, "socks5://" + login + "@%s", "https://example.com", ""},
		{"wrong password", testproxy.HTTP, user, "http://proxy-user:canary-wrong@%s", "https://example.com", "HTTP 407 Proxy Authentication Required"},
		{"no password", testproxy.HTTP, user, "http://%s", "https://example.com", "HTTP 407 Proxy Authentication Required"},
		{"wrong password, plain", testproxy.HTTP, user, "http://proxy-user:canary-wrong@%s", "http://example.com", "HTTP 407 Proxy Authentication Required"},
		{"wrong password, SOCKS5", testproxy.SOCKS5, user, "socks5://proxy-user:canary-wrong@%s", "https://example.com", "authentication failed"},
		{"refused", testproxy.HTTP, refuse(403), "http://" + login + "@%s", "https://example.com", "CONNECT example.com:443 with HTTP 403 Forbidden"},
		{"refused, plain, and echoed", testproxy.HTTP, refuse(403), "http://" + login + "@%s", "http://example.com", "HTTP 403 Forbidden: \"refused by policy, you sent Basic ****"},
		{"unreachable", testproxy.HTTP, plain, "http://" + login + "@" + nobody, "https://example.com", "connection refused"},
		{"unreachable SOCKS5", testproxy.SOCKS5, plain, "socks5://" + login + "@" + nobody, "https://example.com", "connection refused"},
		{"proxy without TLS", testproxy.HTTP, plain, "https://%s", "https://example.com", "does not look like a TLS handshake"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := newCounted(t, strings.HasPrefix(tt.target, "https"), func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) })
			proxy := startProxy(t, tt.start, tt.set(testproxy.Config{Target: srv.Listener.Addr().String()}))
			at := strings.Replace(tt.url, "%s", proxy.Addr, 1)
			var logged bytes.Buffer
			opts := Options{
				Transport: account(t, srv, at), Secrets: secretsOf(t, at),
				Logger: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
			}
			got, err := get(t.Context(), New(opts, []string{"accessToken"}), tt.target)
			switch {
			case tt.says == "" && (err != nil || got != "example.com" || len(proxy.Asked()) != 1 || !strings.HasPrefix(proxy.Asked()[0], "example.com")):
				t.Errorf("got %q, %v, proxy asked for %q, want the answer of example.com through the proxy", got, err, proxy.Asked())
			case tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)):
				t.Errorf("got %v, want an error with %q", err, tt.says)
			case tt.says != "" && !strings.Contains(err.Error(), "check HQ_PROXY_URL") && !strings.Contains(tt.name, "echoed"):
				t.Errorf("got %v, want an error that names HQ_PROXY_URL", err)
			case err != nil && Misdirected(err):
				t.Errorf("got %v, which is taken for one about the base URL", err)
			}
			for _, hidden := range []string{"canary", "proxy-user", "cHJveHktdXNlcj"} { // the beginning in base64
				if strings.Contains(fmt.Sprint(err, logged.String()), hidden) {
					t.Errorf("error or log hold %q: %v\n%s", hidden, err, &logged)
				}
			}
		})
	}
}

func secretsOf(t *testing.T, proxy string) []secret.String {
	t.Helper()
	var p config.Proxy
	if err := p.Decode(proxy); err != nil {
		t.Fatal(err)
	}
	return p.Secrets()
}

// TestCA: an account trusts its own certificates only, and an error about them
// names the variable.
func TestCA(t *testing.T) {
	srv := newCounted(t, true, func(http.ResponseWriter, *http.Request) {})
	byName := strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)
	own, unknown := config.Text(authority(srv.Server)), "set HQ_CA to the certificate of the authority that signed it"
	for name, tt := range map[string]struct {
		ca          config.FileOrText
		url         string
		want        string
		misdirected bool
	}{
		"trusted":        {own, srv.URL, "", false},
		"the system's":   {config.FileOrText{}, srv.URL, unknown, false},
		"another":        {config.Text(newAuthority(t)), srv.URL, unknown, false},
		"another's name": {own, byName, "certificate is valid for", true},
	} {
		tr, err := NewAccountTransport("hq", config.Common{CA: tt.ca})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(tr.CloseIdleConnections)
		_, err = get(t.Context(), New(Options{Transport: tr}, nil), tt.url)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || Misdirected(err) != tt.misdirected) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
		if err != nil && !strings.Contains(tt.want, "HQ_CA") && strings.Contains(err.Error(), "HQ_CA") {
			t.Errorf("%s: got %v, which is not about HQ_CA", name, err)
		}
	}
	if _, err := NewAccountTransport("hq", config.Common{CA: config.Text("-----BEGIN")}); err == nil || !strings.Contains(err.Error(), "HQ_CA") {
		t.Errorf("got %v, want an error that names HQ_CA", err)
	}
}

// newAuthority returns the certificate of an authority that signed nothing.
func newAuthority(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
