// Package pigeon reads the log of push notifications of Pigeon, a provider
// that does not exist, GET /v1/pushes. One stream, "push".
package pigeon

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"connector/internal/budget"
	"connector/internal/fault"
	"connector/sources"
	"connector/sources/httpx"
	"connector/sources/jsonrows"
	"connector/sources/scan"
)

// System is the system of the events.
const System = "pigeon"

const (
	tick      = time.Second
	maxWindow = 24 * time.Hour
	pageRows  = 100
)

// Source reads one account.
type Source struct {
	account string
	cfg     Config
	client  *httpx.Client
}

// New returns the source of an account; cfg is valid. It sends nothing yet.
func New(account string, cfg Config, opts httpx.Options) (*Source, error) {
	if opts.Budget == nil {
		opts.Budget = budget.New(cfg.Budget().Every)
	}
	return &Source{account: account, cfg: cfg, client: httpx.New(opts, nil, cfg.APIKey)}, nil
}

// variable returns the name of one of the account's variables.
func (s *Source) variable(suffix string) string { return strings.ToUpper(s.account) + "_" + suffix }

// Streams lists the one stream.
func (s *Source) Streams() []sources.Stream {
	return []sources.Stream{{Name: "push", Tick: tick, MaxWindow: maxWindow, Fields: fields}}
}

// fields are what the rows hold.
var fields = sources.Fields{
	"id":       {Kind: sources.KindPlain},
	"created":  {Kind: sources.KindPlain},
	"state":    {Kind: sources.KindPlain},
	"attempts": {Kind: sources.KindPlain},
	"text":     {Kind: sources.KindText},
}

// Owner is not known: no answer names it.
func (s *Source) Owner() string { return "" }

// Now returns the provider's time by the Date of its latest answer, of a page
// of one second when there is none.
func (s *Source) Now(ctx context.Context) (time.Time, error) {
	if now, ok := s.client.Clock().Now(); ok {
		return now, nil
	}
	if _, err := s.page(ctx, sources.Span{}, 0); err != nil {
		return time.Time{}, fmt.Errorf("asking for the provider's time: %w", err)
	}
	now, ok := s.client.Clock().Now()
	if !ok {
		return time.Time{}, errors.New("asking for the provider's time: its answer has no Date header; check any proxy in between")
	}
	return now, nil
}

// Scan reads window page by page.
func (s *Source) Scan(ctx context.Context, _ sources.Stream, window sources.Span) iter.Seq2[sources.Chunk, error] {
	return scan.Keyset(ctx, window, tick, s.page)
}

// page reads one page of the rows created in span.
func (s *Source) page(ctx context.Context, span sources.Span, index int) (scan.Page, error) {
	resp, err := s.ask(ctx, span, index)
	if err != nil {
		return scan.Page{}, err
	}
	defer func() { _ = resp.Body.Close() }() // the answer has been read, or is not wanted

	answer := jsonrows.New(resp.Body, "rows", int(s.cfg.MaxRowBytes))
	var page scan.Page
	for row, err := range answer.Rows() {
		if err != nil {
			return scan.Page{}, err
		}
		r := s.record(row)
		if !r.Created.IsZero() && !span.Contains(r.Created) || len(page.Rows) == pageRows {
			return scan.Page{}, fmt.Errorf("%w, or more rows than asked for: %s", scan.ErrOutside, span)
		}
		page.Rows = append(page.Rows, scan.Row{Record: r})
	}
	if answer.Found() != jsonrows.Array {
		return scan.Page{}, errors.New("the answer has no list of rows")
	}
	page.Full = len(page.Rows) == pageRows
	page.Total, _ = strconv.Atoi(answer.Members()["total"]) // 0: it does not say
	return page, nil
}

// ask sends one request for a page.
func (s *Source) ask(ctx context.Context, span sources.Span, index int) (*http.Response, error) {
	if err := s.client.Wait(ctx); err != nil {
		return nil, err
	}
	query := url.Values{
		"from": {strconv.FormatInt(span.From.Unix(), 10)}, "to": {strconv.FormatInt(span.To.Unix(), 10)},
		"page": {strconv.Itoa(index)}, "limit": {strconv.Itoa(pageRows)},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, string(s.cfg.BaseURL)+"/v1/pushes?"+query.Encode(), nil)
	if err != nil {
		return nil, errors.New("building the request: the base URL is not a URL")
	}
	req.Header.Set("Authorization", "Bearer "+s.cfg.APIKey.Reveal())
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, s.explain(err)
	}
	return resp, nil
}

// explain marks a refused key as fatal and adds what the user can check.
func (s *Source) explain(err error) error {
	status, ok := errors.AsType[*httpx.StatusError](err)
	switch {
	case ok && status.Status == http.StatusUnauthorized && !status.WebPage():
		return fault.Fatal(err, "check "+s.variable("API_KEY"))
	case httpx.Misdirected(err):
		return fmt.Errorf("%w; check %s", err, s.variable("BASE_URL"))
	}
	return err
}
