package submail

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"connector/sources"
	"connector/sources/jsonrows"
	"connector/sources/scan"
)

// ErrRows says that the API does not give as many rows a page as asked for.
var ErrRows = errors.New("the API refuses the number of rows a page")

// defaultRows is what the API gives when it refuses the number asked for.
const defaultRows = 50

// answer reads the rows of a page and what the API says about them.
type answer interface {
	Rows() iter.Seq2[jsonrows.Row, error]
	Members() map[string]string // complete after Rows
}

func (s *Source) answer(body io.Reader) answer {
	if s.cfg.Format == FormatXML {
		return newXMLAnswer(body, s.call.list, s.call.row, int(s.cfg.MaxRowBytes))
	}
	return jsonrows.New(body, s.call.list, int(s.cfg.MaxRowBytes))
}

// unreadable names what helps against answers that cannot be parsed.
func (s *Source) unreadable(err error) error {
	if s.cfg.Format == FormatXML && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w; if it stays so, set %s=json", err, s.variable("FORMAT"))
	}
	return err
}

// check tells whether a page is the answer to q, and whether there may be
// more rows behind it.
func (s *Source) check(q query, a answer, rows []scan.Row) (full bool, err error) {
	m := a.Members()
	switch status := statusOfAnswer(m); status {
	case "success":
	case "error":
		return false, s.apiError(strings.TrimSpace(m["code"]), m["msg"])
	default:
		return false, fmt.Errorf("the answer has status %q, neither success nor error", s.client.Snippet(status))
	}
	if err := s.owns(strings.TrimSpace(m["appid"])); err != nil {
		return false, err
	}
	if err := s.checkDates(q, m); err != nil {
		return false, err
	}
	if full, err = s.checkEcho(q, s.call.echo(m), len(rows)); err != nil {
		return false, err
	}
	for _, r := range rows {
		if err := s.inside(q, r); err != nil {
			return false, err
		}
	}
	return full, nil
}

// statusOfAnswer returns what an answer says about itself: success or error.
func statusOfAnswer(members map[string]string) string {
	return strings.ToLower(strings.TrimSpace(members["status"]))
}

// owns checks the appid of an answer or a row; empty where it has none.
func (s *Source) owns(id string) error {
	if id != "" && id != s.cfg.AppID {
		return fmt.Errorf("%w: asked for appid %s, got %s", scan.ErrOther, s.cfg.AppID, s.client.Snippet(id))
	}
	return nil
}

// checkEcho compares the echo with the request and the n rows of the page.
// Whether count is that of the page or of all pages is not documented: it may
// say that there are more rows, never that there are no more. Without rows,
// the API may leave out the list and the count.
func (s *Source) checkEcho(q query, e echo, n int) (full bool, err error) {
	before := q.offset * q.rows
	if e.short(q, n) {
		return false, s.refusedRows(q, e.rows)
	}
	switch {
	case n == 0 && e.count > before:
		return false, fmt.Errorf("the answer counts %d rows and has none", e.count)
	case n == 0:
		return false, nil
	case n == defaultRows && q.rows != defaultRows && e.count > before+n,
		q.offset > 0 && e.start == q.offset*defaultRows+1 && e.start != before+1:
		return false, s.refusedRows(q, n)
	case e.start >= 0 && e.start != before+1:
		return false, fmt.Errorf("%w: asked for rows from %d, got them from %d", scan.ErrOther, before+1, e.start)
	case e.start >= 0 && e.end >= 0 && e.end-e.start+1 != n, e.count >= 0 && e.count < n:
		return false, fmt.Errorf("the answer says that it holds rows %d to %d of %d, and holds %d", e.start, e.end, e.count, n)
	case n == defaultRows && n < q.rows:
		// Exactly 50 rows, or the API's default: reading on tells.
		s.warn("exactly 50 rows where more were asked for: if that repeats, the API refuses the number of rows a page", "variable", s.variable("ROWS"), "asked", q.rows)
		return true, nil
	}
	return n == q.rows || e.count > before+n, nil
}

// refusedRows says that an answer has n rows, another number than q asks for.
func (s *Source) refusedRows(q query, n int) error {
	return fmt.Errorf("%w: asked for %d, got %d; set %s to a number it takes (10 to 1000)", ErrRows, q.rows, n, s.variable("ROWS"))
}

// inside checks that a row lies in the requested span, give or take a second,
// by one of its times: which one the API selects by is not documented.
func (s *Source) inside(q query, r scan.Row) error {
	near := sources.Span{From: q.span.From.Add(-tick), To: q.span.To.Add(tick)}
	if r.Created.IsZero() || near.Contains(r.Created) || near.Contains(r.Other) {
		return nil
	}
	err := fmt.Errorf("%w: asked for %s, got %s %s", scan.ErrOutside, q.span, s.call.born, r.Created.UTC().Format(time.RFC3339))
	const half = 30 * time.Minute
	for shift := -28 * half; shift <= 28*half; shift += half {
		if shift != 0 && near.Contains(r.Created.Add(shift)) {
			return fmt.Errorf("%w; it would be inside in another time zone: check %s=%s", err, s.variable("TIME_ZONE"), s.cfg.TimeZone)
		}
	}
	return err
}
