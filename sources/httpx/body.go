package httpx

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"
)

// Limits of a body. They count bytes after decompression.
const (
	idleTimeout = 30 * time.Second // longest silence

	// An answer must bring slowBytes in any slowTime of waiting for it; what a
	// reader does between two reads does not count. So an answer that trickles
	// ends, one that is whole within slowTime may be as slow as it likes, and a
	// large one may take hours. It is the least with which half a chunk of a
	// scan, 1 MiB, comes in half the time without one after which a stream
	// counts as dead.
	slowTime  = 5 * time.Minute
	slowBytes = 512 << 10

	// A scan takes at most some 260,000 rows of an answer: this leaves 16 KiB for
	// each. It ends an answer that has no end.
	maxBody = 4 << 30

	maxErrorBody = 4 << 10         // bytes of a body kept in a StatusError
	maxDrain     = 256 << 10       // bytes of an error's body read so that the connection can be used again
	drainTime    = 5 * time.Second // for both

	peekBytes   = 512      // of an answer, to recognize a web page
	bufferBytes = 32 << 10 // read ahead of the decoder
)

// call is one request under way.
type call struct {
	req    *http.Request
	parent context.Context
	ctx    context.Context
	cancel context.CancelCauseFunc
	redact redactor
	sent   atomic.Bool // whether the request is with the server
}

// trace returns a context with which the transport notes that the request was sent,
// each time that it tries.
func (c *call) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:      func(string) { c.sent.Store(false) },
		WroteRequest: func(w httptrace.WroteRequestInfo) { c.sent.Store(w.Err == nil) },
	})
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
	case c.sent.Load() && timedOut(err):
		err = fmt.Errorf("%w: %w", ErrNoHeader, err)
	}
	return &requestError{c.req.Method + " " + c.redact.url(c.req.URL) + ": " + c.redact.text(err.Error()), err}
}

// timedOut reports whether the transport waited in vain.
func timedOut(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// open checks an answer and prepares its body for reading; on error it closes it.
func (c *call) open(resp *http.Response, idle time.Duration, most int64) error {
	b := &body{call: c, rc: resp.Body, idle: idle, left: most}
	b.timer = time.AfterFunc(idle, func() { c.cancel(ErrIdle) })
	b.timer.Stop()
	b.buffered = bufio.NewReaderSize(readerFunc(b.read), bufferBytes)
	resp.Body = b
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return c.redact.statusError(resp, b.beginning())
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

	left   int64         // bytes that may still come
	waited time.Duration // since slowTime was last over
	came   int           // bytes, since then
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func (b *body) Read(p []byte) (int, error) { return b.buffered.Read(p) }

func (b *body) read(p []byte) (int, error) {
	b.timer.Reset(b.idle)
	began := time.Now()
	n, err := b.rc.Read(p)
	b.timer.Stop()
	if err == nil {
		err = b.count(n, time.Since(began))
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.failed(err)
	}
	return n, err
}

// count notes that n bytes came, and checks the limits.
func (b *body) count(n int, took time.Duration) error {
	b.left -= int64(n)
	b.came += n
	b.waited += took
	switch {
	case b.left < 0:
		return ErrTooLarge
	case b.waited < slowTime:
		return nil
	case b.came < slowBytes:
		return fmt.Errorf("%w: %d bytes in %v", ErrSlow, b.came, b.waited.Round(time.Second))
	}
	b.waited, b.came = 0, 0
	return nil
}

// beginning returns the beginning of an error's body, reads a little on and
// closes it. The status says enough: what goes wrong meanwhile does not count.
func (b *body) beginning() []byte {
	late := time.AfterFunc(drainTime, func() { b.cancel(nil) })
	defer late.Stop()
	beginning, err := io.ReadAll(io.LimitReader(b, maxErrorBody))
	if err == nil {
		_, _ = io.CopyN(io.Discard, b, maxDrain)
	}
	_ = b.Close()
	return beginning
}

func (b *body) Close() error {
	b.timer.Stop()
	err := b.rc.Close()
	b.cancel(nil)
	return err
}
