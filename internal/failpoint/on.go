//go:build failpoint

package failpoint

import (
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
)

var hits atomic.Int64

// Hit kills the process when it is time.
func Hit(p Point) {
	if string(p) != os.Getenv("CONNECTOR_FAILPOINT") {
		return
	}
	want, _ := strconv.ParseInt(os.Getenv("CONNECTOR_FAILPOINT_HIT"), 10, 64)
	if hits.Add(1) == max(want, 1) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until the signal arrives
	}
}
