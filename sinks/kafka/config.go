package kafka

import (
	"cmp"
	"math"
	"regexp"

	"connector/internal/config"
	"connector/internal/secret"
)

// Config is the section of the sink.
type Config struct {
	Brokers           config.HostPorts  `split_words:"true" desc:"Required. Brokers to find the cluster by."`
	Topic             string            `split_words:"true" default:"delivery.events" desc:"Topic of the events."`
	DeadletterTopic   string            `split_words:"true" default:"delivery.deadletters" desc:"Topic of rows of which no event can be made, and of their resolutions."`
	CheckpointTopic   string            `split_words:"true" default:"delivery.checkpoints" desc:"Compacted topic of the checkpoint. Another connector needs another one."`
	Delivery          Delivery          `split_words:"true" default:"idempotent" desc:"idempotent: what a crash left published but not in the checkpoint is read back at start. transactional: events and checkpoint are one transaction, for consumers with isolation.level=read_committed."`
	TransactionalID   string            `split_words:"true" desc:"Prefix of the transactional ids, in transactional delivery: <prefix>-<unit>; by default the checkpoint topic's name. Another connector needs another one."`
	Compression       Compression       `split_words:"true" default:"lz4" desc:"How batches are compressed."`
	SASLMechanism     SASLMechanism     `split_words:"true" desc:"How to log in; unset for no login."`
	SASLUsername      string            `split_words:"true" desc:"User to log in as."`
	SASLPassword      secret.String     `split_words:"true" desc:"Password of the user."`
	TLS               bool              `split_words:"true" default:"false" desc:"Whether connections are encrypted."`
	TLSCa             config.FileOrText `split_words:"true" desc:"Certificates (PEM) that brokers are verified against, instead of the system's."`
	TLSCert           config.FileOrText `split_words:"true" desc:"Client certificate (PEM)."`
	TLSKey            config.FileOrText `split_words:"true" desc:"Private key (PEM) of the client certificate."`
	CreateTopics      bool              `split_words:"true" default:"true" desc:"Whether missing topics are created. Existing ones are never changed."`
	Partitions        int               `split_words:"true" default:"0" desc:"Partitions of a topic that is created; 0 for the broker's default."`
	ReplicationFactor int               `split_words:"true" default:"0" desc:"Replicas of a topic that is created; 0 for the broker's default."`
}

// Doc says what the section is for, in the reference of the configuration.
const Doc = "Publishes to Apache Kafka 2.1 or newer, and keeps the checkpoint there."

// NewConfig returns an empty section.
func NewConfig() config.Section { return &Config{} }

// What Kafka allows: https://github.com/apache/kafka/blob/4.1/clients/src/main/java/org/apache/kafka/common/internals/Topic.java
var topicPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)

const topicRule = "use 1 to 249 letters, digits, dots, underscores and hyphens"

func validTopic(topic string) bool {
	return topicPattern.MatchString(topic) && topic != "." && topic != ".."
}

// Validate reports broken rules.
func (c *Config) Validate(v *config.Faults) {
	v.Check(len(c.Brokers) > 0, "BROKERS", "is required: the brokers as host:port, separated by commas")
	v.Check(validTopic(c.Topic), "TOPIC", topicRule)
	v.Check(validTopic(c.DeadletterTopic), "DEADLETTER_TOPIC", topicRule)
	v.Check(c.Topic != c.DeadletterTopic, "DEADLETTER_TOPIC", "must differ from %s", "TOPIC")
	v.Check(validTopic(c.CheckpointTopic), "CHECKPOINT_TOPIC", topicRule)
	v.Check(c.CheckpointTopic != c.Topic, "CHECKPOINT_TOPIC", "must differ from %s", "TOPIC")
	v.Check(c.CheckpointTopic != c.DeadletterTopic, "CHECKPOINT_TOPIC", "must differ from %s", "DEADLETTER_TOPIC")
	v.Check(validTopic(c.transactionalID()), "TRANSACTIONAL_ID", topicRule)
	v.Check(c.Partitions >= 0 && c.Partitions <= math.MaxInt32, "PARTITIONS", "must not be negative")
	v.Check(c.ReplicationFactor >= 0 && c.ReplicationFactor <= math.MaxInt16, "REPLICATION_FACTOR", "use a number from 0 to 32767")
	c.validateSASL(v)
	c.validateTLS(v)
}

// transactionalID is the prefix of the transactional ids. Connectors without a
// checkpoint in common must not have one in common: they would abort each
// other's transactions.
func (c *Config) transactionalID() string { return cmp.Or(c.TransactionalID, c.CheckpointTopic) }

func (c *Config) validateSASL(v *config.Faults) {
	if c.SASLMechanism == "" {
		v.Check(c.SASLUsername == "", "SASL_USERNAME", "needs %s", "SASL_MECHANISM")
		v.Check(c.SASLPassword.IsZero(), "SASL_PASSWORD", "needs %s", "SASL_MECHANISM")
		return
	}
	v.Check(c.SASLUsername != "", "SASL_USERNAME", "is required with %s", "SASL_MECHANISM")
	v.Check(!c.SASLPassword.IsZero(), "SASL_PASSWORD", "is required with %s", "SASL_MECHANISM")
}

func (c *Config) validateTLS(v *config.Faults) {
	v.Check(c.TLS || c.TLSCa.IsZero(), "TLS_CA", "needs %s=true", "TLS")
	v.Check(c.TLS || c.TLSCert.IsZero(), "TLS_CERT", "needs %s=true", "TLS")
	v.Check(c.TLS || c.TLSKey.IsZero(), "TLS_KEY", "needs %s=true", "TLS")
	v.Check(c.TLSKey.IsZero() || !c.TLSCert.IsZero(), "TLS_CERT", "is required with %s", "TLS_KEY")
	v.Check(c.TLSCert.IsZero() || !c.TLSKey.IsZero(), "TLS_KEY", "is required with %s", "TLS_CERT")
	v.CheckReadable("TLS_CA", c.TLSCa)
	v.CheckReadable("TLS_CERT", c.TLSCert)
	v.CheckReadable("TLS_KEY", c.TLSKey)
}

// Delivery is a way to publish events and save the checkpoint.
type Delivery string

// The ways to deliver.
const (
	Idempotent    Delivery = "idempotent"
	Transactional Delivery = "transactional"
)

// Choices are the values of the type.
func (Delivery) Choices() []string { return []string{string(Idempotent), string(Transactional)} }

// Decode reads one of Choices.
func (d *Delivery) Decode(value string) error { return config.OneOf(d, value, d.Choices()) }

// Compression is a codec of record batches.
type Compression string

// Choices are the values of the type.
func (Compression) Choices() []string { return []string{"none", "gzip", "snappy", "lz4", "zstd"} }

// Decode reads one of Choices.
func (c *Compression) Decode(value string) error { return config.OneOf(c, value, c.Choices()) }

// SASLMechanism is a way to log in; empty for none.
type SASLMechanism string

// The ways to log in.
const (
	Plain       SASLMechanism = "PLAIN"
	ScramSHA256 SASLMechanism = "SCRAM-SHA-256"
	ScramSHA512 SASLMechanism = "SCRAM-SHA-512"
)

// Choices are the values of the type.
func (SASLMechanism) Choices() []string {
	return []string{string(Plain), string(ScramSHA256), string(ScramSHA512)}
}

// Decode reads one of Choices.
func (m *SASLMechanism) Decode(value string) error { return config.OneOf(m, value, m.Choices()) }
