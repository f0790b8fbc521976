// Package httpx is the HTTP client of the sources: one per credential.
//
// It never retries: the pipeline does. Whatever it returns or logs holds no
// secret: values of secret query parameters and known secrets are masked.
package httpx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"connector/internal/budget"
	"connector/internal/secret"
)

// Options configure a client; every field may be left zero.
type Options struct {
	Version   string            // of the program, for User-Agent
	Transport http.RoundTripper // default NewTransport(nil); the caller closes its idle connections
	Budget    *budget.Budget    // shared by the accounts of one credential; default one by the account's configuration
	Logger    *slog.Logger      // names the account; default none
	Idle      time.Duration     // longest silence within a body; default 30 s
	MaxBody   int64             // most bytes of a body, decompressed; default 4 GiB
	Secrets   []secret.String   // masked wherever they appear, such as the password of a proxy
}

// Client sends the requests of one credential. It is safe for concurrent use.
type Client struct {
	http    *http.Client
	budget  *budget.Budget
	clock   Clock
	agent   string
	log     *slog.Logger
	idle    time.Duration
	most    int64 // bytes of a body
	secrets []secret.String
	redact  redactor
}

// New returns a client that masks the values of the query parameters named in
// params, and secrets wherever they appear.
func New(opts Options, params []string, secrets ...secret.String) *Client {
	secrets = slices.Concat(secrets, opts.Secrets)
	c := &Client{
		http:   &http.Client{Transport: opts.Transport, CheckRedirect: checkRedirect},
		budget: opts.Budget, agent: "connector/" + opts.Version, log: opts.Logger, idle: opts.Idle, most: opts.MaxBody,
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
	if c.most <= 0 {
		c.most = maxBody
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
// [ErrNoHeader] means that none began in time. Reading the Body fails when the answer is cut, silent for too long
// ([ErrIdle]), too slow ([ErrSlow]) or too large ([ErrTooLarge]); io.EOF means
// that it is complete. Other answers are errors:
// [*StatusError], [ErrRedirect], [ErrHTML]. When the request's context ends,
// errors hold that context's.
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	parent := req.Context()
	ctx, cancel := context.WithCancelCause(parent)
	call := &call{parent: parent, ctx: ctx, cancel: cancel, redact: c.redact.with(req.URL)}
	req = req.WithContext(call.trace(ctx))
	req.Header.Set("User-Agent", c.agent)
	call.req = req

	began := time.Now()
	resp, err := c.http.Do(req)
	if err != nil {
		err = call.failed(err)
	} else {
		err = call.open(resp, c.idle, c.most)
		if err == nil || trusted(err) {
			c.clock.learn(resp.Header)
		}
	}
	if c.log.Enabled(parent, slog.LevelDebug) {
		c.log.DebugContext(parent, "request", "method", req.Method, "url", call.redact.url(req.URL), "took", time.Since(began).Round(time.Millisecond), "error", err)
	}
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
