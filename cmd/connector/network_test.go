package main

import (
	"crypto/tls"
	"encoding/pem"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connector/internal/apisim"
	"connector/internal/testproxy"
)

// behind is a network in which the providers' only name is example.com, known
// to proxies alone, and their certificate is of an authority unknown to the system.
type behind struct {
	vars          []string // of a connector that reaches both
	hq, otp       *testproxy.Proxy
	open          atomic.Int64 // connections to the providers
	e             *apisim.Ekuaibao
	s             *apisim.Submail
	hqAt, otpAt   string // the providers' addresses
	hqURL, otpURL string // of the proxies, with passwords
}

const (
	hqLogin  = "canary-hq:canary-pass"
	otpLogin = "canary-otp:canary-p@ss"
)

func newBehind(t *testing.T) *behind {
	t.Helper()
	p := apisim.Population{Seed: 7, Start: time.Now().Add(-10 * time.Minute), Every: time.Second, Limit: 50, Change: 0.3, MaxChange: 20 * time.Second}
	n := &behind{e: apisim.NewEkuaibao(apisim.EkuaibaoConfig{Population: p}), s: apisim.NewSubmail(apisim.SubmailConfig{Population: p})}
	n.e.Gzip.Store(true)
	n.s.Gzip.Store(true)
	t.Cleanup(func() { _, _ = n.e.Close(), n.s.Close() })
	secure := httptest.NewTLSServer(nil)
	t.Cleanup(secure.Close)
	serve := func(serve func(net.Listener) string) string {
		l := listener(t)
		serve(tls.NewListener(&countedListener{l, &n.open}, secure.TLS.Clone()))
		return l.Addr().String()
	}
	n.hqAt, n.otpAt = serve(n.e.Serve), serve(n.s.Serve)
	n.hq = proxy(t, testproxy.HTTP, testproxy.Config{Target: n.hqAt, User: hqLogin})
	n.otp = proxy(t, testproxy.SOCKS5, testproxy.Config{Target: n.otpAt, User: otpLogin})
	n.hqURL = "http://" + hqLogin + "@" + n.hq.Addr
	n.otpURL = "socks5://" + strings.Replace(otpLogin, "p@ss", "p%40ss", 1) + "@" + n.otp.Addr
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}))
	n.vars = []string{
		"CONNECTOR_SOURCES=hq=ekuaibao,otp=submail", "CONNECTOR_START=1h", "CONNECTOR_HTTP_ADDR=127.0.0.1:0", "CONNECTOR_SINK=stdout", "CONNECTOR_DATA_DIR=" + t.TempDir(),
		"HQ_BASE_URL=https://example.com", "HQ_APP_KEY=" + apisim.DefaultEkuaibaoKey, "HQ_APP_SECURITY=" + apisim.DefaultEkuaibaoSecurity,
		"HQ_RATE=1000", "HQ_LAG=0s", "HQ_CA=" + ca, "HQ_PROXY_URL=" + n.hqURL,
		"OTP_BASE_URL=https://example.com", "OTP_APP_ID=" + apisim.DefaultSubmailID, "OTP_APP_KEY=" + apisim.DefaultSubmailKey,
		"OTP_MIN_INTERVAL=1ms", "OTP_LAG=0s", "OTP_CA=" + ca, "OTP_PROXY_URL=" + n.otpURL,
	}
	return n
}

func proxy(t *testing.T, start func(testproxy.Config) (*testproxy.Proxy, error), c testproxy.Config) *testproxy.Proxy {
	t.Helper()
	p, err := start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// countedListener counts the connections that are open.
type countedListener struct {
	net.Listener
	open *atomic.Int64
}

func (l *countedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.open.Add(1)
	return &countedConn{Conn: c, open: l.open}, nil
}

type countedConn struct {
	net.Conn
	open   *atomic.Int64
	closed atomic.Bool
}

func (c *countedConn) Close() error {
	if !c.closed.Swap(true) {
		c.open.Add(-1)
	}
	return c.Conn.Close()
}

// TestBehindProxies reads two accounts, each by its own proxy and password,
// compressed, and leaves no connection behind.
func TestBehindProxies(t *testing.T) {
	t.Parallel()
	n := newBehind(t)
	code, stdout, stderr := command(t.Context(), with(n.vars, "CONNECTOR_LOG_LEVEL=debug"), "run", "--once")
	if code != exitOK {
		t.Fatalf("got code %d, want 0; stderr:\n%s", code, stderr)
	}
	if got, want := published(t, stdout), versionList(n.e.Served(), n.s.Served()); len(want) < 100 || !slices.Equal(got, want) {
		t.Errorf("got %d versions, want the %d that were served", len(got), len(want))
	}
	for account, p := range map[string]*testproxy.Proxy{"hq": n.hq, "otp": n.otp} {
		if len(p.Asked()) == 0 {
			t.Errorf("nothing went through the proxy of %s", account)
		}
	}
	if strings.Contains(stdout+stderr, "canary") {
		t.Errorf("the output holds a password:\n%s", stderr)
	}
	for deadline := time.Now().Add(patience); n.open.Load() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are open after the end", n.open.Load())
		}
	}
}

