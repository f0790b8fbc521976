package pigeon

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"connector/internal/config"
	"connector/internal/secret"
	"connector/sources"
	"connector/sources/httpx"
	"connector/sources/pigeon/pigeontest"
	"connector/sources/sourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const key = "canary-key"

// TestConformance runs the kit on a simulated provider.
func TestConformance(t *testing.T) {
	began, noon := time.Now(), time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)
	sim := &pigeontest.Server{Key: key, Clock: func() time.Time { return noon.Add(time.Since(began)) }}
	row := func(id string, at time.Time, state string, attempts int) pigeontest.Row {
		return pigeontest.Row{"id": id, "created": at.Unix(), "state": state, "attempts": attempts, "text": "您好"}
	}
	span := sources.Span{From: noon.Add(-4 * time.Hour), To: noon.Add(-3 * time.Hour)}
	h := sourcetest.Harness{
		Clock: sim.Clock, Stream: "push", Window: span, Poison: 4, Secrets: []string{"canary"},
		Large: sources.Span{From: noon.Add(-2 * time.Hour), To: noon.Add(-time.Hour)},
	}
	for i := range 350 { // three of them in each of the first seconds
		id := fmt.Sprintf("push-%d", i)
		h.IDs = append(h.IDs, id)
		sim.Put(row(id, span.From.Add(time.Duration(i/3)*time.Second), "queued", 0))
	}
	hidden := span.From.Add(time.Minute).Unix()
	sim.Put(
		pigeontest.Row{"created": hidden},
		pigeontest.Row{"id": "later", "created": "tomorrow", "hidden": hidden},
		pigeontest.Row{"id": "huge", "created": hidden, "text": strings.Repeat("x", 100_000)},
		pigeontest.Row{"id": strings.Repeat("x", 600), "created": hidden},
	)
	for i := range 700 {
		large := row(fmt.Sprintf("large-%d", i), h.Large.From.Add(time.Duration(i)*time.Second), "sent", 1)
		large["text"] = strings.Repeat("x", 16<<10)
		sim.Put(large)
	}

	h.Late = func() string { sim.Put(row("late", span.From.Add(time.Second), "queued", 0)); return "late" }
	changes := []string{"queued", "bounced"}
	h.Change = func() string {
		if len(changes) == 0 {
			return ""
		}
		sim.Put(row("push-7", span.From.Add(2*time.Second), changes[0], 3-len(changes)))
		changes = changes[1:]
		return "push-7"
	}
	fails := func(answer http.HandlerFunc) func(bool) {
		return func(on bool) {
			if sim.Fail(answer); !on {
				sim.Fail(nil)
			}
		}
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no "+key, code) }
	}
	text := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
	}
	h.Failures = []sourcetest.Failure{
		{Name: "500", Set: fails(status(500))},
		{Name: "429", Mark: sourcetest.Throttled, Set: fails(status(429))},
		{Name: "401", Mark: sourcetest.Fatal, Set: fails(status(401))},
		{Name: "web page", Set: fails(text("<html>Sign in</html>"))},
		{Name: "other JSON", Set: fails(text(`{"error":"maintenance"}`))},
		{Name: "cut", Set: fails(text(fmt.Sprintf(`{"total":350,"rows":[{"id":"push-0","created":%d,"state":"queued","attempts":0},{"id":"push-1","cre`, span.From.Unix())))},
	}
	h.Hang = fails(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })

	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	transport := httpx.NewTransport(nil)
	t.Cleanup(transport.CloseIdleConnections)
	h.Open = func(log *slog.Logger) (sources.Source, error) {
		cfg := *NewConfig().(*Config)
		cfg.BaseURL, cfg.APIKey, cfg.MinInterval = config.URL(server.URL), secret.New(key), time.Microsecond
		return New("parcels", cfg, httpx.Options{Transport: transport, Logger: log, Version: "test"})
	}
	for _, err := range sourcetest.Check(t.Context(), h) {
		t.Error(err)
	}
}
