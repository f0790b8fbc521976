package ekuaibao

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connector/internal/apisim"
	"connector/internal/budget"
	"connector/internal/fault"
	"connector/internal/secret"
	"connector/sources"
	"connector/sources/httpx"
)

// inBubble returns a source and its simulator over net.Pipe, for a test in a synctest bubble.
func inBubble(t *testing.T, cfg apisim.EkuaibaoConfig, change func(*Config)) (*Source, *apisim.Ekuaibao) {
	t.Helper()
	sim, c, opts := simInBubble(t, cfg)
	if change != nil {
		change(&c)
	}
	return newSource(t, c, opts), sim
}

// simInBubble returns a simulator and what makes a source of it.
func simInBubble(t *testing.T, cfg apisim.EkuaibaoConfig) (*apisim.Ekuaibao, Config, httpx.Options) {
	t.Helper()
	cfg.AppKey, cfg.AppSecurity = canaryKey, canarySecurity
	cfg.Population = apisim.Population{Seed: 1, Start: time.Now().Add(-time.Hour), Every: 10 * time.Second}
	sim := apisim.NewEkuaibao(cfg)
	l := apisim.NewPipeListener()
	base := sim.Serve(l)
	tr := httpx.NewTransport(l.DialContext)
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return sim, settings(base), httpx.Options{Transport: tr}
}

// lastMinutes scans the 5 minutes before now, for an hour at most.
func lastMinutes(t *testing.T, s *Source) (int, error) {
	t.Helper()
	now := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	records, _, err := read(ctx, s, flow(s), sources.Span{From: now.Add(-5 * time.Minute), To: now})
	return len(records), err
}

func TestTokens(t *testing.T) {
	tests := []struct {
		name     string
		switches apisim.EkuaibaoSwitches
		change   func(*Config)
		between  func(sim *apisim.Ekuaibao) // before each but the first of three scans, 33 minutes apart
		issued   int                        // tokens asked for
		fatal    string                     // part of the error
	}{
		{name: "one token for all", issued: 1},
		{name: "expired", switches: apisim.EkuaibaoSwitches{TokenLife: 30 * time.Minute}, issued: 3},
		{name: "revoked", between: func(sim *apisim.Ekuaibao) { sim.RevokeTokens() }, issued: 3},
		{name: "revoked, said in the body", switches: apisim.EkuaibaoSwitches{InnerCode: true}, between: func(sim *apisim.Ekuaibao) { sim.RevokeTokens() }, issued: 3},
		{name: "refused for a moment", switches: apisim.EkuaibaoSwitches{TokenDelay: 900 * time.Millisecond}, issued: 1},
		{name: "refused for a moment, said in the body", switches: apisim.EkuaibaoSwitches{TokenDelay: 900 * time.Millisecond, InnerCode: true}, issued: 1},
		{name: "never accepted", switches: apisim.EkuaibaoSwitches{TokenDelay: time.Hour}, issued: 2, fatal: "HQ_APP_KEY and HQ_APP_SECURITY"},
		{name: "refused for a moment, and slow", switches: apisim.EkuaibaoSwitches{TokenDelay: 30 * time.Second}, issued: 2, change: func(c *Config) { c.Rate = 0.05 }},
		{name: "never accepted, and slow", switches: apisim.EkuaibaoSwitches{TokenDelay: 1000 * time.Hour}, issued: 2, change: func(c *Config) { c.Rate = 0.05 },
			fatal: "HQ_APP_KEY and HQ_APP_SECURITY"},
		{name: "wrong key", change: func(c *Config) { c.AppSecurity = secret.New("canary-wrong") }, issued: 1, fatal: "check HQ_APP_KEY and HQ_APP_SECURITY"},
		{name: "fixed token", change: func(c *Config) {
			c.AppKey, c.AppSecurity, c.AccessToken = secret.String{}, secret.String{}, secret.New(canaryToken)
		}},
		{name: "fixed token, wrong", change: func(c *Config) { c.AccessToken = secret.New("canary-wrong") }, fatal: "renew HQ_ACCESS_TOKEN"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, sim := inBubble(t, apisim.EkuaibaoConfig{AccessToken: canaryToken, Switches: tt.switches}, tt.change)
				for i := range 3 {
					if i > 0 && tt.between != nil {
						tt.between(sim)
					}
					n, err := lastMinutes(t, s)
					if tt.fatal != "" {
						if !fault.IsFatal(err) || !strings.Contains(err.Error(), tt.fatal) || leaks(err.Error()) {
							t.Errorf("got %v, want a fatal error with %q", err, tt.fatal)
						}
						break
					}
					if err != nil || n < 25 {
						t.Errorf("scan %d: got %d rows, %v", i, n, err)
					}
					time.Sleep(33 * time.Minute)
				}
				if got := sim.Stats().Requests[tokenPath]; got != tt.issued {
					t.Errorf("got %d tokens, want %d", got, tt.issued)
				}
			})
		})
	}
}

