// Package submail reads SUBMAIL's log of text messages, POST /log/message.
// One stream, "sms".
package submail

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"connector/sources"
	"connector/sources/httpx"
	"connector/sources/jsonrows"
	"connector/sources/scan"
)

// System is the system of the events.
const System = "submail"

const (
	streamName = "sms"
	tick       = time.Second
	maxWindow  = 24 * time.Hour
	minRows    = 10       // the API takes 10 to 1000 rows a page
	maxPage    = 16 << 20 // bytes of the rows of a page, above which the next pages ask for fewer
)

// Source reads one account.
type Source struct {
	account string
	cfg     Config
	client  *httpx.Client
	hosts   *hosts
	log     *slog.Logger

	rows      atomic.Int64 // rows a page, lowered when pages are too large
	stampEach atomic.Bool  // whether each signature takes its time from the timestamp service
	warned    sync.Map     // what has been warned of
}

// New returns the source of an account; cfg is valid. It sends nothing yet.
func New(account string, cfg Config, opts httpx.Options) (*Source, error) {
	if cfg.TimeZone.Location == nil {
		return nil, fmt.Errorf("account %s: no time zone", account)
	}
	if opts.Limiter == nil {
		opts.Limiter = rate.NewLimiter(rate.Every(cfg.MinInterval), 1)
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Source{
		account: account, cfg: cfg, client: httpx.New(opts, nil, cfg.AppKey),
		hosts: &hosts{urls: cfg.BaseURLs()}, log: opts.Logger,
	}
	s.rows.Store(int64(cfg.Rows))
	return s, nil
}

// variable returns the name of one of the account's variables.
func (s *Source) variable(suffix string) string { return strings.ToUpper(s.account) + "_" + suffix }

// warn logs a message once.
func (s *Source) warn(message string, args ...any) {
	if _, known := s.warned.LoadOrStore(message, true); !known {
		s.log.Warn(message, args...)
	}
}

// Streams lists the one stream, with a digest of the filters in force.
func (s *Source) Streams() []sources.Stream {
	return []sources.Stream{{Name: streamName, Filters: s.filters(), Tick: tick, MaxWindow: maxWindow}}
}

func (s *Source) filters() string {
	given := []string{s.cfg.Recipient, s.cfg.Project, string(s.cfg.ResultStatus)}
	if strings.Join(given, "") == "" {
		return ""
	}
	return jsonrows.Sum([]byte(strings.Join(given, "\x00")))
}

// Now returns the provider's time by the Date of its latest answer. Without
// one of the last 10 minutes it asks the timestamp service, which does not
// count as a request of the account.
func (s *Source) Now(ctx context.Context) (time.Time, error) {
	if now, ok := s.client.Clock().Now(); ok {
		return now, nil
	}
	var errs []error
	for _, base := range s.hosts.order() {
		err := s.stamp(ctx, base)
		if now, ok := s.client.Clock().Now(); ok {
			return now, nil
		}
		errs = append(errs, err)
	}
	return time.Time{}, fmt.Errorf("asking for the provider's time: %w", errors.Join(errs...))
}

// Scan reads window page by page in ascending order; each request reaches a
// second further on each side. It checks every page before it counts.
func (s *Source) Scan(ctx context.Context, _ sources.Stream, window sources.Span) iter.Seq2[sources.Chunk, error] {
	rows := int(s.rows.Load())
	return scan.Keyset(ctx, window, tick, func(ctx context.Context, span sources.Span, offset int) (scan.Page, error) {
		ask := query{span: sources.Span{From: span.From.Add(-tick), To: span.To.Add(tick)}, rows: rows, offset: offset}
		return s.page(ctx, ask)
	})
}

// page reads one page.
func (s *Source) page(ctx context.Context, q query) (scan.Page, error) {
	resp, err := s.send(ctx, q)
	if err != nil {
		return scan.Page{}, err
	}
	defer func() { _ = resp.Body.Close() }() // the answer has been read, or is not wanted

	a := s.answer(resp.Body)
	var page scan.Page
	size := 0
	for row, err := range a.Rows() {
		if err != nil {
			return scan.Page{}, s.unreadable(err)
		}
		page.Records = append(page.Records, s.record(q, row))
		if size += len(row.Raw); size > maxPage && q.rows > minRows {
			fewer := max(minRows, q.rows/2)
			s.rows.Store(int64(fewer))
			return scan.Page{}, fmt.Errorf("%d rows have more than %d bytes; the next pages ask for %d", len(page.Records), maxPage, fewer)
		}
	}
	page.Full, err = s.check(q, a, page.Records)
	if err != nil {
		return scan.Page{}, err
	}
	return page, nil
}
