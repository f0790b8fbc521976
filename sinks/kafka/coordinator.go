package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/addpartitionstotxn"
	"github.com/segmentio/kafka-go/protocol/endtxn"
	"github.com/segmentio/kafka-go/protocol/initproducerid"

	"connector/internal/failpoint"
	"connector/internal/fault"
	"connector/internal/wait"
	"connector/sinks"
)

const (
	// transactionTimeout is how long a transaction may take before the
	// coordinator aborts it; one that was left open keeps readers of
	// committed messages waiting for so long.
	transactionTimeout = 60 * time.Second
	// busyPause is the pause before a request that found the coordinator at
	// work on the transaction before, as it is for some milliseconds after
	// each; after busyTimeout it counts as a failure.
	busyPause   = 5 * time.Millisecond
	busyTimeout = 10 * time.Second
)

// errUnfinished wraps an answer after which the transaction cannot go on: it
// is not committed, unless that answer was to the request to commit it.
var errUnfinished = errors.New("the transaction cannot go on")

// coordinator asks the broker in charge of a transactional id, which the
// transport looks up for each request. It repeats a request until the answer
// is definite. Errors are those of ctx, fatal, or wrap [sinks.ErrFenced] or
// errUnfinished. It is not safe for concurrent use.
type coordinator struct {
	client  *client
	log     *slog.Logger
	id      string // transactional.id
	timeout time.Duration
}

// init returns the producer id and the next epoch of the transactional id.
// It fences the earlier epochs and returns when the transaction they left
// open is aborted, or committed if that was decided.
func (c *coordinator) init(ctx context.Context) (id producerID, err error) {
	err = c.ask(ctx, "InitProducerId", func(ctx context.Context) (string, error) {
		m, err := c.client.roundTrip(ctx, &initproducerid.Request{
			TransactionalID: c.id, TransactionTimeoutMs: int32(c.timeout.Milliseconds()),
			ProducerID: -1, ProducerEpoch: -1, // none to be continued
		})
		if err != nil {
			return "", err
		}
		res := m.(*initproducerid.Response)
		id = producerID{res.ProducerID, res.ProducerEpoch}
		err = answerOf(res.ErrorCode)
		if v := judge(err); v == fenced || v == renumber { // another request is at it: this one continues no producer
			err = &answerError{code: kafkago.ConcurrentTransactions, message: err.Error()}
		}
		return "", err
	})
	return id, err
}

// add adds partitions to the transaction, which begins with the first of them.
func (c *coordinator) add(ctx context.Context, id producerID, parts []*partition) error {
	req := &addpartitionstotxn.Request{TransactionalID: c.id, ProducerID: id.id, ProducerEpoch: id.epoch}
	at := make(map[string]int)
	for _, p := range parts {
		i, ok := at[p.topic]
		if !ok {
			i = len(req.Topics)
			at[p.topic] = i
			req.Topics = append(req.Topics, addpartitionstotxn.RequestTopic{Name: p.topic})
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p.id)
	}
	return c.ask(ctx, "AddPartitionsToTxn", func(ctx context.Context) (string, error) {
		m, err := c.client.roundTrip(ctx, req)
		if err != nil {
			return "", err
		}
		return firstFault(m.(*addpartitionstotxn.Response), len(parts))
	})
}

// firstFault returns the error of one of n partitions, with its topic. Where
// some cannot be added the others are not attempted, which tells nothing.
func firstFault(res *addpartitionstotxn.Response, n int) (topic string, err error) {
	for i := range res.Results {
		for _, p := range res.Results[i].Results {
			n--
			e := answerOf(p.ErrorCode)
			if e != nil && (err == nil || errors.Is(err, operationNotAttempted)) {
				topic, err = res.Results[i].Name, e
			}
		}
	}
	if n != 0 {
		return "", errors.New("the answer to AddPartitionsToTxn does not name its partitions")
	}
	return topic, err
}

// end commits or aborts the transaction. When it returns nil the decision is
// durable, and readers see it some milliseconds later. Otherwise it is unknown.
func (c *coordinator) end(ctx context.Context, id producerID, commit bool) error {
	return c.ask(ctx, "EndTxn", func(ctx context.Context) (string, error) {
		m, err := c.client.roundTrip(ctx, &endtxn.Request{
			TransactionalID: c.id, ProducerID: id.id, ProducerEpoch: id.epoch, Committed: commit,
		})
		if err != nil {
			return "", err
		}
		if commit {
			failpoint.Hit(failpoint.KafkaTxnAnswered)
		}
		return "", answerOf(m.(*endtxn.Response).ErrorCode)
	})
}

func answerOf(code int16) error {
	if code == 0 {
		return nil
	}
	return &answerError{code: kafkago.Error(code)}
}

// ask sends a request until the answer is definite. send returns the topic
// that an error is about, if it is about one.
func (c *coordinator) ask(ctx context.Context, request string, send func(context.Context) (string, error)) error {
	subject := fmt.Sprintf("%s of transactional id %s", request, c.id)
	retry, since := newRetry(c.log, subject), time.Now()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		began := time.Now()
		topic, err := c.attempt(ctx, send)
		switch judge(err) {
		case stored:
			retry.done()
			return nil
		case repeat:
		case fenced:
			return fmt.Errorf("%w: %s: %w", sinks.ErrFenced, subject, err)
		case renumber:
			return fmt.Errorf("%w: %s: %w", errUnfinished, subject, err)
		default:
			return stopTransactional(fmt.Errorf("%s: %w", subject, err), c.id, topic)
		}
		if errors.Is(err, kafkago.ConcurrentTransactions) && time.Since(since) < busyTimeout {
			if err := wait.For(ctx, busyPause); err != nil {
				return err
			}
			continue
		}
		if isRouting(err) {
			c.client.refresh(began)
		}
		if err := retry.wait(ctx, err); err != nil {
			return err
		}
	}
}

func (c *coordinator) attempt(ctx context.Context, send func(context.Context) (string, error)) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return send(ctx)
}

// stopTransactional is [stop] for a transactional id.
func stopTransactional(err error, id, topic string) error {
	switch {
	case errors.Is(err, kafkago.TransactionalIDAuthorizationFailed):
		return fault.Fatal(err, fmt.Sprintf("grant the user of KAFKA_SASL_USERNAME the operations DESCRIBE and WRITE on the transactional id %s (KAFKA_TRANSACTIONAL_ID), or set KAFKA_DELIVERY=idempotent", id))
	case errors.Is(err, kafkago.InvalidTransactionTimeout):
		return fault.Fatal(err, fmt.Sprintf("set transaction.max.timeout.ms of the brokers to %d or more, or KAFKA_DELIVERY=idempotent", transactionTimeout.Milliseconds()))
	default:
		return stop(err, topic)
	}
}
