// Command connector reads delivery logs that providers expose only by polling
// and publishes each row version to NATS or Kafka.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"
	_ "time/tzdata" // account time zones work in an image without zone files
)

// version is stamped by the build.
var version = "dev"

// gcPercent is how far the heap may grow beyond what is in use before it is
// collected. Half of Go's default saves a quarter of the memory; rows pass
// through, so little is in use, and collecting it more often takes about one
// percent of a processor more.
const gcPercent = 50

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	endAtNext(ctx, stop)
	code := run(ctx, os.Args[1:], environment{vars: os.Environ(), stdin: os.Stdin, stdout: os.Stdout, stderr: &console{file: os.Stderr}})
	stop()
	os.Exit(code)
}

// oneStop is how long more signals say the same as the first: timeout(1), and
// whoever signals a process and then its group, send two at once.
const oneStop = time.Second

// endAtNext lets the next signal end the process at once, by stop, when one that
// ended ctx is a moment ago.
func endAtNext(ctx context.Context, stop func()) {
	context.AfterFunc(ctx, func() { time.AfterFunc(oneStop, stop) })
}
