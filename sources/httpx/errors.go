package httpx

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"

	"connector/internal/fault"
)

// Errors that callers tell apart.
var (
	// ErrHTML says that an answer with status 2xx is a web page: a login
	// portal, a proxy, or a wrong base URL.
	ErrHTML = errors.New("answered with a web page instead of data, as a portal or a proxy in between does")
	// ErrRedirect says that an answer sends the request elsewhere. It is not
	// followed because the request carries a credential.
	ErrRedirect = errors.New("redirect refused")
	// ErrNoHeader says that a request was sent, and no answer to it began in time.
	ErrNoHeader = errors.New("no answer in time")
	// ErrIdle says that an answer stopped in the middle.
	ErrIdle = errors.New("the answer stalled")
	// ErrSlow says that an answer trickles.
	ErrSlow = errors.New("the answer trickles")
	// ErrTooLarge says that an answer is longer than [Options].MaxBody.
	ErrTooLarge = errors.New("the answer is too large")
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

// WebPage reports whether the answer is a web page and so not the API's own,
// but that of a gateway, a firewall or a portal.
func (e *StatusError) WebPage() bool { return isHTML(e.Body) }

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
// base URL is wrong: nothing answers there, or something else does. A proxy
// that cannot be reached says nothing of it, nor does an unknown authority.
func Misdirected(err error) bool {
	if status, ok := errors.AsType[*StatusError](err); ok {
		return status.Status == http.StatusNotFound
	}
	op, ok := errors.AsType[*net.OpError](err)
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	return ok && op.Op == "dial" || certificate && !unknown || errors.Is(err, http.ErrSchemeMismatch) || errors.Is(err, ErrRedirect) || errors.Is(err, ErrHTML)
}

// Late reports whether err, an error of [Client.Do] or of reading its Body, says
// that the server took too long for an answer: it may have been asked for too much.
func Late(err error) bool {
	status, ok := errors.AsType[*StatusError](err)
	return ok && status.Status == http.StatusGatewayTimeout || errors.Is(err, ErrNoHeader) || errors.Is(err, ErrIdle) || errors.Is(err, ErrSlow)
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
