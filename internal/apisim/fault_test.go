package apisim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// threeRows returns a simulator with three placed rows.
func threeRows(t *testing.T) (sim *Ekuaibao, addr string) {
	t.Helper()
	sim, base := newEkuaibao(t, EkuaibaoConfig{Switches: EkuaibaoSwitches{Order: OldestFirst}})
	for i := range 3 {
		mustAdd(t, sim.Add, Row{ID: fmt.Sprint(i), Created: noon.Add(time.Duration(i-5) * time.Second)})
	}
	return sim, ekuaibaoURL(base, "flow", noon.Add(-time.Minute), noon)
}

func TestFaultsWithoutRows(t *testing.T) {
	sim, addr := threeRows(t)
	for _, tt := range []struct {
		fault  Fault
		status int
		body   string
	}{
		{Fault{Kind: HTTPStatus, Status: 502, Body: "bad gateway"}, 502, "bad gateway"},
		{Fault{Kind: HTTPStatus}, 500, ""},
		{Fault{Kind: HTTPStatus, Status: 429, RetryAfter: "17"}, 429, ""},
		{Fault{Kind: HTMLPage}, 200, "<!DOCTYPE html>"},
		{Fault{Kind: APIError, Code: "403", Body: "no"}, 200, `"errorCode":403`},
		{Fault{Kind: Cut, After: 20}, 200, `{"items":[{"state":"`},
		{Fault{Kind: Cut}, 200, ""},
	} {
		sim.Faults.Queue(tt.fault)
		resp, err := get(t, http.DefaultClient, addr)
		if err != nil {
			t.Fatalf("%v: %v", tt.fault, err)
		}
		if resp.status != tt.status || !strings.Contains(resp.body, tt.body) || tt.body == "" && resp.body != "" {
			t.Errorf("%v: got %d %q, want %d %q", tt.fault, resp.status, resp.body, tt.status, tt.body)
		}
		if got := resp.header.Get("Retry-After"); got != tt.fault.RetryAfter {
			t.Errorf("Retry-After: got %q, want %q", got, tt.fault.RetryAfter)
		}
	}
	wantEqual(t, "served", sim.Served(), nil)
	if got := sim.Stats(); got.Requests[EkuaibaoLogPath] != 7 || got.Answers != 0 || got.Rows != 0 || got.Faults[HTTPStatus] != 3 || got.Faults[Cut] != 2 {
		t.Errorf("got %+v", got)
	}
}

func TestRedirect(t *testing.T) {
	sim, addr := threeRows(t)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, f := range []Fault{{Kind: Redirect, Location: "/moved"}, {Kind: Redirect, Status: 308, Location: "https://elsewhere.example/x"}} {
		sim.Faults.Queue(f)
		resp, err := get(t, client, addr)
		if err != nil || resp.status != cmp.Or(f.Status, 302) || resp.header.Get("Location") != f.Location {
			t.Errorf("%v: got %v, %v", f, resp, err)
		}
	}
}

func TestDrip(t *testing.T) {
	sim, addr := threeRows(t)
	sim.Faults.Queue(Fault{Kind: Drip, Delay: time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, addr, nil)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 20)
	if _, err := io.ReadFull(resp.Body, head); err != nil || strings.TrimSpace(string(head)) != "" {
		t.Errorf("got %q, %v, want spaces", head, err)
	}
	cancel()
	_ = resp.Body.Close()
	if err := sim.Close(); err != nil { // waits for the handler
		t.Error(err)
	}
	wantEqual(t, "served", sim.Served(), nil)
}

func TestGzip(t *testing.T) {
	sim, addr := threeRows(t)
	plain := answerBody(t, addr)
	sim.Gzip.Store(true)
	for name, encoding := range map[string]string{"gzip": "gzip", "identity": ""} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, addr, nil)
		req.Header.Set("Accept-Encoding", name)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header.Get("Content-Encoding"); got != encoding {
			t.Errorf("%s: got Content-Encoding %q, want %q", name, got, encoding)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	if got := answerBody(t, addr); got != plain {
		t.Errorf("got %q, want %q", got, plain)
	}
	if got, want := sim.Stats().Answers, 4; got != want {
		t.Errorf("got %d complete answers, want %d", got, want)
	}
	sim.Faults.Queue(Fault{Kind: Truncate, After: 100})
	if resp, err := get(t, http.DefaultClient, addr); !errors.Is(err, io.ErrUnexpectedEOF) || resp.body != plain[:100] {
		t.Errorf("cut: got %q, %v, want 100 bytes and an unexpected EOF", resp.body, err)
	}
}

