package model

import (
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"strconv"
	"time"

	"connector/internal/budget"
	"connector/schema"
	"connector/sources"
	"connector/sources/httpx"
)

var errLine = errors.New("connection reset")

// remote is a provider that speaks HTTP as one process sees it: the real
// source, and the transport that answers it.
type remote struct {
	*source
	inner sources.Source

	token    string // valid at the provider, of this process
	issued   time.Time
	revoked  map[string]bool
	repeated bool // the latest whole answer came from the cache
	pinned   bool // the source knows its company
}

// open returns the source of a process.
func (h *history) open(p *process) sources.Source {
	s := &source{h: h, p: p, size: h.plan.page}
	if h.plan.api == apiToy {
		return s
	}
	r := &remote{source: s, revoked: map[string]bool{}}
	r.inner = h.dialect.connect(r)
	return r
}

// options are those of a source that sends its requests to t.
func options(t http.RoundTripper) httpx.Options {
	return httpx.Options{Transport: t, Budget: budget.New(0)}
}

// Now asks the real source, which must not be ahead of the provider.
func (s *remote) Now(ctx context.Context) (time.Time, error) {
	if err := s.ready(); err != nil {
		return time.Time{}, err
	}
	now, err := s.inner.Now(ctx)
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if err != nil {
		return now, err
	}
	if latest := s.h.world.latest(time.Now()); now.After(latest) {
		s.h.violated(6, "the source says that it is %v, the provider's clock showed %v at most", now, latest)
	}
	if now.After(s.h.now) {
		s.h.now = now
	}
	return now, nil
}

// ready is the I/O step before the time is asked for.
func (s *remote) ready() error {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if s.p.reach(atNow, false) {
		return context.Canceled
	}
	if s.scanned > 1 {
		s.h.counts[manyWindows]++
	}
	s.scanned = 0
	return nil
}

func (s *remote) Scan(ctx context.Context, _ sources.Stream, w sources.Span) iter.Seq2[sources.Chunk, error] {
	s.begin(w)
	s.limit = s.h.plan.limit // as it is during this scan
	if at := s.h.plan.wire.raised; at > 0 && time.Since(s.h.began) > at {
		s.limit *= 2
	}
	return s.inner.Scan(ctx, s.h.dialect.stream(), w)
}

// Normalize checks what the real source makes of the times of a row.
func (s *remote) Normalize(_ sources.Stream, r sources.Record) (schema.Event, error) {
	e, err := s.inner.Normalize(s.h.dialect.stream(), r)
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if row := s.h.world.byID[r.ID]; row != nil && !r.Created.Equal(row.created) {
		s.h.violated(1, "%s was created %v and is read as of %v", row.id, row.created.UTC(), r.Created)
	}
	return e, err
}

// reply is an answer on its way.
type reply struct {
	status int
	header http.Header
	parts  []string // of the body; a row is a part
	cut    int      // parts after which it ends early, or -1
	stalls bool     // it does not end there, but falls silent
	after  time.Duration
	own    bool   // of the provider, so that its Date is its clock's
	whole  func() // called when the body was read to its end
}

func ok(parts ...string) *reply {
	return &reply{status: http.StatusOK, parts: parts, cut: -1, own: true}
}

// RoundTrip answers one request. It starts no goroutine.
func (s *remote) RoundTrip(req *http.Request) (*http.Response, error) {
	h := s.h
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Now().Before(s.held) {
		h.violated(7, "%s is asked at %v, throttled until %v", req.URL.Path, h.at(time.Now()), h.at(s.held))
	}
	if s.p.reach(atRequest, false) {
		return nil, context.Canceled
	}
	if err := h.pause(req.Context(), h.latency()); err != nil {
		return nil, err
	}
	a, err := s.fault(req.Context())
	if err != nil {
		return nil, err
	}
	if a == nil {
		a = h.dialect.answer(s, req)
	}
	a.head(s.date(a))
	h.tracef("%s %s: %d, %d parts, cut %d, %s", req.URL.Path, h.at(time.Now()), a.status, len(a.parts), a.cut, a.header.Get("Date"))
	if err := h.pause(req.Context(), h.latency()); err != nil {
		return nil, err
	}
	if a.after > 0 {
		s.held = time.Now().Add(a.after)
	}
	return a.response(req, s.p), nil
}

