package httpx

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"connector/internal/config"
)

// Limits of connections and of the time before an answer. Headers may take
// long: an answer of many megabytes is put together before its first byte.
const (
	connectTimeout = 10 * time.Second // to the server or the proxy, with the lookup of its name
	tlsTimeout     = 10 * time.Second
	headerTimeout  = 60 * time.Second

	// An HTTP/2 connection that a firewall has forgotten looks alive: without
	// pings every request on it would fail, for as long as TCP tries again.
	pingAfter   = 15 * time.Second // of silence while an answer is awaited
	pingTimeout = 15 * time.Second
)

// dialFunc connects to a server or a proxy.
type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// NewTransport returns a transport with the time limits of this package,
// proxies from the environment, and idle connections that are reused. dial
// connects in place of a [net.Dialer]; nil: the network.
func NewTransport(dial func(ctx context.Context, network, addr string) (net.Conn, error)) *http.Transport {
	if dial == nil {
		dial = (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext
	}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		OnProxyConnectResponse: connected,
		DialContext:            within(connectTimeout, dial),
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		TLSHandshakeTimeout:    tlsTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    8,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// within bounds the time of dial.
func within(limit time.Duration, dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeoutCause(ctx, limit, errConnect)
		defer cancel()
		conn, err := dial(ctx, network, addr)
		if err != nil && errors.Is(context.Cause(ctx), errConnect) {
			err = &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%s: %w", addr, errConnect)}
		}
		return conn, err
	}
}

var errConnect = fmt.Errorf("no connection within %v", connectTimeout)

// connected refuses a tunnel that the proxy refuses.
func connected(_ context.Context, _ *url.URL, req *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return fmt.Errorf("the proxy answers CONNECT %s with HTTP %d %s", req.Host, resp.StatusCode, http.StatusText(resp.StatusCode))
}

// Transport carries the requests of one account, by its proxy and with its
// certificates. Its errors name the variables that they may be about.
type Transport struct {
	http   *http.Transport
	prefix string // of the account's variables
	own    bool   // whether the account has a proxy of its own
}

// NewAccountTransport returns a transport like that of [NewTransport] with the
// proxy and the certificates of an account. The caller closes its idle
// connections.
func NewAccountTransport(account string, c config.Common) (*Transport, error) {
	t := &Transport{http: NewTransport(nil), prefix: strings.ToUpper(account), own: !c.ProxyURL.IsZero()}
	if t.own {
		t.http.Proxy = http.ProxyURL(c.ProxyURL.URL())
	}
	roots, err := c.CA.Certificates()
	if err != nil {
		return nil, fmt.Errorf("reading %s_CA: %w", t.prefix, err)
	}
	if roots != nil {
		t.http.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return t, nil
}

// CloseIdleConnections closes the connections that carry no request.
func (t *Transport) CloseIdleConnections() { t.http.CloseIdleConnections() }

// RoundTrip implements [http.RoundTripper]. The demand of a proxy for a
// password is an error, not an answer.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.http.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusProxyAuthRequired {
		_ = resp.Body.Close()
		resp, err = nil, fmt.Errorf("the proxy answers with HTTP %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	if err != nil && req.Context().Err() == nil {
		err = t.explain(req, err)
	}
	return resp, err
}

// explain adds to an error the variables to check.
func (t *Transport) explain(req *http.Request, err error) error {
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown {
		err = fmt.Errorf("%w; set %s_CA to the certificate of the authority that signed it, which is a proxy's own if that decrypts", err, t.prefix)
	}
	proxy, wrong := t.http.Proxy(req)
	switch {
	case wrong != nil || proxy == nil:
		return err
	case t.own:
		return fmt.Errorf("%w; the request goes through the proxy %s: check %s_PROXY_URL", err, proxy.Host, t.prefix)
	default:
		return fmt.Errorf("%w; the request goes through the proxy %s: check %s_PROXY and NO_PROXY, or set %s_PROXY_URL", err, proxy.Host, strings.ToUpper(req.URL.Scheme), t.prefix)
	}
}