// TestNetworkMistakes: what is wrong between the connector and a provider is
// said with the variable to change. It runs beside nothing else: a check tries a handshake once, for seconds.
func TestNetworkMistakes(t *testing.T) {
	n := newBehind(t)
	l := listener(t)
	nobody := l.Addr().String()
	_ = l.Close()
	forbidding := proxy(t, testproxy.HTTP, testproxy.Config{Refuse: 403})
	hq := drop(with(n.vars, "CONNECTOR_SOURCES=hq=ekuaibao"), "OTP_")
	otp := drop(with(n.vars, "CONNECTOR_SOURCES=otp=submail"), "HQ_")
	for _, tt := range []struct {
		name string
		vars []string
		args string
		code int
		want []string
	}{
		{"all well", n.vars, "check", exitOK, []string{"ok    hq/flow", "ok    otp/sms"}},
		{"unknown authority", with(hq, "HQ_CA="), "check", exitFailed, []string{"FAIL  hq ", "set HQ_CA to the certificate of the authority", "check HQ_PROXY_URL"}},
		{"unknown authority, directly", with(otp, "OTP_CA=", "OTP_PROXY_URL=none", "OTP_BASE_URL=https://"+n.otpAt), "check", exitFailed, []string{"set OTP_CA"}},
		{"wrong password", with(hq, "HQ_PROXY_URL=http://canary-hq:canary@"+n.hq.Addr), "check", exitFailed, []string{"HTTP 407", "check HQ_PROXY_URL"}},
		{"refused", with(hq, "HQ_PROXY_URL=http://canary-hq:canary@"+forbidding.Addr), "check", exitFailed, []string{"CONNECT example.com:443 with HTTP 403", "check HQ_PROXY_URL"}},
		{"nobody there", with(hq, "HQ_PROXY_URL=http://canary-hq:canary@"+nobody), "check", exitFailed, []string{nobody, "check HQ_PROXY_URL"}},
		{"wrong values", with(n.vars, "HQ_CA=/canary", "OTP_CA=-----BEGIN canary", "HQ_PROXY_URL=canary:3128", "OTP_PROXY_URL=http://u:canary#@p:1"), "run", exitUsage, []string{
			"4 fault(s)", "HQ_PROXY_URL: use none, or", "HQ_CA: cannot be read", "OTP_PROXY_URL: use none, or", "percent-encoded", "OTP_CA: cannot be read: no PEM certificate in it",
		}},
		{"shown", n.vars, "config", exitOK, []string{"# HQ_PROXY_URL=http://****@" + n.hq.Addr, "# HQ_CA=**** (secret)"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := command(t.Context(), with(tt.vars, "CONNECTOR_DATA_DIR="+t.TempDir()), tt.args)
			if code != tt.code {
				t.Errorf("got code %d, want %d", code, tt.code)
			}
			wantLines(t, "output", stdout+stderr, tt.want...)
			if strings.Contains(stdout+stderr, "canary") {
				t.Errorf("the output holds a password:\n%s\n%s", stdout, stderr)
			}
		})
	}
}

// TestProxyOfEnvironment: without a proxy of its own, an account uses the
// environment's, and says so. It runs beside nothing else, as above.
func TestProxyOfEnvironment(t *testing.T) {
	n := newBehind(t)
	l := listener(t)
	nobody := l.Addr().String()
	_ = l.Close()
	hq := with(drop(n.vars, "OTP_"), "CONNECTOR_SOURCES=hq=ekuaibao", "HQ_PROXY_URL=", "NO_PROXY=", "no_proxy=")
	for at, want := range map[string]string{
		"http://" + hqLogin + "@" + n.hq.Addr: "ok    hq/flow",
		"http://" + hqLogin + "@" + nobody:    "check HTTPS_PROXY and NO_PROXY, or set HQ_PROXY_URL",
	} {
		c := start(t, with(hq, "HTTPS_PROXY="+at, "https_proxy="), "check")
		<-c.ended
		out := c.stdout.String() + c.stderr.String()
		wantLines(t, "check", out, want)
		if strings.Contains(out, "canary") {
			t.Errorf("the output holds a password:\n%s", out)
		}
	}
}

// TestNoProxy: NO_PROXY keeps requests from the environment's proxy, and not from the account's own.
func TestNoProxy(t *testing.T) {
	t.Parallel()
	_, _, vars, _ := checkSims(t, 0)
	at := strings.TrimPrefix(value(vars, "HQ_BASE_URL"), "http://")
	// The environment's proxy is never asked for a loopback address; this one leads to the same place.
	vars = with(vars, "HQ_BASE_URL="+strings.Replace("http://"+at, "127.0.0.1", "0.0.0.0", 1), "HQ_MESSAGE_TYPES=flow", "HQ_RATE=1000", "CONNECTOR_SINK=stdout", "CONNECTOR_DATA_DIR="+t.TempDir())
	for _, tt := range []struct {
		name, environment, excepted, own string // proxy: whether it is set, and to what
		by                               bool   // the proxy
	}{
		{"of the environment", "the proxy", "", "", true},
		{"of the environment, with an exception", "the proxy", "0.0.0.0", "", false},
		{"of the environment, for all but this", "the proxy", "*", "", false},
		{"of its own", "", "", "the proxy", true},
		{"of its own, with an exception", "", "0.0.0.0", "the proxy", true},
		{"none", "the proxy", "", "none", false},
	} {
		p := proxy(t, testproxy.HTTP, testproxy.Config{Target: at})
		set := strings.NewReplacer("the proxy", "http://"+p.Addr)
		c := start(t, with(vars, "HTTP_PROXY="+set.Replace(tt.environment), "http_proxy=", "NO_PROXY="+tt.excepted, "no_proxy=", "HQ_PROXY_URL="+set.Replace(tt.own)), "check")
		<-c.ended
		wantLines(t, tt.name, c.stdout.String()+c.stderr.String(), "ok    hq/flow")
		if got := len(p.Asked()) > 0; got != tt.by {
			t.Errorf("%s: through the proxy: got %v, want %v", tt.name, got, tt.by)
		}
	}
}
