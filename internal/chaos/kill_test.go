//go:build unix

package chaos

import (
	"slices"
	"testing"
	"time"

	"connector/internal/failpoint"
)

// places are the sinks whose connector is killed.
var places = []struct {
	name string
	open func(*testing.T) *place
}{
	{"nats embedded", embeddedNATS},
	{"nats server", externalNATS},
	{"kafka idempotent", idempotentKafka},
	{"kafka transactional", transactionalKafka},
	{"file", file},
}

// TestKilled kills the connector again and again, half the times at a step of
// a commit and half the times at any moment, while rows arrive late and change.
func TestKilled(t *testing.T) {
	t.Parallel()
	for _, p := range places {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			killed(t, p.open)
		})
	}
}

func killed(t *testing.T, open func(*testing.T) *place) {
	began := time.Now()
	w := startWorld(t, *seedFlag)
	v := newVictim(t, open(t), w)
	list := v.before()
	v.haunted(func() { v.die(kills()) })
	v.live(w.end)
	c := w.truth(t).compare(append(list, v.finished()...))
	c.report(t)
	t.Logf("%s: %v", t.Name(), c)
	t.Logf("%s: %v, in %.1f s, -chaos.seed=%d", t.Name(), v, time.Since(began).Seconds(), *seedFlag)
}

const (
	anyMoment = "any moment"
	noPoint   = failpoint.Point("")
	patience  = 20 * time.Second // with a failpoint, at first
	several   = 2 * time.Second  // with one that may be reached once only
	attempts  = 4                // to reach one, each more patient, for a machine that is busy
	hang      = 3 * time.Minute  // what takes longer will not end

	provocation  = 300 * time.Millisecond // until the first, and how much longer until each next
	provocations = 4 * time.Second        // from one to the next at most
)

// haunted kills the server of the place as well while do runs.
func (v *victim) haunted(do func()) {
	if v.server == nil {
		do()
		return
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		v.server.haunt(*seedFlag, stop)
	}()
	defer func() { // also when do fails the test
		close(stop)
		<-ended
	}()
	do()
}

// die is killed n times, half of them at failpoints: at all of them when there
// are enough, else at some that are drawn. It fails the test when one of these
// is not reached.
func (v *victim) die(n int) {
	v.t.Helper()
	first, others := v.draw(n / 2)
	for _, p := range first {
		v.at(p)
	}
	for i := range n - len(first) {
		if i < len(others) {
			v.at(others[i])
		}
		if i < n-len(first)-len(others) {
			v.atAnyMoment()
		}
	}
}

// draw returns n failpoints, as often as it takes, those first that only the
// first connector of a place comes to.
func (v *victim) draw(n int) (first, others []failpoint.Point) {
	drawn := slices.DeleteFunc(slices.Clone(v.points), func(p failpoint.Point) bool { return v.absent[p] != "" })
	v.rng.Shuffle(len(drawn), func(i, k int) { drawn[i], drawn[k] = drawn[k], drawn[i] })
	drawn, v.left = drawn[:min(n, len(drawn))], drawn[min(n, len(drawn)):]
	for _, p := range v.points {
		if slices.Contains(v.once, p) && slices.Contains(drawn, p) {
			first = append(first, p)
		}
	}
	drawn = slices.DeleteFunc(drawn, func(p failpoint.Point) bool { return slices.Contains(first, p) })
	for i := 0; len(drawn) > 0 && len(first)+len(others) < n; i++ {
		others = append(others, drawn[i%len(drawn)])
	}
	return first, others
}

// atAnyMoment kills a connector that may still start, or has run for a while.
func (v *victim) atAnyMoment() {
	v.t.Helper()
	longest := []time.Duration{200 * time.Millisecond, 1500 * time.Millisecond}[v.rng.IntN(2)]
	v.run(noPoint, 1, time.Duration(v.rng.Int64N(int64(longest))))
	v.histogram[anyMoment]++
}

// at kills the connector at a failpoint.
func (v *victim) at(p failpoint.Point) {
	v.t.Helper()
	hit := 1
	if _, provoked := v.provoke[p]; !provoked && !v.seldom[p] && !slices.Contains(v.once, p) {
		hit += v.rng.IntN(3)
	}
	if hit > 1 {
		if v.led(p, hit, several) {
			return
		}
		v.seldom[p] = true
	}
	for n := range attempts {
		if v.led(p, 1, time.Duration(n+1)*patience) {
			return
		}
	}
	v.t.Errorf("failpoint %s is not reached", p)
}
