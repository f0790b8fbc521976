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

// run starts a connector, again when it found no server, and reports whether it
// was killed as asked: at a failpoint, or after so long. In any case it has ended.
func (v *victim) run(p failpoint.Point, hit int, wait time.Duration) bool {
	v.t.Helper()
	for {
		c, ended := v.try(p, hit, wait)
		switch {
		case !ended:
			return p == noPoint
		case c.killed():
			return true
		}
		v.refusal(c)
	}
}

// try starts a connector and returns it dead, and whether it ended by itself.
func (v *victim) try(p failpoint.Point, hit int, wait time.Duration) (c *process, ended bool) {
	v.t.Helper()
	vars := v.vars
	if p != noPoint {
		vars = append(slices.Clone(vars), "CONNECTOR_FAILPOINT="+string(p), fmt.Sprintf("CONNECTOR_FAILPOINT_HIT=%d", hit),
			"CONNECTOR_FAILPOINT_PAUSE="+string(v.provoke[p].during))
	}
	c = start(v.t, v.path, vars, "run")
	v.starts++
	defer v.provoked(c, p)()
	if ended = c.within(wait); !ended {
		c.kill()
	}
	return c, ended
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
		for pause := provocation; ; {
			select {
			case <-quit:
				return
			case <-time.After(pause):
			}
			if strings.Contains(c.said(), "msg=running") {
				f.do()
				pause = min(pause+provocation, provocations)
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

// refusal fails the test unless a connector ended because it could not reach its server.
func (v *victim) refusal(c *process) {
	v.t.Helper()
	noServer := strings.Contains(c.said(), v.addr) || strings.Contains(c.said(), "connection to NATS lost")
	if v.server == nil || c.cmd.ProcessState.ExitCode() != 1 || strings.Contains(c.said(), "msg=running") || !noServer {
		v.t.Fatalf("the connector ended with %v; it said\n%s", c.cmd.ProcessState, c.said())
	}
	v.refused++
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
