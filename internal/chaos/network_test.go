//go:build unix

package chaos

import (
	"sync"
	"testing"
	"time"

	"connector/internal/testkafka"
	"connector/sinks"
)

// TestNetwork lets the way to the broker lose answers, crawl and fall silent.
func TestNetwork(t *testing.T) {
	t.Parallel()
	t.Run("nats", func(t *testing.T) {
		t.Parallel()
		server := startNATS(t)
		front := startProxy(t, listen(t), server.addr())
		p := &place{promise: sinks.ExactlyOnce, vars: []string{"CONNECTOR_SINK=nats", "CONNECTOR_DATA_DIR=" + t.TempDir(), "NATS_URL=nats://" + front.addr()}}
		troubled(t, front, map[string]*place{"nats": p})
	})
	t.Run("kafka", func(t *testing.T) {
		t.Parallel()
		l, backend := testkafka.Proxied(t)
		front := startProxy(t, l, backend)
		brokers := []string{front.addr()}
		troubled(t, front, map[string]*place{
			"idempotent": kafka(t, "idempotent", brokers), "transactional": kafka(t, "transactional", brokers),
		})
	})
}

// troubled lets connectors publish through a proxy that makes trouble.
func troubled(t *testing.T, front *proxy, at map[string]*place) {
	began := time.Now()
	n := max(int(modes-1), kills()/2)
	var running, troubled, ended sync.WaitGroup
	running.Add(len(at))
	troubled.Add(1)
	for name, p := range at {
		ended.Go(func() {
			t.Run(name, func(t *testing.T) {
				w := startWorld(t, *seedFlag)
				v := newVictim(t, p, w)
				v.live(func() {
					running.Done()
					troubled.Wait()
					w.end()
				})
				c := w.truth(t).compare(v.finished())
				c.report(t)
				t.Logf("%s: %v, in %.1f s, -chaos.seed=%d", t.Name(), c, time.Since(began).Seconds(), *seedFlag)
			})
		})
	}
	running.Wait()
	longest := 500 * time.Millisecond
	if n > 20 {
		longest = 6 * time.Second // beyond the time after which clients give an answer up
	}
	front.trouble(n, longest, *seedFlag)
	troubled.Done()
	ended.Wait()
	t.Logf("%s: %d faults: pieces that were answers lost %d, slow %d, half-open %d", t.Name(), n, front.pieces[deaf].Load(), front.pieces[slow].Load(), front.pieces[halfOpen].Load())
	for m := deaf; m < modes; m++ {
		if front.pieces[m].Load() == 0 {
			t.Errorf("nothing passed while the network was %v", m)
		}
	}
}
