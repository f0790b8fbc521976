package submail

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"connector/internal/apisim"
	"connector/internal/config"
	"connector/internal/secret"
	"connector/sources"
	"connector/sources/httpx"
	"connector/sources/sourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const canaryKey = "canary0123456789abcdef"

// noon is when the simulators of these tests stand, in Shanghai too.
var noon = time.Date(2025, 3, 1, 4, 0, 0, 0, time.UTC)

func zone(name string) config.TimeZone {
	var z config.TimeZone
	if err := z.Decode(name); err != nil {
		panic(err)
	}
	return z
}

func settings(base, backup string) Config {
	return Config{
		BaseURL: config.URL(base), BackupURL: config.URL(backup), AppID: "10000", AppKey: secret.New(canaryKey),
		SignType: SignSHA1, Format: FormatJSON, ContentType: ContentForm, Rows: 1000, MinInterval: time.Microsecond,
		TimeZone: zone("Asia/Shanghai"), Common: config.Common{MaxRowBytes: 4 * config.MiB},
	}
}

// leaks reports whether text holds a secret of these tests.
func leaks(text string) bool { return strings.Contains(text, "canary") }

// newSource returns a source whose connections are closed at the end of the test.
func newSource(t *testing.T, cfg Config) *Source {
	t.Helper()
	tr := httpx.NewTransport(nil)
	t.Cleanup(tr.CloseIdleConnections)
	s, err := New("otp", cfg, httpx.Options{Transport: tr, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// answers returns a source whose log calls are answered by h; change adjusts its configuration.
func answers(t *testing.T, change func(*Config), h http.HandlerFunc) *Source {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == stampPath {
			fmt.Fprintf(w, `{"timestamp":%d}`, time.Now().Unix())
			return
		}
		h(w, r)
	}))
	t.Cleanup(srv.Close)
	cfg := settings(srv.URL, srv.URL)
	if change != nil {
		change(&cfg)
	}
	return newSource(t, cfg)
}

func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
}

// read collects a scan.
func read(ctx context.Context, s *Source, w sources.Span) (records []sources.Record, proven sources.Span, err error) {
	for chunk, e := range s.Scan(ctx, s.Streams()[0], w) {
		if e != nil {
			return records, proven, e
		}
		records, proven = append(records, chunk.Records...), chunk.Proven
	}
	return records, proven, nil
}

// seedSpan is what the seed's example answers repeat; a scan that asks for it is a second shorter on each side.
var seedSpan = sources.Span{From: time.Date(2014, 11, 23, 16, 35, 14, 0, time.UTC), To: time.Date(2015, 4, 2, 8, 0, 0, 0, time.UTC)}

func serve(t *testing.T, sim *apisim.Submail) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	return sim.Serve(l)
}

// simulator has a row a second on average, whose times are cut to ties.
func simulator(ties time.Duration) *apisim.Submail {
	return apisim.NewSubmail(apisim.SubmailConfig{
		AppKey: canaryKey, Clock: func() time.Time { return noon },
		Population: apisim.Population{Seed: 1, Start: noon.Add(-time.Hour), Every: time.Second, Change: 0.5, Limit: 1500, Tick: ties, PoisonBytes: 400 << 10},
	})
}

// TestConformance runs the kit on a simulated provider, in both formats.
func TestConformance(t *testing.T) {
	for _, format := range []Format{FormatJSON, FormatXML} {
		t.Run(string(format), func(t *testing.T) {
			for _, err := range sourcetest.Check(t.Context(), conformance(t, format)) {
				t.Error(err)
			}
		})
	}
}