// TestConcurrentTokens lets six streams scan while each new token ends the one before.
func TestConcurrentTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sim := inBubble(t, apisim.EkuaibaoConfig{Switches: apisim.EkuaibaoSwitches{OneToken: true}}, nil)
		now := time.Now()
		for range 3 {
			var group sync.WaitGroup
			for _, st := range s.Streams() {
				group.Go(func() {
					if _, _, err := read(t.Context(), s, st, sources.Span{From: now.Add(-time.Minute), To: now}); err != nil {
						t.Errorf("%s: %v", st.Name, err)
					}
				})
			}
			group.Wait()
			time.Sleep(time.Minute)
			sim.RevokeTokens()
		}
		if got := sim.Stats().Requests[tokenPath]; got != 3 {
			t.Errorf("got %d tokens, want one for each revocation", got)
		}
	})
}

// TestRevokedWithinScan revokes the tokens before the second request of a scan:
// what was read stays, and the token is replaced once.
func TestRevokedWithinScan(t *testing.T) {
	for _, inner := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s, sim := inBubble(t, apisim.EkuaibaoConfig{Switches: apisim.EkuaibaoSwitches{InnerCode: inner}}, nil)
			sim.Faults.Queue(apisim.Fault{}, apisim.Fault{Kind: apisim.Revoke})
			n, err := lastMinutes(t, s) // a first answer is proven by its parts
			stats := sim.Stats().Requests
			if err != nil || n < 50 || stats[tokenPath] != 2 || stats[logPath] != 5 {
				t.Errorf("inner %v: got %d rows, %v, %v; want those of 3 answers, two refusals (one may pass) and one new token", inner, n, err, stats)
			}
		})
	}
}

// TestRightsLost: an application that could read and can no longer is an error
// that is tried again, and ends when it can.
func TestRightsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sim := inBubble(t, apisim.EkuaibaoConfig{}, nil)
		for i, delay := range []time.Duration{0, time.Hour, time.Hour, 0} {
			sim.Switches.Set(func(s *apisim.EkuaibaoSwitches) { s.TokenDelay = delay })
			sim.RevokeTokens()
			n, err := lastMinutes(t, s)
			switch {
			case delay == 0 && (err != nil || n < 25):
				t.Errorf("scan %d: got %d rows, %v", i, n, err)
			case delay > 0 && (classOf(err) != transient || !strings.Contains(err.Error(), "HQ_APP_KEY and HQ_APP_SECURITY may still read") || leaks(err.Error())):
				t.Errorf("scan %d: got %v, want a transient error that names the key", i, err)
			}
			time.Sleep(30 * time.Minute)
		}
	})
}

// TestKeyRefusedLater: a key that worked and is refused is an error that is tried again, and ends when it works again.
func TestKeyRefusedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sim := inBubble(t, apisim.EkuaibaoConfig{}, nil)
		refuse := false
		sim.Faults.Hook(func(r *http.Request) apisim.Fault {
			if refuse && r.URL.Path == tokenPath {
				return apisim.Fault{Kind: apisim.HTTPStatus, Status: 403, Body: "未授权"}
			}
			return apisim.Fault{}
		})
		for i := range 4 {
			refuse = i == 1 || i == 2
			sim.RevokeTokens()
			n, err := lastMinutes(t, s)
			switch {
			case !refuse && (err != nil || n < 25):
				t.Errorf("scan %d: got %d rows, %v", i, n, err)
			case refuse && (classOf(err) != transient || !strings.Contains(err.Error(), "if this lasts, check HQ_APP_KEY and HQ_APP_SECURITY")):
				t.Errorf("scan %d: got %v, want a transient error that names the key", i, err)
			}
			time.Sleep(30 * time.Minute)
		}
	})
}

// TestFixedTokenOnce has a fixed token that is refused once: it is tried again a moment later.
func TestFixedTokenOnce(t *testing.T) {
	for refusals, fatal := range []bool{false, false, true} {
		synctest.Test(t, func(t *testing.T) {
			s, sim := inBubble(t, apisim.EkuaibaoConfig{AccessToken: canaryToken}, func(c *Config) {
				c.AppKey, c.AppSecurity, c.AccessToken = secret.String{}, secret.String{}, secret.New(canaryToken)
			})
			for range refusals {
				sim.Faults.Queue(apisim.Fault{Kind: apisim.HTTPStatus, Status: 403, Body: "未授权"})
			}
			if n, err := lastMinutes(t, s); fault.IsFatal(err) != fatal || !fatal && (err != nil || n < 25) {
				t.Errorf("refused %d times: got %d rows, %v, want fatal %v", refusals, n, err, fatal)
			}
		})
	}
}

