package failpoint

// The steps of the Kafka sink with KAFKA_DELIVERY=transactional.
const (
	// Taking a unit over.
	KafkaTxnOpening     Point = "kafka.txn.opening"     // nothing sent yet
	KafkaTxnInitialised Point = "kafka.txn.initialised" // earlier owners are fenced, their transaction is settled
	KafkaTxnLoaded      Point = "kafka.txn.loaded"      // the state is read
	KafkaTxnImported    Point = "kafka.txn.imported"    // entries of an earlier checkpoint are committed, its fence is not
	KafkaTxnTakenOver   Point = "kafka.txn.taken_over"  // the fence of this owner is committed

	// A commit; the takeover is one too.
	KafkaTxnBegin    Point = "kafka.txn.begin"    // nothing sent yet
	KafkaTxnAdded    Point = "kafka.txn.added"    // the transaction is open, with its partitions
	KafkaTxnProduced Point = "kafka.txn.produced" // a partition has its events or dead letters, others may have
	KafkaTxnState    Point = "kafka.txn.state"    // the partition of the checkpoint has its entries
	KafkaTxnAll      Point = "kafka.txn.all"      // every partition has its part
	KafkaTxnAnswered Point = "kafka.txn.answered" // the coordinator was told to commit; its answer is not looked at
	KafkaTxnEnded    Point = "kafka.txn.ended"    // committed

	// After a transaction that cannot go on.
	KafkaTxnAborting Point = "kafka.txn.aborting" // it is open
	KafkaTxnAborted  Point = "kafka.txn.aborted"  // it is settled; what became of it is not looked at
)

// KafkaTransactional lists them in order.
var KafkaTransactional = []Point{
	KafkaTxnOpening, KafkaTxnInitialised, KafkaTxnLoaded, KafkaTxnImported, KafkaTxnTakenOver,
	KafkaTxnBegin, KafkaTxnAdded, KafkaTxnProduced, KafkaTxnState, KafkaTxnAll, KafkaTxnAnswered, KafkaTxnEnded,
	KafkaTxnAborting, KafkaTxnAborted,
}
