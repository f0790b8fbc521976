package pipeline_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"connector/internal/fault"
	"connector/pipeline"
)

// outage is a pipeline of two accounts of which one fails.
type outage struct {
	began     time.Time
	bad, good *provider
	pipe      *pipeline.Pipeline
	registry  *prometheus.Registry
	log       bytes.Buffer
}

func newOutage(fail func(string, int) error) *outage {
	o := &outage{began: time.Now(), bad: &provider{streams: []string{"s", "t"}, fail: fail}, good: &provider{streams: []string{"s"}}, registry: prometheus.NewRegistry()}
	opts := options(o.bad, &memory{})
	healthy := opts.Accounts[0]
	healthy.Name, healthy.Source = "b", o.good
	opts.Accounts = append(opts.Accounts, healthy)
	opts.Metrics = pipeline.NewMetrics(o.registry)
	opts.Log = slog.New(slog.NewTextHandler(&o.log, nil))
	o.pipe = pipeline.New(opts)
	return o
}

// pauses returns the time between the scans of a stream.
func pauses(scans []scan) (list []time.Duration) {
	for i := 1; i < len(scans); i++ {
		list = append(list, scans[i].at.Sub(scans[i-1].at))
	}
	return list
}

// errors returns the sum of connector_read_errors_total.
func (o *outage) errors(t *testing.T) (sum float64) {
	t.Helper()
	families, err := o.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "connector_read_errors_total" {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// TestOutage: a provider that fails is tried without end, with jitter, and is
// seen in the log, the metrics and the status; another account notices nothing.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lasts = 6 * time.Hour
		began := time.Now()
		o := newOutage(func(string, int) error {
			if time.Since(began) < lasts {
				return errTransient
			}
			return nil
		})
		done := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), lasts+time.Hour)
		defer cancel()
		go func() { done <- o.pipe.Run(ctx) }()

		time.Sleep(lasts - time.Second)
		synctest.Wait()
		scans := o.bad.of("s")
		waits := pauses(scans)
		short, distinct := 0, map[time.Duration]bool{}
		for _, w := range waits[10:] {
			distinct[w] = true
			if w > 91*time.Second {
				t.Errorf("a pause of %v, want at most a minute and a half", w)
			}
			if w < 20*time.Second {
				short++
			}
		}
		if len(waits) < 250 || len(distinct) < len(waits)/2 || short > 0 {
			t.Errorf("got %d pauses, %d distinct, %d below 20s, want one in about a minute, jittered", len(waits), len(distinct), short)
		}
		if got := len(o.good.of("s")); got < 2000 {
			t.Errorf("the other account was read %d times in 6 hours, want every 10 seconds", got)
		}
		lines := strings.Count(o.log.String(), "reading stopped")
		if lines < 2*6*5 || lines > 2*6*13 {
			t.Errorf("got %d lines in 6 hours of two streams, want about one in five minutes of each:\n%.2000s", lines, o.log.String())
		}
		if got := o.errors(t); got < 500 {
			t.Errorf("connector_read_errors_total: got %v", got)
		}
		for _, s := range o.pipe.Streams() {
			failing := s.Source.Account == "a"
			if s.Stopped || (s.Error != "") != failing || s.Failing.IsZero() == failing || failing && s.Failing.Sub(began) > time.Minute {
				t.Errorf("status: got %+v, want failing %v since %v", s, failing, began)
			}
		}

		time.Sleep(10 * time.Minute) // it works again
		synctest.Wait()
		if got := strings.Count(o.log.String(), "reading works again"); got != 2 {
			t.Errorf("got %d lines that it works again, want one of each stream", got)
		}
		for _, s := range o.pipe.Streams() {
			if s.Error != "" || !s.Failing.IsZero() {
				t.Errorf("status after the outage: got %+v", s)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestThrottleIsTheAccounts: who asks for fewer requests holds up no other credential.
func TestThrottleIsTheAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutage(func(string, int) error { return fault.Throttled(10*time.Minute, errTransient) })
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		if err := o.pipe.Run(ctx); err != nil {
			t.Fatal(err)
		}
		for _, w := range pauses(o.bad.of("s")) {
			if w < 10*time.Minute {
				t.Errorf("asked again after %v, want 10m or more", w)
			}
		}
		for i, w := range pauses(o.good.of("s")) {
			if i > 0 && w > 11*time.Second {
				t.Errorf("the other credential waited %v, want its interval of 10s", w)
			}
		}
	})
}

// TestReadyBesideAFailingStream: an account of which one stream fails works all the time.
func TestReadyBesideAFailingStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"bad", "good"}, fail: func(s string, n int) error {
			if s == "bad" && n > 3 {
				return errTransient
			}
			return nil
		}}
		pipe := pipeline.New(options(p, &memory{}))
		done := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		go func() { done <- pipe.Run(ctx) }()
		time.Sleep(10 * time.Second)
		for range 30 * 60 * 4 {
			if time.Sleep(time.Second / 4); !pipe.Ready() {
				t.Fatal("not ready")
			}
		}
		p.failWith(func(string, int) error { return errTransient })
		time.Sleep(5 * time.Minute)
		if pipe.Ready() {
			t.Error("ready although no stream is answered")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
