//go:build failpoint

package failpoint

import (
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// The variables are taken out of the environment before the program reads its
// configuration, which has none of this name.
var (
	point   = take("CONNECTOR_FAILPOINT")
	want, _ = strconv.ParseInt(take("CONNECTOR_FAILPOINT_HIT"), 10, 64)
	pause   = take("CONNECTOR_FAILPOINT_PAUSE")
	hits    atomic.Int64
)

// pauseTime is long beside what a request to a broker takes.
const pauseTime = time.Second

func take(name string) string {
	value := os.Getenv(name)
	_ = os.Unsetenv(name)
	return value
}

// Hit kills the process when it is time.
func Hit(p Point) {
	if string(p) == pause {
		time.Sleep(pauseTime)
	}
	if string(p) != point {
		return
	}
	if hits.Add(1) == max(want, 1) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until the signal arrives
	}
}
