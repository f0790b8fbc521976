package ekuaibao

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"connector/internal/apisim"
	"connector/internal/config"
	"connector/internal/secret"
	"connector/sources"
	"connector/sources/httpx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	canaryKey      = "canary-app-key"
	canarySecurity = "canary-app-security"
	canaryToken    = "canary:fixed_token"
	dynamicToken   = "canary:dynamic_token"
)

func settings(base string) Config {
	return Config{
		BaseURL: config.URL(base), AppKey: secret.New(canaryKey), AppSecurity: secret.New(canarySecurity),
		MessageTypes: apisim.MessageTypes(), Rate: 1000, Common: config.Common{MaxRowBytes: 4 * config.MiB},
	}
}

func flow(s *Source) sources.Stream {
	for _, st := range s.Streams() {
		if st.Name == "flow" {
			return st
		}
	}
	return sources.Stream{}
}

// newSource returns a source whose connections are closed at the end of the test.
func newSource(t *testing.T, cfg Config, opts httpx.Options) *Source {
	t.Helper()
	tr := httpx.NewTransport(nil)
	t.Cleanup(tr.CloseIdleConnections)
	if opts.Transport == nil {
		opts.Transport = tr
	}
	opts.Version = "test"
	s, err := New("hq", cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// answers returns a source whose log calls are answered by h, and token calls with a token.
func answers(t *testing.T, h http.HandlerFunc) *Source {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == tokenPath {
			fmt.Fprint(w, `{"value":{"accessToken":"`+dynamicToken+`","expireTime":99999999999999,"corporationId":"c"}}`)
			return
		}
		h(w, r)
	}))
	t.Cleanup(srv.Close)
	return newSource(t, settings(srv.URL), httpx.Options{})
}

// text answers every request with body, but those for a part of window with no rows.
func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		from, _ := strconv.ParseInt(r.FormValue("startDate"), 10, 64)
		to, err := strconv.ParseInt(r.FormValue("endDate"), 10, 64)
		if err == nil && to-from < window.To.Sub(window.From).Milliseconds()+2 {
			fmt.Fprint(w, `{"items":[]}`)
			return
		}
		fmt.Fprint(w, body)
	}
}

// leaks reports whether text holds a secret of these tests.
func leaks(text string) bool { return strings.Contains(text, "canary") }

// window is around the row of the documentation's example.
var window = sources.Span{From: time.UnixMilli(1505372614000), To: time.UnixMilli(1505372615000)}

// read collects a scan.
func read(ctx context.Context, s *Source, st sources.Stream, w sources.Span) (records []sources.Record, proven sources.Span, err error) {
	for chunk, e := range s.Scan(ctx, st, w) {
		if e != nil {
			return records, proven, e
		}
		records, proven = append(records, chunk.Records...), chunk.Proven
	}
	return records, proven, nil
}

func TestRequest(t *testing.T) {
	got := make(chan *http.Request, 1)
	s := answers(t, func(w http.ResponseWriter, r *http.Request) { got <- r; fmt.Fprint(w, `{"items":[]}`) })
	if _, _, err := read(t.Context(), s, flow(s), window); err != nil {
		t.Fatal(err)
	}
	r := <-got
	want := "accessToken=canary%3Adynamic_token&endDate=1505372615001&messageType=flow&startDate=1505372613999"
	if r.Method != http.MethodGet || r.URL.Path != logPath || r.URL.RawQuery != want {
		t.Errorf("got %s %s?%s, want query %s", r.Method, r.URL.Path, r.URL.RawQuery, want)
	}
}

func serve(t *testing.T, sim *apisim.Ekuaibao) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	return sim.Serve(l)
}

func TestStreams(t *testing.T) {
	s := newSource(t, settings("http://x"), httpx.Options{})
	var got []string
	for _, st := range s.Streams() {
		got = append(got, st.Name)
		if st.Tick != time.Millisecond || st.MaxWindow != time.Hour || st.Filters != "" {
			t.Errorf("got %+v", st)
		}
	}
	if !slices.Equal(got, apisim.MessageTypes()) {
		t.Errorf("got %v, want the configured message types", got)
	}
}

// FuzzRecord checks that any row becomes an event that keeps the schema, or a rejected record, and never panics.
