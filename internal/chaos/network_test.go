//go:build unix

package chaos

import (
	"sync"
	"testing"
	"time"

	"connector/internal/testkafka"
)

// TestNetwork lets the way to the broker lose answers, crawl and fall silent.
func TestNetwork(t *testing.T) {
	t.Parallel()
	t.Run("nats", func(t *testing.T) {
		t.Parallel()
		server := startNATS(t)
		front := startProxy(t, listen(t), server.addr())
		p := &place{vars: []string{"CONNECTOR_SINK=nats", "CONNECTOR_DATA_DIR=" + t.TempDir(), "NATS_URL=nats://" + front.addr()}}
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
	n := max(int(modes), kills()/2)    // each kind, twice as a rule
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
				t.Logf("%v, in %.1f s, -chaos.seed=%d", c, time.Since(began).Seconds(), *seedFlag)
			})
		})
	}
	running.Wait()
	front.trouble(n, *seedFlag)
	troubled.Done()
	ended.Wait()
	t.Logf("%d faults: %d bytes of answers lost, %d pieces slowed down, %d connections half-open, which swallowed %d bytes",
		n, front.lost[deaf].Load(), front.delayed.Load(), front.refusals.Load(), front.lost[halfOpen].Load())
}