// head sets the header.
func (a *reply) head(date time.Time) {
	if a.header == nil {
		a.header = http.Header{}
	}
	a.header.Set("Date", date.UTC().Format(http.TimeFormat))
}

func (a *reply) response(req *http.Request, p *process) *http.Response {
	return &http.Response{
		StatusCode: a.status, Header: a.header, Request: req, ContentLength: -1, ProtoMajor: 1, ProtoMinor: 1,
		Body: &body{reply: a, p: p, ctx: req.Context()},
	}
}

// date returns what the header of an answer says: the provider's time, once in
// a while one far ahead, as tell does, or that of a gateway.
func (s *remote) date(a *reply) time.Time {
	now := s.h.world.clock(time.Now())
	switch {
	case !a.own:
		return now.Add(s.h.plan.wire.gateway)
	case a.cut >= 0: // a short one tells nothing
		return now
	}
	if s.lied = !s.lied && !s.told.IsZero() && !s.h.calm() && sometimes(s.h.more, s.h.plan.rates.wrong); s.lied {
		s.h.counts[clockWrong]++
		return s.h.world.latest(time.Now()).Add(2*time.Minute + upTo(s.h.more, 4*s.h.plan.active))
	}
	s.told = now
	return now
}

// fault draws what any API can do wrong: an error, or an answer that is not
// the provider's own, or nil.
func (s *remote) fault(ctx context.Context) (*reply, error) {
	h := s.h
	switch {
	case h.fails(h.plan.rates.request):
		h.counts[faultRequest]++
		switch h.wire.IntN(4) {
		case 0:
			return nil, errLine
		case 1: // the headers do not come in time
			h.counts[faultSilent]++
			if err := h.pause(ctx, time.Minute); err != nil {
				return nil, err
			}
			return nil, context.DeadlineExceeded
		case 2:
			return &reply{status: http.StatusBadGateway, parts: []string{"<html>bad gateway</html>"}, cut: -1}, nil
		}
		return &reply{status: http.StatusInternalServerError, parts: []string{`{"errorCode":500}`}, cut: -1}, nil
	case h.fails(h.plan.rates.throttle):
		h.counts[faultThrottle]++
		a := &reply{status: http.StatusTooManyRequests, parts: []string{"slow down"}, cut: -1, own: true, header: http.Header{}}
		a.after = upTo(h.rand, 3*h.plan.poll).Truncate(time.Second)
		a.header.Set("Retry-After", strconv.Itoa(int(a.after/time.Second)))
		return a, nil
	case h.fails(h.plan.wire.web):
		h.counts[faultWeb]++
		page := "<!DOCTYPE html><html><body>sign in</body></html>"
		return &reply{status: pick(h.wire, http.StatusOK, http.StatusForbidden), parts: []string{page}, cut: -1}, nil
	}
	return nil, nil //nolint:nilnil // no fault
}

// shorten draws where the body ends early. n parts of it are rows, behind the first.
func (s *remote) shorten(a *reply, n int) *reply {
	if at := s.cut(n); at >= 0 {
		a.cut, a.stalls = 1+at, sometimes(s.h.wire, 0.2)
		if a.stalls {
			s.h.counts[faultStall]++
		}
	}
	return a
}

// body hands out one part at each Read.
type body struct {
	*reply
	p    *process
	ctx  context.Context
	next int
	rest string
}

func (b *body) Read(p []byte) (int, error) {
	if b.rest == "" {
		if err := b.turn(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// turn goes on to the next part.
func (b *body) turn() error {
	switch {
	case b.next == b.cut && b.stalls:
		<-b.ctx.Done()
		return b.ctx.Err()
	case b.next == b.cut:
		return io.ErrUnexpectedEOF
	case b.p == nil:
		if b.next == len(b.parts) {
			return io.EOF
		}
	default:
		b.p.h.mu.Lock()
		defer b.p.h.mu.Unlock()
		if b.next == len(b.parts) {
			if b.whole != nil {
				b.whole()
			}
			return io.EOF
		}
		if b.next > 0 && b.p.reach(atRow, false) {
			return context.Canceled
		}
	}
	b.rest = b.parts[b.next]
	b.next++
	return nil
}

func (b *body) Close() error { return nil }
