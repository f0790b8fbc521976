package failpoint

// The steps of the sink for Kafka in idempotent delivery.
const (
	KafkaTakenOver     Point = "kafka-taken-over"     // the claim to the unit is written
	KafkaImported      Point = "kafka-imported"       // what the fence completes is written, in a place without one
	KafkaBegun         Point = "kafka-begun"          // the first fence is written, and an imported file not retired
	KafkaLoaded        Point = "kafka-loaded"         // the state is read
	KafkaReadBack      Point = "kafka-read-back"      // the messages that it does not cover are read
	KafkaBeforePublish Point = "kafka-before-publish" // a commit begins
	KafkaPartPublished Point = "kafka-part-published" // a batch of messages is stored; others may not be
	KafkaPublished     Point = "kafka-published"      // all messages are stored, and the state is not
	KafkaSaved         Point = "kafka-saved"          // the state is stored, and its place not known yet
	KafkaCommitted     Point = "kafka-committed"      // the commit is durable, and not answered
)

// Kafka lists them in order.
var Kafka = []Point{
	KafkaTakenOver, KafkaImported, KafkaBegun, KafkaLoaded, KafkaReadBack,
	KafkaBeforePublish, KafkaPartPublished, KafkaPublished, KafkaSaved, KafkaCommitted,
}
