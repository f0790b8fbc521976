package ekuaibao

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"connector/sources/httpx"
	"connector/sources/jsonrows"
)

// apiError is an error the API reports in the body of an answer, or by a
// status that refuses the token.
type apiError struct {
	code, msg string // safe to print
	cause     error
}

func (e *apiError) Error() string {
	if e.cause != nil {
		return e.cause.Error()
	}
	return fmt.Sprintf("the answer has error code %s: %q", e.code, e.msg)
}

func (e *apiError) Unwrap() error { return e.cause }

// denied reports whether the token was refused.
func (e *apiError) denied() bool { return slices.Contains([]string{"401", "403"}, e.code) }

// apiErrorOf finds an error in the members of an answer: {errorCode,
// errorMessage} or {code, msg}. Codes 0 and 200 are none. safe makes a text
// safe to print.
func apiErrorOf(members map[string]string, safe func(string) string) (*apiError, bool) {
	for _, name := range []string{"errorCode", "code"} {
		switch code := members[name]; code {
		case "", "0", "200":
		default:
			return &apiError{code: safe(code), msg: safe(firstOf(members, "errorMessage", "msg", "message"))}, true
		}
	}
	return nil, false
}

func firstOf(members map[string]string, names ...string) string {
	for _, name := range names {
		if members[name] != "" {
			return members[name]
		}
	}
	return ""
}

// statusDenies reports whether an answer refuses the token, by its status or
// by a code in its body. A web page does not: no API wrote it.
func statusDenies(e *httpx.StatusError) bool {
	if e.WebPage() {
		return false
	}
	if e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden {
		return true
	}
	answer := jsonrows.New(bytes.NewReader(e.Body), "items", len(e.Body))
	for _, err := range answer.Rows() {
		if err != nil {
			break // not JSON, or cut: what came before counts
		}
	}
	inner, ok := apiErrorOf(answer.Members(), strings.TrimSpace)
	return ok && inner.denied()
}

// unanswered adds to an error of a request what the user, who set the base URL
// by the variable named, can check when it was not the API that answered.
func unanswered(err error, variable string) error {
	status, ok := errors.AsType[*httpx.StatusError](err)
	switch {
	case httpx.Misdirected(err):
		return fmt.Errorf("%w; check %s", err, variable)
	case ok && status.WebPage():
		return fmt.Errorf("%w; a web page is no answer of the API: check any proxy or firewall in between", err)
	}
	return err
}
