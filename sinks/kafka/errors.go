package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	kafkago "github.com/segmentio/kafka-go"

	"connector/internal/fault"
)

// verdict is what an attempt to produce a batch means for it.
type verdict int

const (
	// repeat: not known to be stored, and nothing speaks against the next
	// attempt. Sending the same bytes again is always safe.
	repeat verdict = iota
	// stored: the broker holds the batch.
	stored
	// renumber: the broker does not know our sequence; this attempt stored
	// nothing, and none under this producer id will.
	renumber
	// refused: the broker will never store these records; nothing was stored.
	refused
	// fenced: another producer took over.
	fenced
	// stopped: nothing succeeds until a person acts.
	stopped
)

// answerError is a broker's negative answer to a produce request.
type answerError struct {
	code    kafkago.Error
	message string
}

func (e *answerError) Error() string {
	text := fmt.Sprintf("%s (error %d)", e.code.Title(), int(e.code))
	if e.message != "" {
		text += ": " + e.message
	}
	return text
}

func (e *answerError) Unwrap() error { return e.code }

// judge says what the outcome of an attempt means. Whatever is not a broker's
// answer to the request leaves the batch in doubt.
func judge(err error) verdict {
	if err == nil {
		return stored
	}
	if answer, ok := errors.AsType[*answerError](err); ok {
		return judgeCode(answer.code)
	}
	if connectionRemedy(err) != "" {
		return stopped
	}
	return repeat
}

// judgeCode follows https://kafka.apache.org/41/design/protocol/#error-codes;
// kafka-go's names of 54 and 55 are not those of the protocol.
func judgeCode(code kafkago.Error) verdict {
	switch code {
	case 0, kafkago.DuplicateSequenceNumber:
		return stored
	case kafkago.OutOfOrderSequenceNumber, kafkago.InvalidTransactionState, kafkago.InvalidProducerIDMapping,
		operationNotAttempted, kafkago.UnknownProducerId:
		return renumber
	case kafkago.InvalidProducerEpoch, kafkago.TransactionCoordinatorFenced, kafkago.ProducerFenced:
		return fenced
	case kafkago.MessageSizeTooLarge, kafkago.RecordListTooLarge, kafkago.InvalidTimestamp, kafkago.InvalidRecord:
		return refused
	case kafkago.Unknown, kafkago.InvalidMessage, kafkago.UnknownTopicOrPartition, kafkago.LeaderNotAvailable,
		kafkago.NotLeaderForPartition, kafkago.RequestTimedOut, kafkago.BrokerNotAvailable, kafkago.ReplicaNotAvailable,
		kafkago.NetworkException, kafkago.GroupLoadInProgress, kafkago.GroupCoordinatorNotAvailable,
		kafkago.NotCoordinatorForGroup, kafkago.NotEnoughReplicas, kafkago.NotEnoughReplicasAfterAppend,
		kafkago.NotController, kafkago.ConcurrentTransactions, kafkago.KafkaStorageError, kafkago.ListenerNotFound,
		kafkago.FencedLeaderEpoch, kafkago.UnknownLeaderEpoch, kafkago.OffsetNotAvailable, kafkago.ThrottlingQuotaExceeded,
		kafkago.UnknownTopicID, kafkago.InconsistentTopicID:
		return repeat
	default:
		return stopped
	}
}

const operationNotAttempted = kafkago.Error(55)

// isRouting reports whether err may mean that the leader is another broker.
func isRouting(err error) bool {
	answer, ok := errors.AsType[*answerError](err)
	if !ok {
		return true
	}
	switch answer.code {
	case kafkago.UnknownTopicOrPartition, kafkago.LeaderNotAvailable, kafkago.NotLeaderForPartition,
		kafkago.BrokerNotAvailable, kafkago.FencedLeaderEpoch, kafkago.UnknownLeaderEpoch,
		kafkago.UnknownTopicID, kafkago.KafkaStorageError:
		return true
	default:
		return false
	}
}

// stop marks an error that judge called stopped, with what to do.
func stop(err error, topic string) error {
	if remedy := connectionRemedy(err); remedy != "" {
		return fault.Fatal(err, remedy)
	}
	var code kafkago.Error
	if answer, ok := errors.AsType[*answerError](err); ok {
		code = answer.code
	}
	return fault.Fatal(err, topicRemedy(code, topic))
}

func topicRemedy(code kafkago.Error, topic string) string {
	switch code {
	case kafkago.TopicAuthorizationFailed:
		return fmt.Sprintf("grant the user of KAFKA_SASL_USERNAME the operations DESCRIBE and WRITE on topic %s", topic)
	case kafkago.ClusterAuthorizationFailed:
		return "grant the user of KAFKA_SASL_USERNAME the operation WRITE on KAFKA_TOPIC, KAFKA_DEADLETTER_TOPIC and KAFKA_CHECKPOINT_TOPIC, and before Kafka 3.0 also IDEMPOTENT_WRITE on the cluster"
	case kafkago.UnsupportedCompressionType:
		return "set KAFKA_COMPRESSION to a codec the cluster supports"
	case kafkago.InvalidTopic:
		return "check KAFKA_TOPIC, KAFKA_DEADLETTER_TOPIC and KAFKA_CHECKPOINT_TOPIC"
	case kafkago.UnsupportedVersion, kafkago.UnsupportedForMessageFormat:
		return "use Kafka 2.1 or newer"
	default:
		return "see the log of the Kafka brokers"
	}
}

// connectionRemedy says what to do about a fault of login or encryption, or
// returns "" when err is none.
func connectionRemedy(err error) string {
	if errors.Is(err, kafkago.SASLAuthenticationFailed) {
		return "check KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"
	}
	if errors.Is(err, kafkago.UnsupportedSASLMechanism) || errors.Is(err, kafkago.IllegalSASLState) {
		return "set KAFKA_SASL_MECHANISM to a mechanism that the port of KAFKA_BROKERS offers"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "set KAFKA_TLS_CA to the authority that signed the brokers' certificates, and KAFKA_BROKERS to the names in them"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "the port is not encrypted: unset KAFKA_TLS, or name the encrypted port in KAFKA_BROKERS"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" { // a TLS alert
		return "set KAFKA_TLS_CERT and KAFKA_TLS_KEY to a client certificate that the brokers accept"
	}
	if strings.Contains(err.Error(), "broker appears to be expecting TLS") { // kafka-go has no value for it
		return "set KAFKA_TLS=true"
	}
	return ""
}

// connectError explains why no broker could be used at start.
func connectError(err error, cfg *Config) error {
	if remedy := connectionRemedy(err); remedy != "" {
		return fault.Fatal(fmt.Errorf("connecting to Kafka at %s: %w", cfg.Brokers, err), remedy)
	}
	hint := "check KAFKA_BROKERS and that a broker runs there"
	if cut := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET); cut || cfg.TLS {
		hint = "check KAFKA_BROKERS, " + securityHint(cfg)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.New("no answer in time")
	}
	return fmt.Errorf("connecting to Kafka at %s: %w; %s", cfg.Brokers, err, hint)
}

// securityHint says what may be wrong where brokers hang up without a word.
func securityHint(cfg *Config) string {
	switch {
	case cfg.SASLMechanism != "":
		return "KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD, and KAFKA_TLS: whether the port is encrypted"
	case cfg.TLS:
		return "and whether the port is encrypted (KAFKA_TLS) and expects a login (KAFKA_SASL_MECHANISM)"
	default:
		return "and whether the port expects KAFKA_TLS=true or a login (KAFKA_SASL_MECHANISM)"
	}
}
