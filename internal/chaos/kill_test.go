//go:build unix

package chaos

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

	provocation = 300 * time.Millisecond // from one to the next
)

// victim is a connector that is killed.
type victim struct {
	*place
	t    *testing.T
	path string
	rng  *rand.Rand

	seldom    map[failpoint.Point]bool // reached once by a process
	histogram map[string]int           // kills
	left      []failpoint.Point        // not drawn
	starts    int
	refused   int // starts while the server was down
}

func newVictim(t *testing.T, p *place, w *world) *victim {
	v := &victim{
		place: p, t: t, path: program(t, connectorPath), rng: rand.New(rand.NewPCG(*seedFlag, 0)),
		seldom: map[failpoint.Point]bool{}, histogram: map[string]int{},
	}
	v.vars = append(slices.Clone(p.vars), w.vars...)
	return v
}

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
	wait := time.Duration(v.rng.Int64N(int64(longest)))
	for !v.run(noPoint, 1, wait) {
		time.Sleep(50 * time.Millisecond)
	}
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

// led runs a connector after what leads it to a failpoint, and reports whether
// it was killed there.
func (v *victim) led(p failpoint.Point, hit int, wait time.Duration) bool {
	v.t.Helper()
	if lead, ok := v.lead[p]; ok && v.run(lead, 1, patience) {
		v.histogram[string(lead)]++
	}
	if !v.run(p, hit, wait) {
		return false
	}
	v.histogram[string(p)]++
	return true
}

// run starts a connector and reports whether it was killed as asked: at a
// failpoint, or after so long. In any case it has ended.
func (v *victim) run(p failpoint.Point, hit int, wait time.Duration) bool {
	v.t.Helper()
	vars := v.vars
	if p != noPoint {
		vars = append(slices.Clone(vars), "CONNECTOR_FAILPOINT="+string(p), fmt.Sprintf("CONNECTOR_FAILPOINT_HIT=%d", hit),
			"CONNECTOR_FAILPOINT_PAUSE="+string(v.provoke[p].during))
	}
	c := start(v.t, v.path, vars, "run")
	v.starts++
	calm := v.provoked(c, p)
	ended := c.within(wait)
	if !ended {
		c.kill()
	}
	if calm(); !ended {
		return p == noPoint
	}
	v.expect(c)
	return c.killed()
}

// provoked does what leads a connector to a failpoint until the returned
// function is called, when it is dead.
func (v *victim) provoked(c *process, p failpoint.Point) (calm func()) {
	f, ok := v.provoke[p]
	if !ok {
		return func() {}
	}
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-quit:
				return
			case <-time.After(provocation):
			}
			if strings.Contains(c.said(), "msg=running") {
				f.do()
			}
		}
	}()
	return func() {
		close(quit)
		if <-ended; f.undo != nil {
			f.undo()
		}
	}
}

// expect fails the test when a connector ended by itself, but for one that could not reach its server.
func (v *victim) expect(c *process) {
	v.t.Helper()
	switch {
	case c.killed():
	case v.server != nil && c.cmd.ProcessState.ExitCode() == 1 && !strings.Contains(c.said(), "msg=running") &&
		(strings.Contains(c.said(), v.addr) || strings.Contains(c.said(), "connection to NATS lost")):
		v.refused++
	default:
		v.t.Fatalf("the connector ended with %v; it said\n%s", c.cmd.ProcessState, c.said())
	}
}

// live runs a connector that is not killed, calls do once it reads, and stops
// it.
func (v *victim) live(do func()) {
	v.t.Helper()
	c := start(v.t, v.path, v.vars, "run")
	v.starts++
	c.await(v.t, fmt.Sprintf("guarantee=%q", v.promise))
	do()
	c.stop(v.t)
}

// before publishes to stdout for a while and returns that. The place inherits
// the checkpoint, as one does that an earlier version of the program served.
func (v *victim) before() []message {
	v.t.Helper()
	var list []message
	for tries := 0; len(list) == 0; tries++ {
		if tries == 10 {
			v.t.Fatal("nothing was published before")
		}
		c := start(v.t, v.path, append(slices.Clone(v.vars), "CONNECTOR_SINK=stdout"), "run")
		c.ready(v.t)
		time.Sleep(time.Second)
		c.stop(v.t)
		list = parse(v.t, c.stdout.Bytes())
	}
	dir := filepath.Join(v.value("CONNECTOR_DATA_DIR"), "checkpoint")
	if err := os.Rename(filepath.Join(dir, "stdout"), filepath.Join(dir, v.value("CONNECTOR_SINK"))); err != nil {
		v.t.Fatal(err)
	}
	return list
}

// finished reads all the rest and returns what the place then holds.
func (v *victim) finished() []message {
	v.t.Helper()
	finish(v.t, v.path, hang, v.vars, "run", "--once")
	return v.read(v.t)
}

// String gives the figures.
func (v *victim) String() string {
	var b strings.Builder
	total := 0
	for _, n := range v.histogram {
		total += n
	}
	fmt.Fprintf(&b, "%d kills, %d starts", total, v.starts)
	if v.server != nil {
		fmt.Fprintf(&b, " (%d without a server), %d kills of the server", v.refused, v.server.kills)
	}
	for _, at := range slices.Sorted(maps.Keys(v.histogram)) {
		fmt.Fprintf(&b, "\n\t%5d at %s", v.histogram[at], at)
	}
	for _, p := range slices.Sorted(maps.Keys(v.absent)) {
		fmt.Fprintf(&b, "\n\tnone at %s: %s", p, v.absent[p])
	}
	if len(v.left) > 0 {
		fmt.Fprintf(&b, "\n\tnot drawn: %v", v.left)
	}
	return b.String()
}
