package apisim

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipeClient serves sim in memory and returns a client of it. Both end with the test.
func pipeClient(t *testing.T, sim serving) (c *http.Client, base string) {
	t.Helper()
	l := NewPipeListener()
	c = &http.Client{Transport: &http.Transport{DialContext: l.DialContext}}
	base = sim.Serve(l)
	t.Cleanup(func() {
		c.CloseIdleConnections()
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, base
}

func TestPipeInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		sim := NewEkuaibao(EkuaibaoConfig{AccessToken: fixedToken, Population: Population{Every: time.Minute}})
		c, base := pipeClient(t, sim)
		for hour := range 12 {
			resp, err := get(t, c, ekuaibaoURL(base, "flow", begin, time.Now()))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := len(decode[struct{ Items []any }](t, resp.body).Items), hour*60; got != want {
				t.Errorf("hour %d: got %d rows, want %d", hour, got, want)
			}
			if got, want := resp.header.Get("Date"), time.Now().UTC().Format(http.TimeFormat); got != want {
				t.Errorf("Date: got %q, want %q", got, want)
			}
			time.Sleep(time.Hour)
		}
	})
}

func TestSlowInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := NewEkuaibao(EkuaibaoConfig{AccessToken: fixedToken})
		c, base := pipeClient(t, sim)
		mustAdd(t, sim.Add, Row{ID: "a", Created: noon})
		addr := ekuaibaoURL(base, "flow", noon, noon)
		whole := len(answerAs(t, c, addr))
		begin := time.Now()
		sim.Faults.Queue(Fault{Kind: Slow, Delay: time.Minute, After: 10})
		if got := len(answerAs(t, c, addr)); got != whole {
			t.Errorf("got %d bytes, want %d", got, whole)
		}
		pieces := (whole - len("]}") + 9) / 10
		if got, want := time.Since(begin), time.Duration(1+pieces)*time.Minute; got != want {
			t.Errorf("took %s, want %s", got, want)
		}
		// A reader that gives up ends the answer at once, and Close ends one that does not.
		for _, patience := range []time.Duration{time.Second, time.Hour} {
			sim.Faults.Queue(Fault{Kind: Slow, Delay: 24 * time.Hour})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, addr, nil)
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			if patience == time.Hour {
				time.AfterFunc(time.Minute, func() { _ = sim.Close() })
			}
			if _, err := do(c, req); err == nil || time.Since(begin) > time.Minute {
				t.Errorf("got %v after %s", err, time.Since(begin))
			}
			cancel()
		}
	})
}

func TestCloseEndsHandlersAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := NewSubmail(SubmailConfig{})
		l := NewPipeListener()
		c := &http.Client{Transport: &http.Transport{DialContext: l.DialContext}}
		base := sim.Serve(l)
		ended := false
		sim.Faults.Hook(func(r *http.Request) Fault {
			<-r.Context().Done() // the body is not read: only Close ends it
			time.Sleep(time.Second)
			ended = true
			return Fault{Kind: Slow, Delay: 24 * time.Hour}
		})
		go func() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+SubmailLogPath, strings.NewReader("appid=1"))
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := do(c, req); err == nil {
				t.Error("a request under way was answered after Close")
			}
		}()
		time.Sleep(time.Minute)
		if err := sim.Close(); err != nil || !ended {
			t.Errorf("closed with %v, handler ended: %t", err, ended)
		}
	})
}

func answerAs(t *testing.T, c *http.Client, addr string) string {
	t.Helper()
	resp, err := get(t, c, addr)
	if err != nil {
		t.Fatal(err)
	}
	return resp.body
}

func TestPipeListenerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewPipeListener()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.DialContext(ctx, "tcp", "nobody accepts"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dialing: got %v", err)
		}
		for range 2 {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accepting: got %v", err)
		}
		if _, err := l.DialContext(t.Context(), "tcp", "closed"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("dialing: got %v", err)
		}
	})
}

func TestFaultsOverAPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := NewEkuaibao(EkuaibaoConfig{AccessToken: fixedToken})
		c, base := pipeClient(t, sim)
		mustAdd(t, sim.Add, Row{ID: "a", Created: noon})
		for _, kind := range []FaultKind{Reset, Truncate} {
			for _, after := range []int{0, 20} {
				sim.Faults.Queue(Fault{Kind: kind, After: after})
				if _, err := get(t, c, ekuaibaoURL(base, "flow", noon, noon)); err == nil {
					t.Errorf("%s after %d: no error", kind, after)
				}
				c.CloseIdleConnections()
			}
		}
		wantEqual(t, "served", sim.Served(), nil)
	})
}
