//go:build unix

package chaos

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSecondOwner starts one connector after the other on the same streams
// while the earlier one still runs: that one must say who fenced it, and stop.
func TestSecondOwner(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		open    func(*testing.T) *place
		repeats bool // an earlier owner may repeat what it was publishing
	}{
		"nats": {externalNATS, false}, "kafka transactional": {transactionalKafka, false}, "kafka idempotent": {idempotentKafka, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := startWorld(t, *seedFlag)
			v := newVictim(t, tt.open(t), w)
			owner := start(t, v.path, v.vars, "run")
			owner.ready(t)
			takeovers := max(2, kills()/5)
			for range takeovers {
				time.Sleep(time.Duration(v.rng.Int64N(int64(1500 * time.Millisecond))))
				earlier, vars := owner, append(slices.Clone(v.vars), "CONNECTOR_DATA_DIR="+t.TempDir())
				owner = start(t, v.path, vars, "run")
				stops(t, earlier, owner)
				owner.ready(t)
			}
			owner.kill()
			v.live(w.end)
			c := w.truth(t).compare(v.finished())
			t.Logf("%s: %v, %d takeovers", t.Name(), c, takeovers)
			if !tt.repeats || c.lost+c.invented > 0 {
				c.report(t)
			}
		})
	}
}

// stops fails the test unless a connector ends as one does that
// another took over from.
func stops(t *testing.T, c, by *process) {
	t.Helper()
	if !c.within(hang) {
		t.Fatalf("the earlier connector still runs after %v; it said\n%s\nthe other one said\n%s", hang, c.said(), by.said())
	}
	if code := c.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(c.said(), "fenced by ") {
		t.Errorf("the earlier connector ended with code %d, want 1 and who fenced it; it said\n%s", code, c.said())
	}
}
