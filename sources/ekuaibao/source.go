// Package ekuaibao reads ekuaibao's log of failed outbound messages,
// GET /api/openapi/v1/outboundMessageLogs. One stream per message type.
package ekuaibao

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"connector/internal/budget"
	"connector/internal/config"
	"connector/internal/fault"
	"connector/internal/secret"
	"connector/schema"
	"connector/sources"
	"connector/sources/httpx"
	"connector/sources/jsonrows"
	"connector/sources/scan"
)

// System is the system of the events.
const System = "ekuaibao"

const (
	logPath   = "/api/openapi/v1/outboundMessageLogs"
	tick      = time.Millisecond
	maxWindow = time.Hour
)

// maxAnswer is the most bytes of an answer, as unpacked, beyond one row of the
// largest size: one that is longer, or never ends, is read no further and
// counts as cut. The digest of a scan takes 2^18 rows; of a kilobyte each they
// come to this, and no answer that was seen is near it (11 MB).
const maxAnswer = 256 << 20

// Source reads one account. It pins the corporationId of the first row it
// sees: a row of another company is a fatal error.
type Source struct {
	account   string
	cfg       Config
	client    *httpx.Client
	tenant    *tenant
	tokens    *tokens
	maxAnswer int64 // bytes of one answer

	mu          sync.Mutex
	corporation string                  // "" until seen
	answered    map[string]*scan.Memory // by stream
}

// New returns the source of an account; cfg is valid. It sends nothing yet.
func New(account string, cfg Config, opts httpx.Options) (*Source, error) {
	for _, base := range []config.URL{cfg.BaseURL, cfg.LocationURL} {
		if _, err := url.Parse(string(base)); err != nil {
			return nil, fmt.Errorf("account %s: base URL is not a URL", account)
		}
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Budget == nil {
		opts.Budget = budget.New(cfg.Budget().Every)
	}
	client := httpx.New(opts, []string{"accessToken"}, cfg.AppKey, cfg.AppSecurity, cfg.AccessToken)
	s := &Source{account: account, cfg: cfg, client: client, maxAnswer: maxAnswer + int64(cfg.MaxRowBytes), answered: map[string]*scan.Memory{}}
	s.tenant = &tenant{client: client, cfg: cfg, variable: s.variable, log: opts.Logger, lock: newLock()}
	s.tokens = newTokens(client, cfg, s.variable, s.tenant)
	return s, nil
}

// variable returns the name of one of the account's variables.
func (s *Source) variable(suffix string) string { return strings.ToUpper(s.account) + "_" + suffix }

// Streams lists one stream per message type. It is a log of failed messages:
// a row may be taken out of it.
func (s *Source) Streams() []sources.Stream {
	var streams []sources.Stream
	for _, name := range s.cfg.MessageTypes {
		streams = append(streams, sources.Stream{Name: name, Tick: tick, MaxWindow: maxWindow, Leaves: true, Channel: schema.ChannelWebhook, Fields: RowFields})
	}
	return streams
}

// Owner returns the corporationId of the rows seen so far.
func (s *Source) Owner() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.corporation
}

// Now returns the provider's time by the Date of its latest answer. Without
// one of the last 10 minutes it asks for the log of one millisecond, of which
// a failure that tells the time is none, unless the account is to wait.
func (s *Source) Now(ctx context.Context) (time.Time, error) {
	if now, ok := s.client.Clock().Now(); ok {
		return now, nil
	}
	at := time.Now()
	ask := query{stream: s.cfg.MessageTypes[0], span: sources.Span{From: at, To: at}}
	err := s.rows(ctx, ask, discard)
	now, ok := s.client.Clock().Now()
	_, throttled := fault.RetryAfter(err)
	switch {
	case throttled, fault.IsFatal(err), ctx.Err() != nil, err != nil && !ok:
		return time.Time{}, fmt.Errorf("asking for the provider's time: %w", err)
	case !ok:
		return time.Time{}, errors.New("asking for the provider's time: its answer has no Date header; check any proxy in between")
	}
	return now, nil
}

