//go:build unix

package chaos

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"connector/internal/apisim"
	"connector/internal/failpoint"
	"connector/schema"
)

// enoughRetries is at how many failpoints retries are killed at least.
const enoughRetries = 3

// TestRetryKilled kills retries of dead letters at each step of a commit, and
// goes on with what is unresolved: each event and each resolution is there once.
func TestRetryKilled(t *testing.T) {
	t.Parallel()
	for _, p := range places {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			retryKilled(t, p.open(t))
		})
	}
}

func retryKilled(t *testing.T, p *place) {
	path := program(t, connectorPath)
	small := append(slices.Clone(p.vars), largeRows(t)...)
	finish(t, path, hang, small, "run", "--once")
	before := p.read(t)
	vars := append(slices.Clone(small), "HQ_MAX_ROW_BYTES=64KiB", "OTP_MAX_ROW_BYTES=64KiB")
	kills := map[failpoint.Point]bool{}
	for n, point := range retryPoints(p) {
		if *killsFlag <= fewKills && len(kills) == enoughRetries {
			break
		}
		ids := tooLarge(t, path, vars)
		if len(ids) < 4 {
			t.Fatalf("got %d dead letters before failpoint %s, want more", len(ids), point)
		}
		env := append(slices.Clone(vars), "CONNECTOR_FAILPOINT="+string(point))
		c := start(t, path, env, "deadletter", "retry", "--yes", ids[n%2], ids[2])
		if !c.within(hang) {
			c.kill()
			t.Fatalf("a retry does not end; it said\n%s", c.said())
		}
		if c.killed() {
			kills[point] = true
		} else if c.cmd.ProcessState.ExitCode() != 0 {
			t.Fatalf("a retry ended with %v; it said\n%s", c.cmd.ProcessState, c.said())
		}
	}
	reached := slices.DeleteFunc(slices.Clone(p.points), func(at failpoint.Point) bool { return !kills[at] })
	if len(reached) < enoughRetries {
		t.Errorf("killed at %v only", reached)
	}
	finish(t, path, hang, vars, "deadletter", "retry", "--yes", "--class", "too_large")
	finish(t, path, hang, vars, "run", "--once")
	onceEach(t, before, p.read(t))
	t.Logf("%s: killed at %v", t.Name(), reached)
}

// retryPoints returns the failpoints that a retry may come to, in an order that
// is drawn; for a long run each twice.
func retryPoints(p *place) []failpoint.Point {
	points := slices.DeleteFunc(slices.Clone(p.points), func(at failpoint.Point) bool {
		_, provoked := p.provoke[at]
		return provoked || slices.Contains(p.once, at)
	})
	rng := rand.New(rand.NewPCG(*seedFlag, 0))
	rng.Shuffle(len(points), func(i, k int) { points[i], points[k] = points[k], points[i] })
	if *killsFlag > fewKills {
		return slices.Concat(points, points)
	}
	return points
}

// largeRows serves rows of which some are larger than the connector takes, and
// returns variables that lead to them.
func largeRows(t *testing.T) []string {
	population := apisim.Population{Seed: *seedFlag, Start: time.Now().Add(-20 * time.Minute), Every: 4 * time.Second, Limit: 250, Poison: 0.4, PoisonBytes: 6 << 10}
	e, s := apisim.NewEkuaibao(apisim.EkuaibaoConfig{Population: population}), apisim.NewSubmail(apisim.SubmailConfig{Population: population})
	t.Cleanup(func() { _, _ = e.Close(), s.Close() })
	return []string{
		"CONNECTOR_SOURCES=hq=ekuaibao,otp=submail", "CONNECTOR_START=1h", "CONNECTOR_HTTP_ADDR=127.0.0.1:0", "TZ=UTC",
		"HQ_BASE_URL=" + e.Serve(listen(t)), "HQ_APP_KEY=" + apisim.DefaultEkuaibaoKey, "HQ_APP_SECURITY=" + apisim.DefaultEkuaibaoSecurity,
		"HQ_MESSAGE_TYPES=flow,message", "HQ_RATE=1000", "HQ_LAG=0s", "HQ_MAX_ROW_BYTES=4KiB",
		"OTP_BASE_URL=" + s.Serve(listen(t)), "OTP_APP_ID=" + apisim.DefaultSubmailID, "OTP_APP_KEY=" + apisim.DefaultSubmailKey,
		"OTP_MIN_INTERVAL=1ms", "OTP_LAG=1s", "OTP_MAX_ROW_BYTES=4KiB",
	}
}

// tooLarge lists the ids of the unresolved dead letters of rows that were too large.
func tooLarge(t *testing.T, path string, vars []string) (ids []string) {
	for line := range strings.Lines(string(output(t, path, vars, "deadletter", "list", "--class", "too_large", "--output", "json"))) {
		var l struct{ ID string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, l.ID)
	}
	return ids
}

// onceEach wants one event and one resolution for each row that was too large, and else
// what was there before.
func onceEach(t *testing.T, before, after []message) {
	large, resolved, seen := 0, 0, map[string]string{}
	for _, m := range before {
		if m.dead() && m.Data.Class == "too_large" {
			large++
		}
	}
	for _, m := range after {
		if at := seen[m.ID]; at != "" {
			t.Errorf("%s at %s is at %s already", m.Type, m.Position, at)
		}
		seen[m.ID] = m.Position
		if m.Type == schema.ResolutionType {
			resolved++
		}
	}
	if large < 20 || resolved != large || len(after) != len(before)+2*large {
		t.Errorf("got %d messages after %d, %d of them resolutions, want one and one event for each of %d dead letters", len(after), len(before), resolved, large)
	}
}
