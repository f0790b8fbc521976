package failpoint

// The steps of the NATS sink that commits events and state as one.
const (
	NATSImportWritten Point = "nats-import-written" // part of an earlier checkpoint is stored, and no fence
	NATSImported      Point = "nats-imported"       // all of an earlier checkpoint is stored; its file is not renamed yet
	NATSTakeover      Point = "nats-takeover"       // the earlier owner's fence was read; the takeover is not sent
	NATSTakenOver     Point = "nats-taken-over"     // the takeover is stored; no state is loaded
	NATSLoaded        Point = "nats-loaded"         // the state is loaded
	NATSSend          Point = "nats-send"           // nothing of the batch is sent
	NATSEventsSent    Point = "nats-events-sent"    // events and dead letters are sent, no state
	NATSStateSent     Point = "nats-state-sent"     // all is sent but the message that commits
	NATSCommitSent    Point = "nats-commit-sent"    // all is sent, and no answer was read
	NATSAnswered      Point = "nats-answered"       // the answer was read, and nothing noted
	NATSDoubt         Point = "nats-doubt"          // there was no clear answer; the fence is not read
	NATSPurge         Point = "nats-purge"          // superseded state is not deleted yet
	NATSRepair        Point = "nats-repair"         // a torn batch was found, and not deleted
	NATSRepairDeleted Point = "nats-repair-deleted" // one message of a torn batch is deleted
)

// NATS lists them.
var NATS = []Point{
	NATSImportWritten, NATSImported, NATSTakeover, NATSTakenOver, NATSLoaded,
	NATSSend, NATSEventsSent, NATSStateSent, NATSCommitSent, NATSAnswered, NATSDoubt, NATSPurge, NATSRepair, NATSRepairDeleted,
}