func TestBrokenConnections(t *testing.T) {
	sim, addr := threeRows(t)
	whole := len(answerBody(t, addr))
	before := sim.Stats().Answers
	for _, after := range []int{0, 1, 40, whole - 1, whole, whole + 1} {
		for kind, want := range map[FaultKind]error{Truncate: io.ErrUnexpectedEOF, Reset: syscall.ECONNRESET} {
			sim.Faults.Queue(Fault{Kind: kind, After: after})
			client := &http.Client{Transport: &http.Transport{}} // a used connection would be retried
			resp, err := get(t, client, addr)
			client.CloseIdleConnections()
			// A reset may overtake the data; and then a client sees what was written or less.
			if !errors.Is(err, want) || len(resp.body) > after || kind == Truncate && len(resp.body) != min(after, whole) {
				t.Errorf("%s after %d: got %d bytes, %v, want %v", kind, after, len(resp.body), err, want)
			}
		}
	}
	if got := sim.Stats().Answers; got != before {
		t.Errorf("%d broken answers were logged as complete", got-before)
	}
}

func answerBody(t *testing.T, addr string) string {
	t.Helper()
	resp, err := get(t, http.DefaultClient, addr)
	if err != nil {
		t.Fatal(err)
	}
	return resp.body
}

func TestCutAtTheVeryEnd(t *testing.T) {
	sim, addr := threeRows(t)
	whole := answerBody(t, addr)
	for missing, want := range []int{2, 1, 1} { // after the first answer above
		sim.Faults.Queue(Fault{Kind: Cut, After: len(whole) - missing})
		if got := answerBody(t, addr); got != whole[:len(whole)-missing] {
			t.Errorf("cut %d: got %q", missing, got)
		}
		if missing > 0 {
			want = 2
		}
		if got := sim.Stats().Answers; got != want {
			t.Errorf("cut %d: got %d complete answers, want %d", missing, got, want)
		}
	}
}

func TestAbandonedAnswerIsNotServed(t *testing.T) {
	sim, addr := threeRows(t)
	sim.Faults.Queue(Fault{Kind: Slow, Delay: time.Hour, After: 50})
	asking, abandon := context.WithCancel(t.Context())
	go func() {
		for sim.Stats().Faults[Slow] == 0 {
			time.Sleep(time.Millisecond)
		}
		abandon()
	}()
	req, err := http.NewRequestWithContext(asking, http.MethodGet, addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := do(http.DefaultClient, req); err == nil {
		t.Error("an abandoned answer came")
	}
	if err := sim.Close(); err != nil { // waits for the handler
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	sim.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, addr, nil))
	sim.ServeHTTP(brokenWriter{httptest.NewRecorder()}, httptest.NewRequestWithContext(t.Context(), http.MethodGet, addr, nil))
	wantEqual(t, "served", sim.Served(), nil)
}

// brokenWriter is a connection that fails when the answer is sent.
type brokenWriter struct{ *httptest.ResponseRecorder }

func (brokenWriter) FlushError() error { return syscall.EPIPE }

func TestHookSeesEveryRequest(t *testing.T) {
	sim, addr := threeRows(t)
	sim.Faults.Queue(Fault{Kind: HTTPStatus, Status: 503})
	sim.Faults.Hook(func(r *http.Request) Fault {
		if r.URL.Path == EkuaibaoTokenPath {
			return Fault{Kind: HTTPStatus, Status: 504}
		}
		return Fault{}
	})
	base, _, _ := strings.Cut(addr, EkuaibaoLogPath)
	if got, _, _ := login(t, base, "", ""); got != 504 {
		t.Errorf("hook: got %d", got)
	}
	sim.Faults.Hook(nil)
	if got, _, _ := login(t, base, DefaultEkuaibaoKey, DefaultEkuaibaoSecurity); got != 200 {
		t.Errorf("token call took a queued fault: got %d", got)
	}
	for _, want := range []int{503, 200} {
		resp, err := get(t, http.DefaultClient, addr)
		if err != nil || resp.status != want {
			t.Errorf("got %v, %v, want %d", resp, err, want)
		}
	}
}

