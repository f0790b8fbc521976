package ekuaibao

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connector/internal/apisim"
	"connector/internal/config"
	"connector/internal/fault"
	"connector/internal/secret"
	"connector/sources"
	"connector/sources/httpx"
)

const company = "Uq08cj71400000" // of the simulator

// byCompany makes an account's address unknown but for its company.
func byCompany(c *Config) { c.LocationURL, c.BaseURL, c.CorpID = c.BaseURL, "", company }

// logged returns a source like s that logs to the buffer.
func logged(s *Source) *bytes.Buffer {
	var b bytes.Buffer
	s.tenant.log = slog.New(slog.NewTextHandler(&b, nil))
	return &b
}

// TestLocation asks for the base URL once, whatever the number of streams.
func TestLocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sim := inBubble(t, apisim.EkuaibaoConfig{}, byCompany)
		log := logged(s)
		for range 3 {
			var group sync.WaitGroup
			now := time.Now()
			for _, st := range s.Streams() {
				group.Go(func() {
					if _, _, err := read(t.Context(), s, st, sources.Span{From: now.Add(-time.Minute), To: now}); err != nil {
						t.Errorf("%s: %v", st.Name, err)
					}
				})
			}
			group.Wait()
			time.Sleep(time.Hour)
		}
		if got := sim.Stats().Requests[locationPath]; got != 1 {
			t.Errorf("got %d location calls, want 1", got)
		}
		if got := strings.Count(log.String(), "url=http://pipe company="+company); got != 1 || strings.Count(log.String(), "\n") != 1 {
			t.Errorf("got the log %q, want one line with the base URL and the company", log)
		}
		if s.Owner() != company {
			t.Errorf("got owner %q, want the company of the rows", s.Owner())
		}
	})
}

// TestLocationConfigured makes no location call when the base URL is set, or
// the company is not.
func TestLocationConfigured(t *testing.T) {
	for _, cfg := range []Config{{}, {BaseURL: "https://b"}, {BaseURL: "https://b", CorpID: company}} {
		want := string(cfg.BaseURL)
		if want == "" {
			want = defaultURL
		}
		s := newSource(t, cfg, httpx.Options{Transport: http.NewFileTransport(http.Dir("."))})
		if got, err := s.tenant.baseURL(t.Context()); err != nil || got != want {
			t.Errorf("%+v: got %s, %v, want %s", cfg, got, err, want)
		}
	}
}

// TestLocationAnswers checks which values are taken.
func TestLocationAnswers(t *testing.T) {
	tests := []struct {
		server, answer, want string // a base URL, or part of the error
		class                string
	}{
		{"https://l", `{"value":"https://app.ekuaibao.com/"}`, "https://app.ekuaibao.com", "none"},
		{"https://l", "\xef\xbb\xbf {\"value\":\" https://app.ekuaibao.com \"}", "https://app.ekuaibao.com", "none"},
		{"https://l", `{"value":"https://h:8443/a/b//","code":200,"msg":"ok"}`, "https://h:8443/a/b", "none"},
		{"http://l", `{"value":"http://h/"}`, "http://h", "none"},
		{"http://l", `{"value":"https://h/"}`, "https://h", "none"},
		{"https://l", `{"value":"http://h/"}`, "must begin with https://; set HQ_BASE_URL", transient},
		{"https://l", `{"value":"ftp://h/"}`, "set HQ_BASE_URL", transient},
		{"https://l", `{"value":"app.ekuaibao.com"}`, "set HQ_BASE_URL", transient},
		{"https://l", `{"value":"https://u:p@h/"}`, "must not hold a user or password; set HQ_BASE_URL", transient},
		{"https://l", `{"value":7}`, "a JSON number, not text", transient},
		{"https://l", `{"value":{"url":"https://h"}}`, "not text", transient},
		{"https://l", `{}`, "holds no base URL", transient},
		{"https://l", `{"value":null}`, "holds no base URL; check HQ_CORP_ID, or set HQ_BASE_URL", fatal},
		{"https://l", `{"value":" ","code":0}`, "check HQ_CORP_ID", fatal},
		{"https://l", `{"value":null,"code":412,"msg":"企业不存在"}`, `412: "企业不存在"; check HQ_CORP_ID`, fatal},
		{"https://l", `{"value":null,"code":500,"msg":"later"}`, `500: "later"`, transient},
		{"https://l", `{"value":null,"code":429,"msg":"later"}`, `429: "later"`, throttle},
	}
	for _, tt := range tests {
		s := newSource(t, Config{CorpID: company, LocationURL: config.URL(tt.server)}, httpx.Options{Transport: http.NewFileTransport(http.Dir("."))})
		got, err := s.tenant.read([]byte(tt.answer))
		if class := classOf(err); class != tt.class || err == nil && got != tt.want || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s of %s: got %q, %s, %v, want %s, %s", tt.answer, tt.server, got, class, err, tt.want, tt.class)
		}
	}
}