// Scan reads window in one request if its answer is certainly whole, else in
// several; see [scan.Split]. Each reaches a millisecond further on each side.
// It checks every row.
func (s *Source) Scan(ctx context.Context, st sources.Stream, window sources.Span) iter.Seq2[sources.Chunk, error] {
	answer := func(ctx context.Context, span sources.Span, take func(scan.Row) error) error {
		ask := query{stream: st.Name, span: sources.Span{From: span.From.Add(-tick), To: span.To.Add(tick)}}
		return s.rows(ctx, ask, func(row jsonrows.Row) error {
			r, err := s.record(ask, row)
			if err != nil {
				return err
			}
			return take(r)
		})
	}
	return scan.Split(ctx, window, tick, s.memory(st.Name), answer)
}

// discard takes rows that are not wanted.
func discard(jsonrows.Row) error { return nil }

// memory returns what is remembered of a stream's answers.
func (s *Source) memory(stream string) *scan.Memory {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, known := s.answered[stream]
	if !known {
		m = new(scan.Memory)
		s.answered[stream] = m
	}
	return m
}

// query is one request for rows.
type query struct {
	stream string
	span   sources.Span
}

func (q query) url(base string, token secret.String) string {
	params := url.Values{
		"accessToken": {token.Reveal()}, "messageType": {q.stream},
		"startDate": {strconv.FormatInt(q.span.From.UnixMilli(), 10)}, "endDate": {strconv.FormatInt(q.span.To.UnixMilli(), 10)},
	}
	return base + logPath + "?" + params.Encode()
}

// errTwice says that an answer refuses the token after some of its rows.
var errTwice = errors.New("the answer holds rows and refuses the access token")

// rows asks for rows with a valid token and hands each of one answer to take.
// When it returns nil the answer was complete.
func (s *Source) rows(ctx context.Context, q query, take func(jsonrows.Row) error) error {
	begun := false
	return s.tokens.use(ctx, func(token secret.String) error {
		if begun {
			return errTwice
		}
		return s.ask(ctx, q, token, func(row jsonrows.Row) error {
			begun = true
			return take(row)
		})
	})
}

// ask sends one request for rows.
func (s *Source) ask(ctx context.Context, q query, token secret.String, take func(jsonrows.Row) error) error {
	base, err := s.tenant.baseURL(ctx)
	if err != nil {
		return err
	}
	if err := s.client.Wait(ctx); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, q.url(base, token), nil)
	if err != nil {
		return errors.New("building the request: the base URL is not a URL")
	}
	req.Header.Set("Accept", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return late(s.refused(err))
	}
	defer func() { _ = resp.Body.Close() }() // the answer has been read, or is not wanted
	return late(s.read(resp.Body, token, take))
}

// late marks the error of an answer that took too long.
func late(err error) error {
	if httpx.Late(err) {
		return fmt.Errorf("%w: %w", scan.ErrLate, err)
	}
	return err
}

// read hands the rows of an answer to take. Its error shows the beginning of
// an answer in which no list of rows has begun.
func (s *Source) read(body io.ReadCloser, token secret.String, take func(jsonrows.Row) error) error {
	safe := func(text string) string { return s.client.Snippet(text, token) }
	in := bufio.NewReader(http.MaxBytesReader(nil, body, s.maxAnswer))
	peeked, _ := in.Peek(maxBeginning) // an error comes again
	head := string(peeked)
	answer := jsonrows.New(in, "items", int(s.cfg.MaxRowBytes))
	for row, err := range answer.Rows() {
		if err != nil {
			return unread(err, answer.Found(), head, safe)
		}
		if err := take(row); err != nil {
			return err
		}
	}
	if e, ok := apiErrorOf(answer.Members(), safe); ok {
		return throttled(e, e.code)
	}
	if answer.Found() != jsonrows.Array {
		return unread(errors.New("the answer has no list of items"), answer.Found(), head, safe)
	}
	return nil
}

// refused makes a refused token an apiError and adds to other errors what the
// user can check.
func (s *Source) refused(err error) error {
	if status, ok := errors.AsType[*httpx.StatusError](err); ok && !status.WebPage() {
		code := codeOf(status)
		if refuses(code) {
			return &apiError{code: code, cause: err}
		}
		err = throttled(err, code)
	}
	return s.tenant.unanswered(err)
}
