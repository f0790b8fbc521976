package ekuaibao

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"connector/internal/fault"
	"connector/sources/httpx"
	"connector/sources/jsonrows"
	"connector/sources/scan"
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
func (e *apiError) denied() bool { return refuses(e.code) }

// refuses reports whether a status or an inner code refuses the credential.
func refuses(code string) bool { return slices.Contains([]string{"401", "403"}, code) }

// tooMany is the status, or inner code, that asks for fewer requests.
const tooMany = "429"

// throttled marks err when a status or an inner code asks for fewer requests.
func throttled(err error, code string) error {
	if _, marked := fault.RetryAfter(err); !marked && code == tooMany {
		return fault.Throttled(0, err)
	}
	return err
}

// apiErrorOf finds an error in the members of an answer: {errorCode,
// errorMessage} or {code, msg}. Codes 0 and 200 are none. safe makes a text
// safe to print.
func apiErrorOf(members map[string]string, safe func(string) string) (*apiError, bool) {
	for _, name := range []string{"errorCode", "code"} {
		switch code := strings.TrimSpace(members[name]); code {
		case "", "0", "200":
		default:
			return &apiError{code: safe(code), msg: safe(messageOf(members))}, true
		}
	}
	return nil, false
}

// messageOf returns the text of an error, "" if it has none.
func messageOf(members map[string]string) string {
	for _, name := range []string{"errorMessage", "msg", "message"} {
		if members[name] != "" {
			return members[name]
		}
	}
	return ""
}

// innerError finds an error in the body of an answer whose status is not 2xx.
// Its code is as given and not for logs.
func innerError(e *httpx.StatusError) (*apiError, bool) {
	answer := jsonrows.New(bytes.NewReader(e.Body), "items", len(e.Body))
	for _, err := range answer.Rows() {
		if err != nil {
			break // not JSON, or cut: what came before counts
		}
	}
	return apiErrorOf(answer.Members(), strings.TrimSpace)
}

// codeOf returns what an answer says by its status, or by a code in its body
// that refuses the credential or asks for fewer requests.
func codeOf(e *httpx.StatusError) string {
	inner, found := innerError(e)
	if found && e.Status != http.StatusTooManyRequests && (inner.denied() || inner.code == tooMany) {
		return inner.code
	}
	return strconv.Itoa(e.Status)
}

// maxBeginning is how much of an answer may be shown.
const maxBeginning = 512

// unread says why an answer could not be read: one that is longer than is read
// by [scan.ErrLong], one in which no rows have begun with its beginning, head.
// Rows are not for logs.
func unread(err error, found jsonrows.Found, head string, safe func(string) string) error {
	if long, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return fmt.Errorf("%w: more than %d bytes", scan.ErrLong, long.Limit)
	}
	err = masked(err, safe)
	if found == jsonrows.Array || head == "" {
		return err
	}
	return fmt.Errorf("%w; it begins %q", err, safe(head))
}

// maskedError is an error whose text was made safe to print.
type maskedError struct {
	text string
	err  error
}

func (e *maskedError) Error() string { return e.text }
func (e *maskedError) Unwrap() error { return e.err }

// masked makes an error about JSON, which shows names of members, safe to print.
func masked(err error, safe func(string) string) error {
	if _, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return &maskedError{safe(err.Error()), err}
	}
	return err
}

// explained adds to an error of a request what the user can check when it was
// not the API that answered.
func explained(err error, check string) error {
	status, ok := errors.AsType[*httpx.StatusError](err)
	switch {
	case httpx.Misdirected(err):
		return fmt.Errorf("%w; check %s", err, check)
	case ok && status.WebPage():
		return fmt.Errorf("%w; a web page is no answer of the API: check any proxy or firewall in between", err)
	}
	return err
}

// reply is what the small answers, those of the token call and the location
// call, have instead of what was asked for.
type reply struct {
	ErrorCode    jsonrows.Text `json:"errorCode"`
	Code         jsonrows.Text `json:"code"`
	ErrorMessage jsonrows.Text `json:"errorMessage"`
	Msg          jsonrows.Text `json:"msg"`
	Message      jsonrows.Text `json:"message"`
}

// lacks returns the error of a small answer that has no value of the name.
func (r reply) lacks(name string, safe func(string) string) *apiError {
	members := map[string]string{
		"errorCode": string(r.ErrorCode), "code": string(r.Code),
		"errorMessage": string(r.ErrorMessage), "msg": string(r.Msg), "message": string(r.Message),
	}
	if err, found := apiErrorOf(members, safe); found {
		return err
	}
	text := "the answer holds no " + name
	if message := messageOf(members); message != "" {
		text += fmt.Sprintf(": %q", safe(message))
	}
	return &apiError{cause: errors.New(text)}
}

// decodeReply decodes a small answer. Its error shows one that is no object;
// an object may hold a token.
func decodeReply(answer []byte, dst any, safe func(string) string) error {
	answer = bytes.TrimPrefix(answer, []byte("\xef\xbb\xbf"))
	if jsontext.Value(answer).Kind() != jsontext.KindBeginObject {
		return fmt.Errorf("the answer is no JSON object but %q", safe(string(answer)))
	}
	if err := jsonrows.Decode(answer, dst); err != nil {
		return fmt.Errorf("reading the answer: %w", masked(err, safe))
	}
	return nil
}
