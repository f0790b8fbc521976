// Package testproxy is a forward proxy on loopback for tests: HTTP, with
// CONNECT and plain requests, and SOCKS5.
package testproxy

import (
	"context"
	"encoding/base64"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
)

// Config says how a proxy behaves.
type Config struct {
	Target string // host:port that all requests go to, whatever host is asked for
	User   string // user:password that a client must send; "" for none
	Refuse int    // HTTP status that every request gets; 0 for none
	Stall  bool   // never answers
}

// Proxy is a proxy being served.
type Proxy struct {
	Addr string // host:port

	config   Config
	listener net.Listener
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	running  sync.WaitGroup

	mu    sync.Mutex
	asked []string
}

// HTTP serves an HTTP proxy until Close.
func HTTP(c Config) (*Proxy, error) {
	p, err := listen(c)
	if err != nil {
		return nil, err
	}
	direct := &http.Transport{DisableKeepAlives: true}
	plain := &httputil.ReverseProxy{Transport: direct, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: c.Target})
		r.Out.Host = r.In.Host
	}}
	server := &http.Server{Handler: p.handler(plain)} //nolint:gosec // its clients are tests
	p.running.Go(func() { _ = server.Serve(p.listener) })
	context.AfterFunc(p.ctx, func() { _ = server.Close() })
	return p, nil
}

func listen(c Config) (*Proxy, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{Addr: l.Addr().String(), config: c, listener: l}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p, nil
}

// Asked lists the hosts, each host:port, that clients asked for and that were
// not refused.
func (p *Proxy) Asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

// Close ends the proxy and its connections.
func (p *Proxy) Close() {
	p.cancel()
	_ = p.listener.Close()
	p.running.Wait()
}

func (p *Proxy) ask(host string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, host)
}

func (p *Proxy) handler(plain http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		want := "Basic " + base64.StdEncoding.EncodeToString([]byte(p.config.User))
		switch {
		case p.config.Stall:
			select {
			case <-p.ctx.Done():
			case <-r.Context().Done():
			}
		case p.config.Refuse > 0:
			http.Error(w, "refused by policy, you sent "+r.Header.Get("Proxy-Authorization"), p.config.Refuse)
		case p.config.User != "" && r.Header.Get("Proxy-Authorization") != want:
			w.Header().Set("Proxy-Authenticate", `Basic realm="proxy"`)
			http.Error(w, "who are you", http.StatusProxyAuthRequired)
		case r.Method == http.MethodConnect:
			p.ask(r.Host)
			p.tunnel(w)
		default:
			p.ask(r.Host)
			plain.ServeHTTP(w, r)
		}
	}
}

// tunnel connects a client that sent CONNECT.
func (p *Proxy) tunnel(w http.ResponseWriter) {
	target, err := p.dial()
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	client, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = target.Close()
		return
	}
	if _, err := client.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err == nil {
		p.join(client, target)
		return
	}
	_, _ = client.Close(), target.Close()
}

func (p *Proxy) dial() (net.Conn, error) {
	return (&net.Dialer{}).DialContext(p.ctx, "tcp", p.config.Target)
}
