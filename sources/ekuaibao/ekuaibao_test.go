package ekuaibao

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"go.uber.org/goleak"

	"connector/internal/apisim"
	"connector/internal/config"
	"connector/internal/secret"
	"connector/schema"
	"connector/sources"
	"connector/sources/httpx"
	"connector/sources/sourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "rewrite the golden files")

const (
	canaryKey      = "canary-app-key"
	canarySecurity = "canary-app-security"
	canaryToken    = "canary:fixed_token"
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
			fmt.Fprint(w, `{"value":{"accessToken":"canary:dynamic_token","expireTime":99999999999999,"corporationId":"c"}}`)
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

// window is around the seed's row.
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

func TestGolden(t *testing.T) {
	seed, err := os.ReadFile("testdata/seed.json")
	if err != nil {
		t.Fatal(err)
	}
	s := answers(t, text(string(seed)))
	records, proven, err := read(t.Context(), s, flow(s), window)
	if err != nil || len(records) != 1 || proven != window {
		t.Fatalf("got %d records, proven %v, %v", len(records), proven, err)
	}
	e, err := s.Normalize(flow(s), records[0])
	if err != nil {
		t.Fatal(err)
	}
	e.Record.Revision, e.ObservedAt = 1, time.UnixMilli(1505372620000).UTC()
	m, err := e.Message()
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(m.Body); err != nil {
		t.Error(err)
	}
	got := jsontext.Value(m.Body)
	if err := got.Indent(); err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	const golden = "testdata/seed.event.json"
	if *update {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("event of the seed's example, %v:\n got %s\nwant %s", err, got, want)
	}
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

// TestConformance runs the kit on a simulated provider. It shows the data of
// hours ago, later and later, so that rows appear and change.
func TestConformance(t *testing.T) {
	began, noon := time.Now(), time.Date(2025, 3, 1, 4, 0, 0, 0, time.UTC)
	clock := func() time.Time { return noon.Add(time.Since(began)) }
	day := noon.Add(-24 * time.Hour)
	sim := apisim.NewEkuaibao(apisim.EkuaibaoConfig{
		AppKey: canaryKey, AppSecurity: canarySecurity, Clock: clock,
		Population: apisim.Population{Seed: 1, Start: day, Every: 3 * time.Second, Limit: 1000, Change: 0.5, PoisonBytes: 400 << 10},
	})
	span := sources.Span{From: day, To: day.Add(45 * time.Minute)}
	rows := []apisim.Row{
		{ID: "changing", Created: day.Add(time.Minute), Versions: []apisim.RowVersion{{}, {At: noon.Add(-150 * time.Minute)}, {At: noon.Add(-90 * time.Minute), Fields: apisim.Fields{"state": "SUCCESS"}}}},
		{ID: "late", Created: day.Add(time.Minute), Visible: noon.Add(-210 * time.Minute)},
	}
	for i, kind := range []apisim.PoisonKind{apisim.MissingID, apisim.NotObject, apisim.WrongType, apisim.Oversize} {
		rows = append(rows, apisim.Row{ID: fmt.Sprintf("poison-%d", i), Created: span.To.Add(-time.Minute), Poison: kind})
	}
	bulk := strings.Repeat("x", 64<<10)
	for i := range 150 {
		rows = append(rows, apisim.Row{ID: fmt.Sprint("large-", i), Created: day.Add(2*time.Hour + time.Duration(i)*time.Second), Versions: []apisim.RowVersion{{Fields: apisim.Fields{"request": bulk}}}})
	}
	h := sourcetest.Harness{
		Clock: clock, Stream: "flow", Window: span, Poison: 4, Secrets: []string{"canary", "%3A"}, // the colon of an access token in a URL
		Large: sources.Span{From: day.Add(2 * time.Hour), To: day.Add(3 * time.Hour)},
		IDs:   []string{"changing"},
	}
	for _, v := range sim.Current("flow")[:890] {
		h.IDs = append(h.IDs, v.RecordID)
	}
	if err := sim.Add(rows...); err != nil {
		t.Fatal(err)
	}
	age := 4 * time.Hour
	show := func(f apisim.Fault) { sim.Faults.Random(1, 1, f) }
	older := func() { show(apisim.Fault{Kind: apisim.Stale, Delay: age}) }
	newer := func() { age -= time.Hour; older() }
	older()
	faults := func(f apisim.Fault) func(bool) {
		return func(on bool) {
			if show(f); !on {
				older()
			}
		}
	}
	h.Late = func() string { newer(); return "late" }
	h.Change = func() string {
		if newer(); age < time.Hour {
			return ""
		}
		return "changing"
	}
	h.Failures = []sourcetest.Failure{
		{Name: "truncate", Set: faults(apisim.Fault{Kind: apisim.Truncate, After: 400_000})},
		{Name: "cut", Set: faults(apisim.Fault{Kind: apisim.Cut, After: 400_000})},
		{Name: "reset", Set: faults(apisim.Fault{Kind: apisim.Reset})},
		{Name: "html", Set: faults(apisim.Fault{Kind: apisim.HTMLPage})},
		{Name: "error", Set: faults(apisim.Fault{Kind: apisim.APIError, Code: "500", Body: "错误"})},
		{Name: "500", Set: faults(apisim.Fault{Kind: apisim.HTTPStatus, Status: 500, Body: "oops"})},
		{Name: "429", Mark: sourcetest.Throttled, Set: faults(apisim.Fault{Kind: apisim.HTTPStatus, Status: 429, RetryAfter: "7"})},
	}
	h.Hang = faults(apisim.Fault{Kind: apisim.Slow, Delay: time.Minute})

	base := serve(t, sim)
	tr := httpx.NewTransport(nil)
	t.Cleanup(tr.CloseIdleConnections)
	h.Open = func(log *slog.Logger) (sources.Source, error) {
		cfg := settings(base)
		cfg.MaxRowBytes = 300 << 10
		return New("hq", cfg, httpx.Options{Transport: tr, Logger: log, Version: "test"})
	}
	for _, err := range sourcetest.Check(t.Context(), h) {
		t.Error(err)
	}
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