// TestLocationMoves lets the tenant move to another host, and the location
// server fail meanwhile.
func TestLocationMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sim := inBubble(t, apisim.EkuaibaoConfig{}, byCompany)
		log := logged(s)
		gone, locatable := "pipe", true
		sim.Faults.Hook(func(r *http.Request) apisim.Fault {
			switch {
			case r.URL.Path == locationPath && !locatable:
				return apisim.Fault{Kind: apisim.HTTPStatus, Status: 404, Body: `{"errorCode":404,"errorMessage":"gone"}`}
			case r.URL.Path != locationPath && r.Host == gone:
				return apisim.Fault{Kind: apisim.HTTPStatus, Status: 404, Body: "gone"}
			}
			return apisim.Fault{}
		})
		steps := []struct {
			name, gone, location string
			locatable            bool
			want                 string // part of the error, "" for rows
			calls                int    // to the location server by now
		}{
			{"first host", "", "http://pipe/", true, "", 1},
			{"it is gone", "pipe", "http://new/", true, "check HQ_CORP_ID, by which this address was found, or set HQ_BASE_URL", 1},
			{"asked again", "pipe", "http://new/", true, "", 2},
			{"all is gone", "new", "http://new/", false, "check HQ_CORP_ID", 2},
			{"asked in vain, the old one is tried", "new", "http://new/", false, "check HQ_CORP_ID", 3},
			{"the old one is back, the location server is not", "", "http://new/", false, "", 4},
			{"and stays", "", "http://new/", false, "", 4},
		}
		for _, tt := range steps {
			gone, locatable = tt.gone, tt.locatable
			sim.Switches.Set(func(s *apisim.EkuaibaoSwitches) { s.Location = tt.location })
			n, err := lastMinutes(t, s)
			if tt.want == "" && (err != nil || n < 25) || tt.want != "" && (err == nil || fault.IsFatal(err) || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%s: got %d rows, %v, want %q", tt.name, n, err, tt.want)
			}
			if got := sim.Stats().Requests[locationPath]; got != tt.calls {
				t.Errorf("%s: got %d location calls, want %d", tt.name, got, tt.calls)
			}
			time.Sleep(time.Minute)
		}
		if got := strings.Count(log.String(), "found the base URL"); got != 2 || strings.Count(log.String(), "level=WARN") != 2 || leaks(log.String()) {
			t.Errorf("got the log\n%s\nwant two base URLs and two warnings", log)
		}
	})
}

// TestLocationTurn: the location call takes a turn of the budget, an urgent one.
func TestLocationTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sim := inBubble(t, apisim.EkuaibaoConfig{}, func(c *Config) {
			byCompany(c)
			c.Rate = 1
		})
		began := time.Now()
		if _, err := s.Now(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(began); got != 2*time.Second || sim.Stats().Requests[locationPath] != 1 {
			t.Errorf("location, token and log took %v, want a second between two of them", got)
		}
	})
}

// TestCompany refuses rows and tokens of a company that is not the configured
// one, from the first on.
func TestCompany(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
		want   string // part of the error
	}{
		{"the one configured", func(c *Config) { c.CorpID = company }, ""},
		{"token of another", func(c *Config) { c.CorpID = "other" }, "the access token belongs to corporationId " + company + ", and HQ_CORP_ID is other; set HQ_CORP_ID"},
		{"rows of another", func(c *Config) {
			c.CorpID, c.AppKey, c.AppSecurity, c.AccessToken = "other", secret.String{}, secret.String{}, secret.New(canaryToken)
		}, "the rows belong to corporationId " + company + ", and HQ_CORP_ID is other; set HQ_CORP_ID"},
		{"unknown", func(c *Config) { byCompany(c); c.CorpID = "other" }, "finding the base URL by HQ_CORP_ID: the answer holds no base URL; check HQ_CORP_ID"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := inBubble(t, apisim.EkuaibaoConfig{AccessToken: canaryToken}, tt.change)
				n, err := lastMinutes(t, s)
				if tt.want == "" {
					if err != nil || n < 25 || s.Owner() != company {
						t.Errorf("got %d rows of %q, %v", n, s.Owner(), err)
					}
					return
				}
				if !fault.IsFatal(err) || !strings.Contains(err.Error(), tt.want) || n != 0 || s.Owner() != "" {
					t.Errorf("got %d rows of %q, %v, want none, no owner and the fatal error %q", n, s.Owner(), err, tt.want)
				}
			})
		})
	}
}
