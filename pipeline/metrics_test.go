package pipeline_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"connector/pipeline"
	"connector/sinks"
)

// TestPendingCommit has a sink that tries one commit for an hour, and tells nobody.
func TestPendingCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		opts := options(&provider{streams: []string{"s"}, rows: map[string][]row{"s": {{id: "a", created: at(-time.Minute)}}}}, &memory{fail: func(n int, _ sinks.Commit) error {
			if n == 2 {
				time.Sleep(time.Hour)
			}
			return nil
		}})
		opts.Metrics = pipeline.NewMetrics(registry)
		done := make(chan error, 1)
		go func() { done <- runFor(t, opts, 2*time.Hour) }()
		time.Sleep(30 * time.Minute)
		if got := gauge(t, registry, "connector_commit_pending_seconds"); got < 1700 || got > 1800 {
			t.Errorf("after half an hour: got %v s, want about 1800", got)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if got := gauge(t, registry, "connector_commit_pending_seconds"); got != 0 {
			t.Errorf("without a commit: got %v s", got)
		}
	})
}

// gauge returns the value of a gauge without labels.
func gauge(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}
