// Package submail reads SUBMAIL's log of text messages, by POST /log/message or
// its successor /sms/log. One stream, "sms".
package submail

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"time"

	"connector/internal/budget"
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
)

// Source reads one account.
type Source struct {
	account string
	cfg     Config
	call    call
	client  *httpx.Client
	hosts   *hosts
	log     *slog.Logger

	size    *pageSize
	repeats repeats  // what the dates in answers mean
	warned  sync.Map // what has been warned of
}

// New returns the source of an account; cfg is valid. It sends nothing yet.
func New(account string, cfg Config, opts httpx.Options) (*Source, error) {
	if cfg.TimeZone.Location == nil {
		return nil, fmt.Errorf("account %s: no time zone", account)
	}
	if opts.Budget == nil {
		opts.Budget = budget.New(cfg.Budget().Every)
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Source{
		account: account, cfg: cfg, call: cfg.API.call(), client: httpx.New(opts, nil, cfg.AppKey),
		hosts: &hosts{urls: cfg.BaseURLs()}, log: opts.Logger,
		size: newPageSize(cfg.Rows),
	}
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
	return []sources.Stream{{Name: streamName, Filters: s.filters(), Tick: tick, MaxWindow: maxWindow, Fields: RowFields}}
}

// Owner returns the appid.
func (s *Source) Owner() string { return s.cfg.AppID }

func (s *Source) filters() string {
	given := []string{s.cfg.Recipient, s.cfg.Project, string(s.cfg.ResultStatus)}
	if strings.Join(given, "") == "" {
		return ""
	}
	return jsonrows.Sum([]byte(strings.Join(given, "\x00")))
}

// Scan reads window page by page in ascending order; each request reaches a
// second further on each side. It checks every page before it counts.
func (s *Source) Scan(ctx context.Context, _ sources.Stream, window sources.Span) iter.Seq2[sources.Chunk, error] {
	rows := s.size.get()
	page := func(ctx context.Context, span sources.Span, offset int) (scan.Page, error) {
		ask := query{span: sources.Span{From: span.From.Add(-tick), To: span.To.Add(tick)}, rows: rows, offset: offset}
		return s.page(ctx, ask)
	}
	if window.Empty() {
		return scan.Keyset(ctx, window, tick, page)
	}
	return func(yield func(sources.Chunk, error) bool) {
		for _, piece := range pieces(window, s.cfg.TimeZone.Location) {
			for chunk, err := range scan.Keyset(ctx, piece, tick, page) {
				if err == nil {
					chunk.Proven.From = window.From
				}
				if !yield(chunk, err) || err != nil {
					return
				}
			}
		}
	}
}

// page reads one page.
func (s *Source) page(ctx context.Context, q query) (scan.Page, error) {
	resp, err := s.send(ctx, q)
	if err != nil {
		return scan.Page{}, err
	}
	defer func() { _ = resp.Body.Close() }() // the answer has been read, or is not wanted

	a := s.answer(resp.Body)
	page := scan.Page{Rows: make([]scan.Row, 0, q.rows)}
	bytes := 0
	for row, err := range a.Rows() {
		if err != nil {
			return scan.Page{}, s.unreadable(err)
		}
		record, err := s.record(q, row)
		if err != nil {
			return scan.Page{}, err
		}
		page.Rows = append(page.Rows, record)
		bytes += len(row.Raw)
		if err := s.checkSize(q, len(page.Rows), bytes); err != nil {
			return scan.Page{}, err
		}
	}
	page.Full, err = s.check(q, a, page.Rows)
	if err != nil {
		return scan.Page{}, err
	}
	s.size.fits(bytes)
	page.Total = max(0, s.call.echo(a.Members()).count)
	return page, nil
}

// checkSize bounds the rows of a page that were read so far.
func (s *Source) checkSize(q query, n, bytes int) error {
	switch {
	case n > q.rows:
		return s.refusedRows(q, n)
	case q.rows > minRows && bytes > maxPage:
		return fmt.Errorf("%d rows have more than %d bytes; the next pages ask for %d", n, maxPage, s.size.tooLarge(q.rows))
	case bytes > maxMinPage:
		return fmt.Errorf("%d rows have more than %d bytes; set %s lower, then larger rows become dead letters", n, maxMinPage, s.variable("MAX_ROW_BYTES"))
	}
	return nil
}
