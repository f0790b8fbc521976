package failpoint

// The steps of the sink for Kafka in transactional delivery that the
// idempotent one does not have.
const (
	KafkaTxnInitialised Point = "kafka-txn-initialised" // at a takeover: earlier owners are fenced, their transaction is settled

	KafkaTxnBegin    Point = "kafka-txn-begin"    // a transaction: nothing sent yet
	KafkaTxnAdded    Point = "kafka-txn-added"    // it is open, with its partitions
	KafkaTxnState    Point = "kafka-txn-state"    // the state is written; messages may not be
	KafkaTxnWritten  Point = "kafka-txn-written"  // all is written
	KafkaTxnAnswered Point = "kafka-txn-answered" // the coordinator was told to commit; its answer is not looked at
	KafkaTxnEnded    Point = "kafka-txn-ended"    // committed

	KafkaTxnAborting Point = "kafka-txn-aborting" // a transaction that cannot go on, or whose outcome is unknown
	KafkaTxnAborted  Point = "kafka-txn-aborted"  // it is settled; what became of it is not looked at
)

// KafkaTransactional lists the steps of transactional delivery in order. The
// last two are reached after errors and rejected messages only.
var KafkaTransactional = []Point{
	KafkaTxnInitialised, KafkaTakenOver, KafkaImported, KafkaBegun, KafkaLoaded, KafkaReadBack,
	KafkaTxnBegin, KafkaTxnAdded, KafkaPartPublished, KafkaTxnState, KafkaTxnWritten, KafkaTxnAnswered, KafkaTxnEnded, KafkaCommitted,
	KafkaTxnAborting, KafkaTxnAborted,
}
