package submail

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connector/internal/apisim"
	"connector/internal/config"
	"connector/internal/fault"
	"connector/sources"
	"connector/sources/httpx"
)

// TestDigest checks the signature against vectors that agree with the provider's own client library.
func TestDigest(t *testing.T) {
	const frame = "10000" + "0123456789abcdef0123456789abcdef"
	tests := []struct {
		params    map[string]string
		md5, sha1 string
	}{
		{map[string]string{}, "4c7a1c08dcb79ac17714eddbf9124179", "9e749dd76d0f0d0e40da730a0eb85fe1a02fce85"},
		{map[string]string{"end_date": "1428249599", "offset": "0", "order_by": "asc", "rows": "1000", "start_date": "1428163200"},
			"e0607776c0e240ec2b3da23767fb5cd4", "e94a459996eb13842d9fb89c53ea66b988c600d4"},
		{map[string]string{"project": "测试", "tag": "x", "signature": "y"}, "0facf768e7b686d6b4cd79efad6d87ec", "2cf0a3ec521cff6ab52f5ef7ba1da5b3f378623b"},
	}
	for _, tt := range tests {
		for kind, want := range map[SignType]string{SignMD5: tt.md5, SignSHA1: tt.sha1} {
			tt.params["appid"], tt.params["timestamp"], tt.params["sign_type"] = "10000", "1414253462", string(kind)
			if got := digest(kind, frame, tt.params); got != want {
				t.Errorf("%s of %v: got %s, want %s", kind, tt.params, got, want)
			}
		}
	}
}

func TestParameters(t *testing.T) {
	got := make(chan *http.Request, 1)
	s := answers(t, func(c *Config) {
		c.Recipient, c.Project, c.ResultStatus, c.SignType = "138", "Gy&=1", "dropped", SignNormal
	}, func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		got <- r
		fmt.Fprint(w, `{"status":"success","results":[]}`)
	})
	if _, _, err := read(t.Context(), s, seedSpan); err != nil {
		t.Fatal(err)
	}
	r := <-got
	want := "appid=10000&end_date=1427961601&offset=0&order_by=asc&project=Gy%26%3D1&recipient=138&result_status=dropped&rows=1000&signature=" +
		canaryKey + "&start_date=1416760513"
	if r.Method != http.MethodPost || r.URL.Path != "/log/message.json" || r.PostForm.Encode() != want || r.URL.RawQuery != "" {
		t.Errorf("got %s %s %s, want %s", r.Method, r.URL, r.PostForm.Encode(), want)
	}
}

func TestFilters(t *testing.T) {
	seen := map[string]string{}
	for name, change := range map[string]func(*Config){
		"none": func(*Config) {}, "recipient": func(c *Config) { c.Recipient = "x" }, "project": func(c *Config) { c.Project = "x" },
		"status": func(c *Config) { c.ResultStatus = "dropped" }, "both": func(c *Config) { c.Recipient, c.Project = "x", "x" },
	} {
		cfg := settings("http://x", "http://x")
		change(&cfg)
		got := newSource(t, cfg).Streams()[0].Filters
		if (name == "none") != (got == "") {
			t.Errorf("%s: got digest %q", name, got)
		}
		if other, known := seen[got]; known {
			t.Errorf("%s and %s have the same digest", name, other)
		}
		seen[got] = name
	}
}

// TestMinInterval checks that requests keep their distance on the wire across both hosts, however long the timestamp service
// takes, and that the signature is made after the wait.
func TestMinInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sim := inBubble(t, apisim.SubmailConfig{}, func(c *Config) { c.MinInterval = time.Minute })
		var calls []time.Time
		sim.Faults.Hook(func(r *http.Request) apisim.Fault {
			if !strings.HasPrefix(r.URL.Path, "/log/message") {
				return apisim.Fault{Kind: apisim.Slow, Delay: 2 * time.Second, After: 1 << 20}
			}
			if calls = append(calls, time.Now()); len(calls) == 2 {
				return apisim.Fault{Kind: apisim.HTTPStatus, Status: 500}
			}
			return apisim.Fault{}
		})
		s.hosts.urls = []config.URL{s.cfg.BaseURL, "http://backup"} // both are the pipe
		now := time.Now()
		for range 3 {
			if _, _, err := read(t.Context(), s, sources.Span{From: now.Add(-5 * time.Minute), To: now}); err != nil {
				t.Fatal(err)
			}
		}
		for i := 1; i < len(calls); i++ {
			if got := calls[i].Sub(calls[i-1]); got != time.Minute {
				t.Errorf("got %v between two requests, want a minute", got)
			}
		}
		if len(calls) != 4 || sim.Stats().Requests[stampPath] != 1 {
			t.Errorf("got %d requests and %d for the time, want 4 and 1", len(calls), sim.Stats().Requests[stampPath])
		}
	})
}

