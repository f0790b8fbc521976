package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"connector/internal/apisim"
	"connector/internal/config"
)

// TestDemoEndsInTrouble ends a demo while many readings are cut short: what
// those were given must be read again, and arrive, before it is counted.
func TestDemoEndsInTrouble(t *testing.T) {
	t.Parallel()
	p, err := simulate()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	cfg, err := config.Load(p.settings(t.TempDir()), configCatalog())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	context.AfterFunc(ctx, func() {
		p.ekuaibao.Faults.Random(1, 0.2, apisim.Fault{Kind: apisim.HTTPStatus, Status: 503})
	})
	var stdout, stderr buffer
	ended := make(chan error, 1)
	go func() {
		ended <- demoPipeline(ctx, cfg, environment{stdout: &stdout, stderr: &stderr, connections: new(connections)}, p, 0)
	}()
	awaitText(t, &stdout, "ekuaibao/flow", "submail/sms")
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("got %v, want nil; stdout:\n%s\nstderr:\n%s", err, stdout.String(), stderr.String())
	}
}

func TestDrainAwaitsWhatWasServed(t *testing.T) {
	missing := []tally{{missing: 2}, {missing: 1, dead: 1, poisoned: 1}, {dead: 1, poisoned: 2}}
	for name, tt := range map[string]struct {
		counts []tally // the last again and again
		calls  int     // at least
		took   time.Duration
	}{
		"all there":     {[]tally{{dead: 2, poisoned: 2}}, 1, 0},
		"after a while": {append(missing, tally{dead: 2, poisoned: 2}), 4, 3 * drainTime / 300},
		"never":         {missing, 300, drainTime},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &providers{ekuaibao: apisim.NewEkuaibao(apisim.EkuaibaoConfig{}), submail: apisim.NewSubmail(apisim.SubmailConfig{})}
				began, calls := time.Now(), 0
				p.drain(t.Context(), func(context.Context) (tally, error) {
					calls++
					return tt.counts[min(calls, len(tt.counts))-1], nil
				})
				if took := time.Since(began); calls < tt.calls || took != tt.took {
					t.Errorf("got %d counts in %v, want %d in %v", calls, took, tt.calls, tt.took)
				}
			})
		})
	}
}
