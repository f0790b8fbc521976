package submail

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"connector/internal/apisim"
	"connector/internal/fault"
)

// TestUnknownMethod has a host that lacks one of the calls: the error names what to set.
func TestUnknownMethod(t *testing.T) {
	for lacking, other := range map[API]API{APILogMessage: APISMSLog, APISMSLog: APILogMessage} {
		for _, format := range []Format{FormatJSON, FormatXML} {
			for _, status := range []int{0, 400, 404} {
				sim := simulator(1)
				sim.Switches.Set(func(s *apisim.SubmailSwitches) { s.UnknownMethod, s.ErrorStatus = "/"+string(lacking), status })
				cfg := settings(serve(t, sim), "")
				cfg.API, cfg.Format = lacking, format
				_, proven, err := read(t.Context(), newSource(t, cfg), seedSpan)
				want := "check OTP_BASE_URL, or set OTP_API=" + string(other)
				if !fault.IsFatal(err) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "does not have the call "+string(lacking)) || proven == seedSpan {
					t.Errorf("%s.%s, status %d: got proven %v, %v, want a fatal error with %q", lacking, format, status, proven, err, want)
				}
				o, _, ok := cfg.Other()
				if _, proven, err := read(t.Context(), newSource(t, o), seedSpan); !ok || err != nil || proven != seedSpan {
					t.Errorf("%s.%s: the other call: got %v, proven %v, %v", lacking, format, ok, proven, err)
				}
			}
		}
	}
}

// TestNotFound has hosts that answer 404, of the API or not.
func TestNotFound(t *testing.T) {
	for body, want := range map[string]string{
		"":               "404 Not Found; the host may not have the call sms/log: check OTP_BASE_URL, or set OTP_API=log/message",
		"<html>x</html>": "the host may not have the call sms/log: check OTP_BASE_URL",
		`{"error":"x"}`:  "the host may not have the call sms/log: check OTP_BASE_URL",
		`{"status":"error","code":"109","msg":"x"}`: "check OTP_APP_KEY",
	} {
		s := answers(t, smsLog, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, strings.ReplaceAll(body, "x", canaryKey))
		})
		_, proven, err := read(t.Context(), s, seedSpan)
		if err == nil || !strings.Contains(err.Error(), want) || fault.IsFatal(err) != strings.Contains(body, "109") || proven == seedSpan || leaks(err.Error()) {
			t.Errorf("%s: got proven %v, %v, want %q", body, proven, err, want)
		}
	}
}
