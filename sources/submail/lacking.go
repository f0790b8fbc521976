package submail

import (
	"errors"
	"fmt"
	"net/http"

	"connector/internal/fault"
	"connector/sources"
	"connector/sources/httpx"
)

// noMethod is the message of a host that does not have the call.
const noMethod = "unknown method"

// unknownMethod says what to do about an answer with that message.
func (s *Source) unknownMethod(msg string) error {
	err := fmt.Errorf("SUBMAIL answered with %q: %w %s", s.client.Snippet(msg), sources.ErrNoCall, s.call.api)
	return fault.Fatal(err, s.elsewhere(s.variable("BASE_URL")))
}

// lacks reports whether err suggests that a host does not have the call.
func lacks(err error) bool {
	status, ok := errors.AsType[*httpx.StatusError](err)
	return ok && status.Status == http.StatusNotFound && status.Method == http.MethodPost
}

// elsewhere says what to do about a host, set by a variable, without the call.
func (s *Source) elsewhere(variable string) string {
	return fmt.Sprintf("check %s, or set %s=%s", variable, s.variable("API"), s.call.api.other())
}