// conformance returns a source in one format and its simulator, which shows
// the data of hours ago, later and later, so that rows appear and change.
func conformance(t *testing.T, format Format) sourcetest.Harness {
	t.Helper()
	began, day := time.Now(), noon.Add(-24*time.Hour)
	clock := func() time.Time { return noon.Add(time.Since(began)) }
	sim := apisim.NewSubmail(apisim.SubmailConfig{
		AppKey: canaryKey, Clock: clock,
		Population: apisim.Population{Seed: 1, Start: day, Every: time.Second, Change: 0.5, Limit: 1500, PoisonBytes: 400 << 10},
	})
	span := sources.Span{From: day, To: day.Add(20 * time.Minute)}
	rows := []apisim.Row{
		{ID: "changing", Created: day.Add(time.Minute), Versions: []apisim.RowVersion{
			{Fields: apisim.Fields{"result_status": "request", "sent_date": ""}},
			{At: noon.Add(-150 * time.Minute), Fields: apisim.Fields{"result_status": "sending"}},
			{At: noon.Add(-90 * time.Minute), Fields: apisim.Fields{"result_status": "delivered"}},
		}},
		{ID: "late", Created: day.Add(time.Minute), Visible: noon.Add(-210 * time.Minute)},
	}
	for i, kind := range []apisim.PoisonKind{apisim.MissingID, apisim.NotObject, apisim.WrongType, apisim.Oversize} {
		rows = append(rows, apisim.Row{ID: fmt.Sprintf("poison-%d", i), Created: day.Add(time.Minute), Poison: kind})
	}
	bulk := strings.Repeat("x", 4<<10)
	for i := range 2300 {
		rows = append(rows, apisim.Row{ID: fmt.Sprint("large-", i), Created: day.Add(2*time.Hour + time.Duration(i)*time.Second), Versions: []apisim.RowVersion{{Fields: apisim.Fields{"message": bulk}}}})
	}
	h := sourcetest.Harness{
		Clock: clock, Stream: "sms", Window: span, Poison: 4, Secrets: []string{"canary"},
		Large: sources.Span{From: day.Add(2 * time.Hour), To: day.Add(3 * time.Hour)},
		IDs:   []string{"changing"},
	}
	for _, v := range sim.Current("sms")[:1190] {
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
		{Name: "truncate", Set: faults(apisim.Fault{Kind: apisim.Truncate, After: 9000})},
		{Name: "cut", Set: faults(apisim.Fault{Kind: apisim.Cut, After: 9000})},
		{Name: "reset", Set: faults(apisim.Fault{Kind: apisim.Reset})},
		{Name: "html", Set: faults(apisim.Fault{Kind: apisim.HTMLPage})},
		{Name: "error", Mark: sourcetest.Fatal, Set: faults(apisim.Fault{Kind: apisim.APIError, Code: "108", Body: "签名 " + canaryKey})},
		{Name: "500", Set: faults(apisim.Fault{Kind: apisim.HTTPStatus, Status: 500, Body: "oops " + canaryKey})},
		{Name: "429", Mark: sourcetest.Throttled, Set: faults(apisim.Fault{Kind: apisim.HTTPStatus, Status: 429, RetryAfter: "7"})},
	}
	h.Hang = faults(apisim.Fault{Kind: apisim.Slow, Delay: time.Minute})

	base := serve(t, sim)
	tr := httpx.NewTransport(nil)
	t.Cleanup(tr.CloseIdleConnections)
	h.Open = func(log *slog.Logger) (sources.Source, error) {
		cfg := settings(base, base)
		cfg.Format, cfg.Rows, cfg.MaxRowBytes = format, 300, 300<<10
		return New("otp", cfg, httpx.Options{Transport: tr, Logger: log, Version: "test"})
	}
	return h
}

// TestBehaviours scans a known population while the provider behaves in each documented way.
func TestBehaviours(t *testing.T) {
	tests := []struct {
		name     string
		ties     time.Duration // rows of so long have one time
		switches apisim.SubmailSwitches
		change   func(*Config)
	}{
		{"plain", time.Second, apisim.SubmailSwitches{}, nil},
		{"count is the total", time.Second, apisim.SubmailSwitches{CountTotal: true}, nil},
		{"ties", 30 * time.Second, apisim.SubmailSwitches{}, nil},
		{"ties in any order", 30 * time.Second, apisim.SubmailSwitches{ShuffleTies: true}, nil},
		{"ties of more than a page", 150 * time.Second, apisim.SubmailSwitches{CountTotal: true}, nil},
		{"BOM and quoted numbers", time.Second, apisim.SubmailSwitches{BOM: true, Quoted: true}, nil},
		{"padded XML", time.Second, apisim.SubmailSwitches{Padded: true}, func(c *Config) { c.Format = FormatXML }},
		{"50 rows whatever is asked, unnoticed", time.Second, apisim.SubmailSwitches{ClampRows: true}, nil},
		{"default number of rows", time.Second, apisim.SubmailSwitches{}, func(c *Config) { c.Rows = 50 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sim := simulator(tt.ties)
			sim.Switches.Set(func(s *apisim.SubmailSwitches) { *s = tt.switches })
			cfg := settings(serve(t, sim), "")
			cfg.Rows, cfg.BackupURL = 100, cfg.BaseURL
			if tt.change != nil {
				tt.change(&cfg)
			}
			span := sources.Span{From: noon.Add(-time.Hour), To: noon.Add(-50 * time.Minute)}
			records, proven, err := read(t.Context(), newSource(t, cfg), span)
			seen, times := map[string]bool{}, map[time.Time]bool{}
			for _, r := range records {
				seen[r.ID], times[r.Created] = r.Fault == nil, true
			}
			if tied := len(times) < len(seen)/10; tied != (tt.ties > time.Second) {
				t.Errorf("%d rows have %d times", len(seen), len(times))
			}
			if err != nil || proven != span || len(seen) < 595 {
				t.Errorf("got %d rows, proven %v, %v", len(seen), proven, err)
			}
			for i, v := range sim.Current("sms") {
				if i < 595 && !seen[v.RecordID] {
					t.Fatalf("row %d, %q, is missing", i, v.RecordID)
				}
			}
		})
	}
}

// inBubble returns a source and its simulator over net.Pipe, for a test in a synctest bubble.
func inBubble(t *testing.T, cfg apisim.SubmailConfig, change func(*Config)) (*Source, *apisim.Submail) {
	t.Helper()
	cfg.AppKey = canaryKey
	cfg.Population = apisim.Population{Seed: 1, Start: time.Now().Add(-time.Hour), Every: time.Minute}
	sim := apisim.NewSubmail(cfg)
	l := apisim.NewPipeListener()
	base := sim.Serve(l)
	tr := httpx.NewTransport(l.DialContext)
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	c := settings(base, base)
	if change != nil {
		change(&c)
	}
	s, err := New("otp", c, httpx.Options{Transport: tr, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return s, sim
}

func httpOptions() httpx.Options {
	return httpx.Options{Transport: http.NewFileTransport(http.Dir("."))}
}
