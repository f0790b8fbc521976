package submail

import (
	"context"
	"fmt"
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

// seedSpan is what the documentation's example answers repeat; a scan that asks for it is a second shorter on each side.
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

func smsLog(c *Config) { c.API = APISMSLog }

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
		{"sms/log", time.Second, apisim.SubmailSwitches{}, smsLog},
		{"sms/log, descending", time.Second, apisim.SubmailSwitches{Descending: true}, smsLog},
		{"sms/log, no order", time.Second, apisim.SubmailSwitches{Unordered: true}, smsLog},
		{"sms/log, ties in any order", 30 * time.Second, apisim.SubmailSwitches{ShuffleTies: true}, smsLog},
		{"sms/log, ties of more than a page", 150 * time.Second, apisim.SubmailSwitches{}, smsLog},
		{"sms/log, the same, descending", 150 * time.Second, apisim.SubmailSwitches{Descending: true}, smsLog},
		{"sms/log, BOM and quoted numbers", time.Second, apisim.SubmailSwitches{BOM: true, Quoted: true}, smsLog},
		{"sms/log, padded XML", time.Second, apisim.SubmailSwitches{Padded: true}, func(c *Config) { c.API, c.Format = APISMSLog, FormatXML }},
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
