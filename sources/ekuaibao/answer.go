package ekuaibao

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"

	"connector/sources/httpx"
	"connector/sources/jsonrows"
)

// apiError is an error the API reports in the body of an answer, or by a
// status that refuses the token.
type apiError struct {
	code, msg string // msg is safe to print
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
// errorMessage} or {code, msg}. Codes 0 and 200 are none.
func apiErrorOf(members map[string]string) (*apiError, bool) {
	for _, name := range []string{"errorCode", "code"} {
		switch code := members[name]; code {
		case "", "0", "200":
		default:
			return &apiError{code: code, msg: firstOf(members, "errorMessage", "msg", "message")}, true
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
// by a code in its body.
func statusDenies(e *httpx.StatusError) bool {
	if e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden {
		return true
	}
	answer := jsonrows.New(bytes.NewReader(e.Body), "items", len(e.Body))
	for _, err := range answer.Rows() {
		if err != nil {
			break // not JSON, or cut: what came before counts
		}
	}
	inner, ok := apiErrorOf(answer.Members())
	return ok && inner.denied()
}
