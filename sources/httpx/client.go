// Package httpx is the HTTP client of the sources: one per credential.
//
// It never retries: the pipeline does. Whatever it returns or logs holds no
// secret: values of secret query parameters and known secrets are masked.
package httpx

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"connector/internal/budget"
	"connector/internal/secret"
)

// Limits of one request. Headers may take long: an answer of many megabytes
// is put together before its first byte.
const (
	connectTimeout = 10 * time.Second
	tlsTimeout     = 10 * time.Second
	headerTimeout  = 60 * time.Second
	idleTimeout    = 30 * time.Second // longest silence within a body

	maxErrorBody = 4 << 10  // bytes of a body kept in a StatusError
	peekBytes    = 512      // of an answer, to recognize a web page
	bufferBytes  = 32 << 10 // read ahead of the decoder
)

// Options configure a client; every field may be left zero.
type Options struct {
	Version   string            // of the program, for User-Agent
	Transport http.RoundTripper // default NewTransport(nil); the caller closes its idle connections
	Budget    *budget.Budget    // shared by the accounts of one credential; default one by the account's configuration
	Logger    *slog.Logger      // names the account; default none
	Idle      time.Duration     // longest silence within a body; default 30 s
}

// NewTransport returns a transport with the time limits of this package,
// proxies from the environment, and idle connections that are reused. dial
// connects in place of a [net.Dialer]; nil: the network.
func NewTransport(dial func(ctx context.Context, network, addr string) (net.Conn, error)) *http.Transport {
	if dial == nil {
		dial = (&net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second}).DialContext
	}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dial,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    tlsTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    8,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// Client sends the requests of one credential. It is safe for concurrent use.
type Client struct {
	http    *http.Client
	budget  *budget.Budget
	clock   Clock
	agent   string
	log     *slog.Logger
	idle    time.Duration
	secrets []secret.String
	redact  redactor
}

// New returns a client that masks the values of the query parameters named in
// params, and secrets wherever they appear.
func New(opts Options, params []string, secrets ...secret.String) *Client {
	c := &Client{
		http:   &http.Client{Transport: opts.Transport, CheckRedirect: checkRedirect},
		budget: opts.Budget, agent: "connector/" + opts.Version, log: opts.Logger, idle: opts.Idle,
		secrets: secrets, redact: newRedactor(params, secrets),
	}
	if c.http.Transport == nil {
		c.http.Transport = NewTransport(nil)
	}
	if c.budget == nil {
		c.budget = budget.New(0)
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.idle <= 0 {
		c.idle = idleTimeout
	}
	return c
}

// trusted reports whether the answer that err is about is the API's own, and
// so its clock: not that of a gateway in trouble or of a portal.
func trusted(err error) bool {
	status, ok := errors.AsType[*StatusError](err)
	return ok && !status.Server() && !status.WebPage()
}

// Clock returns the provider's clock, learned from the Date of every answer
// but server errors and web pages.
func (c *Client) Clock() *Clock { return &c.clock }

// Snippet returns the beginning of text, at most 200 bytes on one line, with
// the client's secrets and more masked.
func (c *Client) Snippet(text string, more ...secret.String) string {
	return newRedactor(nil, append(more, c.secrets...)).snippet([]byte(text))
}

// Wait waits until the credential's budget has a turn for one more request, of
// the class in ctx (see [budget.With]). Wait first and build the request
// afterwards: a signature does not keep.
func (c *Client) Wait(ctx context.Context) error {
	if err := c.budget.Wait(ctx); err != nil {
		return fmt.Errorf("waiting for the turn of a request: %w", err)
	}
	return nil
}

// Do sends req once, uncounted by the budget, and returns an answer of
// status 2xx that is not a web page. The caller closes its Body.
//
// Reading the Body fails when the answer is cut or silent for too long
// ([ErrIdle]); io.EOF means that it is complete. Other answers are errors:
// [*StatusError], [ErrRedirect], [ErrHTML]. When the request's context ends,
// errors hold that context's.
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	parent := req.Context()
	ctx, cancel := context.WithCancelCause(parent)
	req = req.WithContext(ctx)
	req.Header.Set("User-Agent", c.agent)
	call := &call{req: req, parent: parent, ctx: ctx, cancel: cancel, redact: c.redact.with(req.URL)}

	began := time.Now()
	resp, err := c.http.Do(req)
	if err != nil {
		err = call.failed(err)
	} else {
		err = call.open(resp, c.idle)
		if err == nil || trusted(err) {
			c.clock.learn(resp.Header)
		}
	}
	c.log.DebugContext(parent, "request", "method", req.Method, "url", call.redact.url(req.URL), "took", time.Since(began).Round(time.Millisecond), "error", err)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	return resp, nil
}

// checkRedirect follows redirects of reads within one host only.
func checkRedirect(req *http.Request, via []*http.Request) error {
	from := via[0].URL
	if req.URL.Host != from.Host || req.URL.Scheme != from.Scheme {
		return fmt.Errorf("%w: to %s://%s; if that is the right server, configure it as base URL", ErrRedirect, req.URL.Scheme, req.URL.Host)
	}
	if via[0].Method != http.MethodGet {
		return fmt.Errorf("%w: of a %s request", ErrRedirect, via[0].Method)
	}
	if len(via) > 5 {
		return fmt.Errorf("%w: more than 5", ErrRedirect)
	}
	return nil
}

// call is one request under way.
type call struct {
	req    *http.Request
	parent context.Context
	ctx    context.Context
	cancel context.CancelCauseFunc
	redact redactor
}

// failed turns an error of the transport or of reading a body into one that
// names the request, holds no secret, and keeps its cause.
func (c *call) failed(err error) error {
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	switch {
	case c.parent.Err() != nil:
		err = c.parent.Err()
	case errors.Is(context.Cause(c.ctx), ErrIdle):
		err = ErrIdle
	}
	return &requestError{c.req.Method + " " + c.redact.url(c.req.URL) + ": " + c.redact.text(err.Error()), err}
}

// open checks an answer and prepares its body for reading; on error it closes it.
func (c *call) open(resp *http.Response, idle time.Duration) error {
	b := &body{call: c, rc: resp.Body, idle: idle}
	b.timer = time.AfterFunc(idle, func() { c.cancel(ErrIdle) })
	b.timer.Stop()
	b.buffered = bufio.NewReaderSize(readerFunc(b.read), bufferBytes)
	resp.Body = b
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		beginning, _ := io.ReadAll(io.LimitReader(b, maxErrorBody)) // the status says enough
		_ = b.Close()
		return c.redact.statusError(resp, beginning)
	}
	head, err := b.buffered.Peek(peekBytes)
	if err == nil || errors.Is(err, io.EOF) {
		if !isHTML(head) {
			return nil
		}
		err = c.failed(fmt.Errorf("%w: %q", ErrHTML, c.redact.snippet(head)))
	}
	_ = b.Close()
	return err
}

// body is the body of an answer; a silence longer than idle cancels the call.
type body struct {
	*call
	rc       io.ReadCloser
	buffered *bufio.Reader
	timer    *time.Timer
	idle     time.Duration
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func (b *body) Read(p []byte) (int, error) { return b.buffered.Read(p) }

func (b *body) read(p []byte) (int, error) {
	b.timer.Reset(b.idle)
	n, err := b.rc.Read(p)
	b.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.failed(err)
	}
	return n, err
}

func (b *body) Close() error {
	b.timer.Stop()
	err := b.rc.Close()
	b.cancel(nil)
	return err
}
