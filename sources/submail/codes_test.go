package submail

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"connector/internal/fault"
)

// wantCode is what the error of a code must say.
type wantCode struct {
	fatal        bool
	what, remedy string
}

func wantCodes() map[string]wantCode {
	const (
		time     = "the time of the signature is wrong; from now on it comes from the timestamp service alone"
		noTime   = "if that repeats, set OTP_SIGN_TYPE=normal, which is sent without a time"
		account  = " the account of OTP_APP_ID at SUBMAIL"
		wrongKey = "check OTP_APP_KEY"
	)
	return map[string]wantCode{
		"101": {true, "the appid is unknown", "check OTP_APP_ID"},
		"102": {true, "the application is disabled", "enable the application of OTP_APP_ID"},
		"103": {true, "the developer is not verified", "complete the developer data of" + account},
		"104": {true, "or their data changed", "update the developer data of" + account},
		"105": {true, "the account has expired", "renew" + account},
		"106": {true, "the account is disabled", "ask SUBMAIL about the account of OTP_APP_ID"},
		"107": {true, "the sign type is not known", "check OTP_SIGN_TYPE"},
		"108": {true, "the signature is wrong", wrongKey},
		"109": {true, "the appkey is wrong", wrongKey},
		"110": {true, "the sign type is wrong", "check OTP_SIGN_TYPE"},
		"111": {true, "the signature is empty", wrongKey},
		"113": {true, "address is not on the application's list", "IP whitelist of the application of OTP_APP_ID"},
		"119": {true, "may not use this call", "ask SUBMAIL to permit reading the log for OTP_APP_ID"},
		"151": {false, time, noTime},
		"152": {false, time, noTime},
		"251": {true, "the recipient is wrong", "check OTP_RECIPIENT"},
		"252": {true, "the recipient is wrong", "check OTP_RECIPIENT"},
		"305": {true, "the project is wrong", "check OTP_PROJECT"},
		"306": {true, "the project is wrong", "check OTP_PROJECT"},
		"307": {false, "the request is not read as JSON", "if that repeats, set OTP_CONTENT_TYPE=form"},
		"406": {true, "the project is wrong", "check OTP_PROJECT"},
		"407": {true, "the project is wrong", "check OTP_PROJECT"},
		"420": {false, "no template matches", "if that repeats, check OTP_PROJECT"},
		"901": {false, "the quota of the day is used up", "if that repeats, raise the quota of the application of OTP_APP_ID"},
		"903": {false, "the messages paid for are used up", "if that repeats, buy more for" + account},
		"904": {false, "the balance is used up", "if that repeats, top up" + account},
		"905": {false, "the messages paid for are used up", "if that repeats, buy more for" + account},
		"115": {}, "999": {}, "1xx": {}, // of no meaning to a reader
	}
}

// TestCodes checks class, message and remedy of every error code, as text, as a number and in XML, with status 200 and 400.
func TestCodes(t *testing.T) {
	want := wantCodes()
	for code := range apiCodes {
		if _, known := want[code]; !known {
			t.Errorf("code %s is not tested", code)
		}
	}
	for code, want := range want {
		bodies := []string{
			`{"status":"error","code":"` + code + `","msg":"a ` + canaryKey + `"}`,
			"\ufeff{\"msg\":\"a " + canaryKey + "\",\"code\":\" " + code + " \",\"status\":\" Error \"}",
			"<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<xml>\n <status> error </status>\n <code> " + code + " </code>\n <msg> a " + canaryKey + " </msg>\n</xml>",
		}
		if code != "1xx" {
			bodies = append(bodies, `{"status":"error","code":`+code+`,"msg":"a `+canaryKey+`"}`)
		}
		for _, body := range bodies {
			for _, status := range []int{http.StatusOK, http.StatusBadRequest, http.StatusForbidden} {
				checkCode(t, code, body, status, want)
			}
		}
	}
}

func checkCode(t *testing.T, code, body string, status int, want wantCode) {
	t.Helper()
	calls := 0
	s := answers(t, func(c *Config) {
		if strings.HasPrefix(body, "<") {
			c.Format = FormatXML
		}
	}, func(w http.ResponseWriter, _ *http.Request) {
		calls++
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	})
	_, proven, err := read(t.Context(), s, seedSpan)
	switch {
	case err == nil || proven == seedSpan || calls != 1:
		t.Errorf("%d %s: got proven %v, %v in %d requests, want an error in one", status, body, proven, err, calls)
		return
	case fault.IsFatal(err) != want.fatal:
		t.Errorf("%d %s: got %v, want it to be fatal: %v", status, body, err, want.fatal)
	}
	for _, part := range []string{`SUBMAIL answered with error ` + code + `: "a ****"`, want.what, want.remedy} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%d %s: got %v, want %q", status, body, err, part)
		}
	}
	_, throttled := fault.RetryAfter(err)
	if throttled || leaks(err.Error()) || (want.what == "") != strings.HasSuffix(err.Error(), `"a ****"`) {
		t.Errorf("%d %s: got %v, throttled %v", status, body, err, throttled)
	}
}

// TestCodeBehindStatus has answers whose status says more than their body.
func TestCodeBehindStatus(t *testing.T) {
	const body = `{"status":"error","code":"101","msg":"Incorrect APP ID"}`
	tests := []struct {
		status int
		body   string
		want   string
		fatal  bool
	}{
		{http.StatusTooManyRequests, body, "throttled", false},
		{http.StatusInternalServerError, body, "HTTP 500", false},
		{http.StatusForbidden, `{"status":"error","code":`, "HTTP 403", false},
		{http.StatusForbidden, `{"status":"success","code":"101"}`, "HTTP 403", false},
		{http.StatusForbidden, `{"status":"error"}`, "HTTP 403", false},
		{http.StatusForbidden, `<html>`, "HTTP 403", false},
		{http.StatusNotFound, `{}`, "check OTP_BASE_URL", false},
		{http.StatusUnauthorized, body, "the appid is unknown; check OTP_APP_ID", true},
	}
	for _, tt := range tests {
		s := answers(t, nil, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.status)
			fmt.Fprint(w, tt.body)
		})
		_, _, err := read(t.Context(), s, seedSpan)
		if err == nil || !strings.Contains(err.Error(), tt.want) || fault.IsFatal(err) != tt.fatal {
			t.Errorf("%d %s: got %v, want fatal %v and %q", tt.status, tt.body, err, tt.fatal, tt.want)
		}
	}
}

// TestCodesAreDocumented compares the table of the documentation with the program's.
func TestCodesAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/providers.md")
	if err != nil {
		t.Fatal(err)
	}
	const head = "| error | meaning | what happens | remedy |\n|---|---|---|---|\n"
	var want strings.Builder
	for _, code := range slices.Sorted(maps.Keys(apiCodes)) {
		c := apiCodes[code]
		remedy := fmt.Sprintf(c.remedy, "`_"+c.about+"`")
		fmt.Fprintf(&want, "| %s | %s | %s | %s |\n", code, c.what, c.handling, remedy)
	}
	want.WriteString("| others | | " + string(again) + " | |\n")
	_, rest, found := strings.Cut(string(doc), head)
	got, _, _ := strings.Cut(rest, "\n\n")
	if got = strings.TrimSuffix(got, "\n") + "\n"; !found || got != want.String() {
		t.Errorf("docs/providers.md has another table of the errors; want\n%s%s", head, want.String())
	}
}