// TestFailover checks that the backup serves while the main host is down, and the main host soon after it is back.
func TestFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hosts{urls: []config.URL{"main", "backup"}}
		h.use("backup")
		if got := h.order()[0]; got != "backup" {
			t.Errorf("got %s after the backup answered", got)
		}
		time.Sleep(backupFor - time.Second)
		h.use("backup") // does not prolong
		time.Sleep(time.Second)
		if got := h.order()[0]; got != "main" {
			t.Errorf("got %s %v later, want another try of the main host", got, backupFor)
		}
		h.use("main")
		if got := h.order()[0]; got != "main" {
			t.Errorf("got %s after the main host answered", got)
		}
	})
}

// TestClockOff has a Date of all answers that is not the time of the signatures: the timestamp service outranks it. Where that
// is not there at first, Date costs one refused request, and nothing is learned from it afterwards.
func TestClockOff(t *testing.T) {
	for _, off := range []time.Duration{-time.Hour, time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clockOff(t, off, SignNormal, 0, 0)
				clockOff(t, off, SignSHA1, 0, 0)
				clockOff(t, off, SignSHA1, 1, 1)
			})
		})
	}
}

// clockOff reads five times, and wants so many refused signatures after so many missing timestamps.
func clockOff(t *testing.T, off time.Duration, sign SignType, missing, want int32) {
	var refused, accepted, stamps atomic.Int32
	l := apisim.NewPipeListener()
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
		if r.URL.Path == stampPath {
			if stamps.Add(1) <= missing {
				http.NotFound(w, r)
				return
			}
			fmt.Fprintf(w, `{"timestamp":"%d"}`, time.Now().Unix())
			return
		}
		var sec int64
		if _, _ = fmt.Sscan(r.FormValue("timestamp"), &sec); sign != SignNormal && (time.Duration(time.Now().Unix()-sec)*time.Second).Abs() > 6*time.Second {
			refused.Add(1)
			fmt.Fprint(w, `{"status":"error","code":152,"msg":"Invalid timestamp"}`)
			return
		}
		accepted.Add(1)
		fmt.Fprint(w, `{"status":"success","results":[]}`)
	})}
	go func() { _ = srv.Serve(l) }() // ends with Close
	tr := httpx.NewTransport(l.DialContext)
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		_ = srv.Close()
	})
	cfg := settings("http://pipe", "http://pipe")
	cfg.SignType = sign
	s, err := New("otp", cfg, httpx.Options{Transport: tr, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	var errs []error
	for range 5 {
		_, err := s.Now(t.Context())
		if err == nil {
			_, _, err = read(t.Context(), s, seedSpan)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) != int(want) || want > 0 && fault.IsFatal(errs[0]) || refused.Load() != want || accepted.Load() != 5-want {
		t.Errorf("%s: got %d accepted, %d refused, errors %v, want %d refused, with a transient error", sign, accepted.Load(), refused.Load(), errs, want)
	}
	now, err := s.Now(t.Context())
	if ahead := time.Until(now); err != nil || ahead > 0 || ahead < -2*time.Second || stamps.Load() != 1+missing {
		t.Errorf("%s: got %v ahead after %d timestamps, %v, want the provider's time after %d", sign, ahead, stamps.Load(), err, 1+missing)
	}
}

func TestNow(t *testing.T) {
	fast := func() time.Time { return time.Now().Add(10*time.Minute + 300*time.Millisecond) } // the provider's clock
	synctest.Test(t, func(t *testing.T) {
		s, sim := inBubble(t, apisim.SubmailConfig{Clock: fast}, nil)
		for range 3 {
			for range 10 {
				got, err := s.Now(t.Context())
				if behind := fast().Sub(got); err != nil || behind < 0 || behind > 2*time.Second {
					t.Errorf("got %v, %v: %v behind the provider", got, err, behind)
				}
				time.Sleep(time.Second)
			}
			time.Sleep(time.Hour)
		}
		if got := sim.Stats().Requests; got[stampPath] != 3 || len(got) != 1 {
			t.Errorf("got requests %v, want one an hour for the time", got)
		}
	})
	s := newSource(t, settings("http://127.0.0.1:1", "http://127.0.0.1:1"))
	if _, err := s.Now(t.Context()); err == nil || !strings.Contains(err.Error(), "asking for the provider's time") {
		t.Errorf("got %v from an unreachable provider", err)
	}
}

// TestNowThrottled has an answer that tells the time and asks to wait: the
// pipeline learns of the wait, and of the time when it asks again.
func TestNowThrottled(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "9")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	t.Cleanup(srv.Close)
	s := newSource(t, settings(srv.URL, srv.URL))
	if after, ok := fault.RetryAfter(second(s.Now(t.Context()))); !ok || after != 9*time.Second {
		t.Errorf("got throttled %v for %v, want it for 9 s", ok, after)
	}
	if _, err := s.Now(t.Context()); err != nil {
		t.Errorf("got %v, want the time of the answer", err)
	}
}

func second(_ time.Time, err error) error { return err }

func TestStatuses(t *testing.T) {
	for status, want := range map[int]string{404: "check OTP_BASE_URL", 403: "403", 429: "429"} {
		calls := 0
		refuse := func(w http.ResponseWriter, _ *http.Request) {
			calls++
			w.Header().Set("Retry-After", "9")
			w.WriteHeader(status)
		}
		backup := httptest.NewServer(http.HandlerFunc(refuse))
		s := answers(t, func(c *Config) { c.BackupURL = config.URL(backup.URL) }, refuse)
		_, proven, err := read(t.Context(), s, seedSpan)
		if err == nil || !strings.Contains(err.Error(), want) || proven == seedSpan || calls != 1 {
			t.Errorf("%d: got %v after %d calls, want %q after one", status, err, calls, want)
		}
		if after, ok := fault.RetryAfter(err); ok != (status == 429) || ok && after != 9*time.Second {
			t.Errorf("%d: got throttled %v for %v", status, ok, after)
		}
		backup.Close()
	}
}

func TestNewRefuses(t *testing.T) {
	cfg := settings("http://x", "")
	cfg.TimeZone = config.TimeZone{}
	if _, err := New("otp", cfg, httpx.Options{}); err == nil {
		t.Error("got a source without a time zone")
	}
}

// TestNoTimestampService has a host without one, which refuses a signature once: the Date of its answers goes on to count.
func TestNoTimestampService(t *testing.T) {
	for name, missing := range map[string]http.HandlerFunc{
		"404": http.NotFound,
		"unknown method": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"status":"error","code":"100","msg":"Unknown method"}`)
		},
	} {
		var asked atomic.Int32
		mux := http.NewServeMux()
		mux.HandleFunc(stampPath, missing)
		mux.HandleFunc("/sms/log.json", func(w http.ResponseWriter, _ *http.Request) {
			if asked.Add(1) == 2 {
				fmt.Fprint(w, `{"status":"error","code":"152","msg":"x"}`)
				return
			}
			fmt.Fprint(w, `{"status":"success","data":[]}`)
		})
		server := httptest.NewServer(mux)
		t.Cleanup(server.Close)
		cfg := settings(server.URL, "")
		cfg.API = APISMSLog
		s := newSource(t, cfg)
		for i, want := range []string{"", "set OTP_SIGN_TYPE=normal", "", ""} {
			if _, err := s.Now(t.Context()); err != nil {
				t.Errorf("%s: time %d: %v", name, i, err)
			}
			if _, _, err := read(t.Context(), s, seedSpan); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: scan %d: got %v, want %q", name, i, err, want)
			}
		}
	}
}