// TestTwoPrograms lets two programs with one key, each of whose tokens ends the
// other's, read in turns: both go on reading, and both say what is wrong.
func TestTwoPrograms(t *testing.T) {
	for _, inner := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			sim, cfg, opts := simInBubble(t, apisim.EkuaibaoConfig{Switches: apisim.EkuaibaoSwitches{OneToken: true, InnerCode: inner}})
			a, b := newSource(t, cfg, opts), newSource(t, cfg, opts)
			const polls = 24
			rows, errs := map[*Source]int{}, map[*Source]int{}
			for range polls {
				for _, s := range []*Source{a, b} {
					n, err := lastMinutes(t, s)
					if rows[s] += n; err != nil {
						errs[s]++
						if classOf(err) != transient || !strings.Contains(err.Error(), "another program or account uses HQ_APP_KEY") || leaks(err.Error()) {
							t.Errorf("got %v, want a transient error that says why", err)
						}
					}
					time.Sleep(15 * time.Second)
				}
			}
			for _, s := range []*Source{a, b} {
				if rows[s] < polls/2*25 || errs[s] < polls/(3*maxEnded) || errs[s] > polls/maxEnded {
					t.Errorf("inner %v: got %d rows and %d errors of %d polls", inner, rows[s], errs[s], polls)
				}
			}
			if got := sim.Stats().Requests[tokenPath]; got > 2*polls {
				t.Errorf("got %d tokens for %d polls, want one each at most", got, 2*polls)
			}
		})
	}
}

// TestExpireTime wants a token to be used until it is refused when its time to expire makes no sense.
func TestExpireTime(t *testing.T) {
	for _, expires := range []int64{0, -1, time.Now().Add(2 * time.Hour).Unix(), time.Now().Add(-time.Second).UnixMilli(), 1<<63 - 1} {
		issued := 0
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == tokenPath {
				issued++
				fmt.Fprintf(w, `{"value":{"accessToken":%q,"expireTime":%d}}`, dynamicToken, expires)
				return
			}
			fmt.Fprint(w, `{"items":[]}`)
		}))
		s := newSource(t, settings(srv.URL), httpx.Options{})
		for range 3 {
			if _, _, err := read(t.Context(), s, flow(s), window); err != nil {
				t.Fatal(err)
			}
		}
		if issued != 1 {
			t.Errorf("expireTime %d: got %d tokens for 3 requests, want 1", expires, issued)
		}
		srv.Close()
	}
}

func TestNow(t *testing.T) {
	slow := func() time.Time { return time.Now().Add(-10 * time.Minute) } // the provider's clock
	synctest.Test(t, func(t *testing.T) {
		s, sim := inBubble(t, apisim.EkuaibaoConfig{Clock: slow}, nil)
		for range 3 {
			for range 10 {
				got, err := s.Now(t.Context())
				if behind := slow().Sub(got); err != nil || behind < 0 || behind > 2*time.Second {
					t.Errorf("got %v, %v: %v behind the provider", got, err, behind)
				}
				time.Sleep(time.Second)
			}
			time.Sleep(time.Hour)
		}
		if got := sim.Stats().Requests[logPath]; got != 3 {
			t.Errorf("got %d requests for the time, want one an hour", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s, _ := inBubble(t, apisim.EkuaibaoConfig{}, func(c *Config) { c.AppKey = secret.New("canary-wrong") })
		if _, err := s.Now(t.Context()); !fault.IsFatal(err) {
			t.Errorf("got %v, want the wrong key to be fatal", err)
		}
	})
}

// TestNowThrottled has an answer that tells the time and asks to wait: the
// pipeline learns of the wait, and of the time when it asks again.
func TestNowThrottled(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "9")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	t.Cleanup(srv.Close)
	s := newSource(t, settings(srv.URL), httpx.Options{})
	if after, ok := fault.RetryAfter(second(s.Now(t.Context()))); !ok || after != 9*time.Second {
		t.Errorf("got throttled %v for %v, want it for 9 s", ok, after)
	}
	if _, err := s.Now(t.Context()); err != nil {
		t.Errorf("got %v, want the time of the answer", err)
	}
}

func second(_ time.Time, err error) error { return err }

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sim := inBubble(t, apisim.EkuaibaoConfig{}, func(c *Config) { c.Rate = 2 })
		began := time.Now()
		for range 3 {
			if _, err := lastMinutes(t, s); err != nil {
				t.Fatal(err)
			}
		}
		n := sim.Stats().Requests[logPath] // the token is a request too
		if got, want := time.Since(began), time.Duration(n)*500*time.Millisecond; n < 3 || got != want {
			t.Errorf("a token and %d requests took %v, want %v", n, got, want)
		}
	})
}

// TestSharedBudget: sources that are given one budget take turns.
func TestSharedBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, opts := time.Now(), httpx.Options{Budget: budget.New(time.Minute)}
		for range 3 {
			if err := newSource(t, settings("http://x"), opts).client.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := time.Since(began), 2*time.Minute; got != want {
			t.Errorf("three requests took %v, want %v", got, want)
		}
	})
}

// TestTokenIsUrgent: the token that a request of low priority asks for is what
// urgent ones wait for, too.
func TestTokenIsUrgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sim := inBubble(t, apisim.EkuaibaoConfig{}, func(c *Config) { c.Rate = 1. / 60 })
		if err := s.client.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		defer group.Wait()
		group.Go(func() {
			if err := s.client.Wait(budget.With(t.Context(), budget.Settle)); err != nil || sim.Stats().Requests[tokenPath] != 1 {
				t.Errorf("got a turn before the token, %v", err)
			}
		})
		synctest.Wait()
		if _, err := s.tokens.get(budget.With(t.Context(), budget.Rest), secret.String{}); err != nil {
			t.Error(err)
		}
	})
}
