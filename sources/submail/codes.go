package submail

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"connector/internal/fault"
	"connector/sources/httpx"
)

// handling is what follows from an error code.
type handling string

const (
	stops handling = "the stream stops" // until a person acts
	again handling = "asked again"
	anew  handling = "asked again, signed at the time of the timestamp service"
)

// apiCode is what an error code means to a reader of the log.
type apiCode struct {
	handling
	what   string
	remedy string // with %s for the account's variable
	about  string // suffix of that variable
}

// apiCodes are the errors that a reader of the log can meet, of those that
// the API documents. The others are asked again.
var apiCodes = map[string]apiCode{
	"101": {stops, "the appid is unknown", "check %s", "APP_ID"},
	"102": {stops, "the application is disabled", "enable the application of %s at SUBMAIL", "APP_ID"},
	"103": {stops, "the developer is not verified", "complete the developer data of the account of %s at SUBMAIL", "APP_ID"},
	"104": {stops, "the developer is not verified or their data changed", "update the developer data of the account of %s at SUBMAIL", "APP_ID"},
	"105": {stops, "the account has expired", "renew the account of %s at SUBMAIL", "APP_ID"},
	"106": {stops, "the account is disabled", "ask SUBMAIL about the account of %s", "APP_ID"},
	"107": {stops, "the sign type is not known", "check %s", "SIGN_TYPE"},
	"108": {stops, "the signature is wrong", "check %s", "APP_KEY"},
	"109": {stops, "the appkey is wrong", "check %s", "APP_KEY"},
	"110": {stops, "the sign type is wrong", "check %s", "SIGN_TYPE"},
	"111": {stops, "the signature is empty", "check %s", "APP_KEY"},
	"113": {stops, "this machine's address is not on the application's list", "add it to the IP whitelist of the application of %s at SUBMAIL", "APP_ID"},
	"119": {stops, "the application may not use this call", "ask SUBMAIL to permit reading the log for %s", "APP_ID"},
	"151": {anew, "the time of the signature is wrong", "set %s=normal, which is sent without a time", "SIGN_TYPE"},
	"152": {anew, "the time of the signature is wrong", "set %s=normal, which is sent without a time", "SIGN_TYPE"},
	"251": {stops, "the recipient is wrong", "check %s", "RECIPIENT"},
	"252": {stops, "the recipient is wrong", "check %s", "RECIPIENT"},
	"305": {stops, "the project is wrong", "check %s", "PROJECT"},
	"306": {stops, "the project is wrong", "check %s", "PROJECT"},
	"307": {again, "the request is not read as JSON", "set %s=form", "CONTENT_TYPE"},
	"406": {stops, "the project is wrong", "check %s", "PROJECT"},
	"407": {stops, "the project is wrong", "check %s", "PROJECT"},
	"420": {again, "no template matches", "check %s", "PROJECT"},
	"901": {again, "the quota of the day is used up", "raise the quota of the application of %s at SUBMAIL", "APP_ID"},
	"903": {again, "the messages paid for are used up", "buy more for the account of %s at SUBMAIL", "APP_ID"},
	"904": {again, "the balance is used up", "top up the account of %s at SUBMAIL", "APP_ID"},
	"905": {again, "the messages paid for are used up", "buy more for the account of %s at SUBMAIL", "APP_ID"},
}

// apiError classifies an error the API reports.
func (s *Source) apiError(code, msg string) error {
	if strings.Contains(strings.ToLower(msg), noMethod) {
		return s.unknownMethod(msg)
	}
	err := fmt.Errorf("SUBMAIL answered with error %s: %q", s.client.Snippet(code), s.client.Snippet(msg))
	known, ok := apiCodes[code]
	if !ok {
		return err
	}
	err = fmt.Errorf("%w: %s", err, known.what)
	remedy := fmt.Sprintf(known.remedy, s.variable(known.about))
	switch known.handling {
	case stops:
		return fault.Fatal(err, remedy)
	case anew:
		if s.client.Clock().IgnoreDate() {
			err = fmt.Errorf("%w; from now on it comes from the timestamp service alone", err)
		}
	case again:
	}
	return fmt.Errorf("%w; if that repeats, %s", err, remedy)
}

// refusal finds an error the API reports in the body of an answer with
// another status than 200. It documents 4xx for wrong parameters; 5xx is the
// server's own trouble, and throttling keeps its mark.
func (s *Source) refusal(err error) error {
	status, ok := errors.AsType[*httpx.StatusError](err)
	if _, throttled := fault.RetryAfter(err); !ok || throttled || status.Server() {
		return nil
	}
	a := s.answer(bytes.NewReader(status.Body))
	for _, broken := range a.Rows() {
		if broken != nil {
			return nil
		}
	}
	m := a.Members()
	if code := strings.TrimSpace(m["code"]); code != "" && statusOfAnswer(m) == "error" {
		return s.apiError(code, m["msg"])
	}
	return nil
}
