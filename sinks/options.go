package sinks

import (
	"log/slog"

	checkpointfile "connector/checkpoint/file"
)

// Options are what every sink is opened with, beside its own section of the
// configuration.
type Options struct {
	Owner   string                 // names this process in the fence
	Store   OpenStore              // opens the checkpoint beside a sink that cannot keep its own
	Earlier checkpointfile.Earlier // to be imported into a sink that keeps its own and has none yet
	New     bool                   // begin a new checkpoint although the sink holds events
	Log     *slog.Logger
}
