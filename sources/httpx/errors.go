package httpx

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"connector/internal/fault"
)

// Errors that callers tell apart.
var (
	// ErrHTML says that an answer with status 2xx is a web page: a login
	// portal, a proxy, or a wrong base URL.
	ErrHTML = errors.New("answered with a web page instead of data; check the base URL and any proxy in between")
	// ErrRedirect says that an answer sends the request elsewhere. It is not
	// followed because the request carries a credential.
	ErrRedirect = errors.New("redirect refused")
	// ErrIdle says that an answer stopped in the middle.
	ErrIdle = errors.New("the answer stalled")
)

const (
	maxSnippet    = 200       // bytes of a body in an error's text
	maxErrorBody  = 4 << 10   // bytes of a body kept in a StatusError
	maxRetryAfter = time.Hour // longer waits are shortened, so that a wrong date cannot stop an account for years
	ellipsis      = "\u2026"  // marks a cut snippet
	peekBytes     = 512       // of an answer, to recognize a web page
	bufferBytes   = 32 << 10  // read ahead of the decoder
	bom           = "\xef\xbb\xbf"
)

// StatusError is an answer whose status is not 2xx. For 429, and for 503 with
// a Retry-After, it is wrapped by [fault.Throttled].
type StatusError struct {
	Status  int
	Method  string
	URL     string // with secrets masked
	Snippet string // beginning of the body with secrets masked, at most 200 bytes
	// Body is the beginning of the body as given, at most 4 KiB, for the
	// caller to decode. It may hold anything and is not for logs.
	Body []byte
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s %s: HTTP %d %s", e.Method, e.URL, e.Status, http.StatusText(e.Status))
	if e.Snippet != "" {
		text += ": " + strconv.Quote(e.Snippet)
	}
	return text
}

// Server reports whether the server says that it is at fault (5xx).
func (e *StatusError) Server() bool { return e.Status >= http.StatusInternalServerError }

// requestError is a request or an answer that failed; its text holds no secret.
type requestError struct {
	text string
	err  error
}

func (e *requestError) Error() string { return e.text }
func (e *requestError) Unwrap() error { return e.err }

// Misdirected reports whether err, an error of [Client.Do], suggests that the
// base URL is wrong: nothing answers there, or something else does.
func Misdirected(err error) bool {
	if status, ok := errors.AsType[*StatusError](err); ok {
		return status.Status == http.StatusNotFound
	}
	op, ok := errors.AsType[*net.OpError](err)
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	return ok && op.Op == "dial" || certificate || errors.Is(err, ErrRedirect) || errors.Is(err, ErrHTML)
}

// snippet returns the beginning of an answer as one short line of plain text.
func (r redactor) snippet(body []byte) string {
	plain := strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || unicode.IsSpace(c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(string(body), "\uFFFD"))
	plain = r.text(strings.Join(strings.Fields(plain), " "))
	if len(plain) <= maxSnippet {
		return plain
	}
	cut := maxSnippet - len(ellipsis)
	for !utf8.RuneStart(plain[cut]) {
		cut--
	}
	return plain[:cut] + ellipsis
}

// statusError classifies an answer whose status is not 2xx.
func (r redactor) statusError(resp *http.Response, body []byte) error {
	err := &StatusError{
		Status: resp.StatusCode, Method: resp.Request.Method, URL: r.url(resp.Request.URL),
		Snippet: r.snippet(body), Body: body,
	}
	after, named := retryAfter(resp.Header)
	if err.Status == http.StatusTooManyRequests || err.Status == http.StatusServiceUnavailable && named {
		return fault.Throttled(after, err)
	}
	return err
}

// retryAfter reads Retry-After as seconds or as a date, which counts from the
// answer's own Date. It reports whether the header makes sense.
func retryAfter(h http.Header) (time.Duration, bool) {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second, true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return min(max(at.Sub(now), 0), maxRetryAfter), true
}

// isHTML reports whether head begins a web page.
func isHTML(head []byte) bool {
	text := strings.ToLower(strings.TrimLeft(strings.TrimPrefix(string(head), bom), " \t\r\n"))
	for strings.HasPrefix(text, "<!--") {
		_, rest, ok := strings.Cut(text, "-->")
		if !ok {
			return true
		}
		text = strings.TrimLeft(rest, " \t\r\n")
	}
	for _, tag := range []string{"<!doctype html", "<html", "<head", "<body"} {
		if strings.HasPrefix(text, tag) {
			return true
		}
	}
	return false
}