func TestRandomFaultsAreSeeded(t *testing.T) {
	draw := func(seed uint64) (fails string) {
		var f Faults
		f.Random(seed, 0.5, Fault{Kind: HTMLPage}, Fault{Kind: Cut})
		for range 64 {
			fails += string(f.next(nil, true).Kind) + ","
		}
		return fails
	}
	if again := draw(1); again != draw(1) {
		t.Error("the same seed gives other faults")
	}
	if draw(1) == draw(2) {
		t.Error("another seed gives the same faults")
	}
	for _, want := range []string{",,", string(HTMLPage), string(Cut)} {
		if !strings.Contains(draw(1), want) {
			t.Errorf("no %q among %s", want, draw(1))
		}
	}
}

func TestStaleAnswerOvertaken(t *testing.T) {
	sim, base := newSubmail(t, SubmailConfig{})
	mustAdd(t, sim.Add, Row{ID: "a", Created: noon.Add(-time.Minute), Versions: []RowVersion{
		{Fields: Fields{"result_status": "request"}},
		{At: noon.Add(-30 * time.Second), Fields: Fields{"result_status": "sending"}},
		{At: noon.Add(-10 * time.Second), Fields: Fields{"result_status": "delivered"}},
	}})
	status := func() any { return readPage(t, base, nil).Results[0]["result_status"] }
	for _, tt := range []struct {
		ago  time.Duration
		want string
	}{{40, "request"}, {0, "delivered"}, {40, "request"}, {20, "sending"}, {20, "sending"}} {
		sim.Faults.Queue(Fault{Kind: Stale, Delay: tt.ago * time.Second})
		if got := status(); got != tt.want {
			t.Errorf("%d s ago: got %v, want %s", tt.ago, got, tt.want)
		}
	}
	wantEqual(t, "served", versions(sim.Served()), []string{"a@request", "a@delivered"})
	wantEqual(t, "overtaken", versions(sim.Overtaken()), []string{"a@sending"})
}

func TestSubmailAPIError(t *testing.T) {
	sim, base := newSubmail(t, SubmailConfig{})
	sim.Faults.Queue(Fault{Kind: APIError, Code: "105", Body: "This account is expired"})
	body, err := post(t, base+SubmailLogPath+".xml", nil)
	if err != nil || !strings.Contains(body, "<code> 105 </code>") {
		t.Errorf("got %q, %v", body, err)
	}
}

func TestConcurrentReaders(t *testing.T) {
	clock, set := stopped(noon)
	sim, base := newEkuaibao(t, EkuaibaoConfig{Clock: clock, Population: Population{
		Seed: 3, Start: noon.Add(-time.Minute), Every: 100 * time.Millisecond, Change: 0.5, Late: 0.2, MaxChange: time.Minute,
	}})
	sim.Faults.Random(1, 0.2, Fault{Kind: Cut, After: 10}, Fault{Kind: Truncate, After: 1000}, Fault{Kind: HTTPStatus})
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 15 {
				addr := ekuaibaoURL(base, MessageTypes()[i%6], noon.Add(-time.Minute), noon)
				if resp, err := http.Get(addr); err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
				if worker == 0 {
					set(noon.Add(time.Duration(i) * time.Second))
					mustAdd(t, sim.Add, Row{ID: strconv.Itoa(i), Created: noon.Add(time.Duration(-i) * time.Second)})
				}
			}
		})
	}
	wg.Wait()
	seen := map[Version]bool{}
	for _, v := range append(sim.Served(), sim.Overtaken()...) {
		if seen[v] {
			t.Errorf("%v is listed twice", v)
		}
		seen[v] = true
	}
	if got := sim.Stats(); got.Answers+got.Faults[Cut]+got.Faults[Truncate]+got.Faults[HTTPStatus] != got.Requests[EkuaibaoLogPath] {
		t.Errorf("answers and faults do not add up: %+v", got)
	}
}
