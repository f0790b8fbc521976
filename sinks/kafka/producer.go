package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"

	"connector/sinks"
)

const (
	// attemptTimeout bounds one attempt; ackTimeout is how long the leader
	// waits for its followers before it answers that they are slow.
	attemptTimeout = 20 * time.Second
	ackTimeout     = 10 * time.Second
	// missingTimeout is how long a topic may be missing, as it is for a
	// moment while leaders move, before it counts as deleted.
	missingTimeout = 30 * time.Second
	allReplicas    = -1
)

// producer stores record batches: each once, in the order they are sent, as
// long as the cluster keeps the state of the producer id.
//
// A batch is sent again, byte for byte, until the broker gives a definite
// answer; the broker recognises repeats by producer id and sequence. Two cases
// are beyond that. The cluster forgets a producer id after a day without a
// write (producer.id.expiration.ms) and when a log loses its end in an unclean
// election: a batch that had been stored without an answer is then stored
// again, under a new producer id where the broker refuses the old sequence.
// And a batch that had been stored without an answer before max.message.bytes
// was lowered below its size may be stored again in smaller ones.
type producer struct {
	client *client
	log    *slog.Logger
	// transactional is the transactional.id of batches that belong to a
	// transaction, else empty.
	transactional string
	turn          chan struct{} // holds a token while a partition is verified; see attempt
}

// partition is the state of one partition of a topic. Each has its producer
// id, so that one renumbered partition does not disturb what others have in
// doubt. One goroutine uses it at a time.
type partition struct {
	topic    string
	id       int32
	producer producerID
	sequence int32  // of the next batch
	end      int64  // offset after what was stored last, as far as it is known
	doubt    *batch // sent, without a definite answer so far
	verified bool   // whether the broker knows it as part of the transaction
}

func (p *partition) restart(id producerID) { p.producer, p.sequence, p.doubt = id, 0, nil }

func (p *partition) String() string { return fmt.Sprintf("%s[%d]", p.topic, p.id) }

// batch is a finished batch on its way.
type batch struct {
	set   []byte // size and batch
	count int    // of records
	items []item // the messages in it; none in a batch of state
	// base is the offset of the first record once the batch is stored, or
	// unknownOffset.
	base int64
	// unanswered is set once an attempt ended without a definite answer.
	unanswered bool
	// shared is set once a request was given up: the transport may still
	// read its bytes, so they must not be overwritten.
	shared bool
}

// unknownOffset stands for the place of a batch that was found to be stored
// already.
const unknownOffset = -1

// errRefused wraps an answer that the records of a batch can never be stored.
var errRefused = errors.New("refused by the broker")

// send stores b, trying as long as it takes. It returns nil when b is stored,
// an error that wraps errRefused when it is not and never will be, and ErrFenced,
// a fatal error or the error of ctx when that is unknown: b is then
// kept in part.doubt, to be sent again before anything else. In a transaction
// an error that wraps errUnfinished takes the place of a new producer id.
func (p *producer) send(ctx context.Context, part *partition, b *batch) error {
	retry := newRetry(p.log, part.String())
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		part.doubt = b
		began := time.Now()
		base, err := p.attempt(ctx, part, b)
		switch judge(err) {
		case stored:
			retry.done()
			part.sequence, part.doubt = nextSequence(part.sequence, b.count), nil
			if b.base = base; base != unknownOffset {
				part.end = base + int64(b.count)
			}
			return nil
		case refused:
			part.doubt = nil
			return fmt.Errorf("%w: %w", errRefused, err)
		case fenced:
			return fmt.Errorf("%w: partition %v: %w", sinks.ErrFenced, part, err)
		case stopped:
			return stopTransactional(fmt.Errorf("writing to %v: %w", part, err), p.transactional, part.topic)
		case renumber:
			if p.transactional != "" {
				return fmt.Errorf("%w: writing to %v: %w", errUnfinished, part, err)
			}
			p.log.Warn("Kafka lost the state of the producer: sending under a new producer id",
				"partition", part.String(), "error", err, "duplicates_possible", b.unanswered)
			if err := p.renumber(ctx, part, b); err != nil {
				return err
			}
		case repeat:
			b.unanswered = true
		}
		if isRouting(err) {
			p.client.refresh(began)
		}
		if err := retry.wait(ctx, err); err != nil {
			return err
		}
	}
}

// attempt sends b once and returns its base offset. The first batch of a
// partition in a transaction is sent while no other partition's is: the broker
// then asks the coordinator about the partition, and refuses a batch
// (NOT_ENOUGH_REPLICAS) when it comes to ask about another one of the same
// transaction meanwhile.
func (p *producer) attempt(ctx context.Context, part *partition, b *batch) (base int64, err error) {
	if p.transactional == "" || part.verified {
		return p.produce(ctx, part, b)
	}
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return unknownOffset, ctx.Err()
	}
	defer func() { <-p.turn }()
	base, err = p.produce(ctx, part, b)
	part.verified = err == nil
	return base, err
}

func (p *producer) produce(ctx context.Context, part *partition, b *batch) (base int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	res, err := p.client.roundTrip(ctx, &rawproduce.Request{
		TransactionalID: p.transactional,
		Acks:            allReplicas,
		Timeout:         int32(ackTimeout.Milliseconds()),
		Topics: []rawproduce.RequestTopic{{Topic: part.topic, Partitions: []rawproduce.RequestPartition{{
			Partition: part.id,
			RecordSet: protocol.RawRecordSet{Reader: bytes.NewReader(b.set)},
		}}}},
	})
	if ctx.Err() != nil {
		b.shared = true
	}
	if err != nil {
		return unknownOffset, err
	}
	return answer(res.(*produce.Response))
}

// answer returns the only partition's base offset, or its error.
func answer(res *produce.Response) (base int64, err error) {
	if len(res.Topics) != 1 || len(res.Topics[0].Partitions) != 1 {
		return unknownOffset, errors.New("the answer to a produce request does not name its partition")
	}
	p := &res.Topics[0].Partitions[0]
	if p.ErrorCode == 0 {
		return p.BaseOffset, nil
	}
	message := p.ErrorMessage
	for _, r := range p.RecordErrors {
		message = fmt.Sprintf("%s (record %d: %s)", message, r.BatchIndex, r.BatchIndexErrorMessage)
		break // the first one tells
	}
	return unknownOffset, &answerError{code: kafkago.Error(p.ErrorCode), message: message}
}

// renumber gives part a new producer id, and b to the new sequence.
func (p *producer) renumber(ctx context.Context, part *partition, b *batch) error {
	id, err := p.newID(ctx)
	if err != nil {
		return err
	}
	b.set = slices.Clone(b.set) // the transport may still read the old one
	part.producer, part.sequence = id, 0
	stamp(b.set, part.producer, part.sequence)
	return nil
}

// newID obtains a producer id, trying as long as it takes.
func (p *producer) newID(ctx context.Context) (producerID, error) {
	retry := newRetry(p.log, "producer id")
	for {
		began := time.Now()
		id, err := p.initProducerID(ctx)
		switch judge(err) {
		case stored:
			retry.done()
			return id, nil
		case repeat:
		default:
			return id, stop(fmt.Errorf("obtaining a producer id: %w", err), "")
		}
		p.client.refresh(began)
		if err := retry.wait(ctx, err); err != nil {
			return id, err
		}
	}
}

// initProducerID is the request without its Transaction method, which
// would make the transport look for a transaction coordinator and so create
// the topic __transaction_state.
type initProducerID initproducerid.Request

func (*initProducerID) ApiKey() protocol.ApiKey { return protocol.InitProducerId }

func (p *producer) initProducerID(ctx context.Context) (producerID, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	m, err := p.client.roundTrip(ctx, &initProducerID{ProducerID: -1, ProducerEpoch: -1})
	if err != nil {
		return producerID{}, err
	}
	res := m.(*initproducerid.Response)
	if res.ErrorCode != 0 {
		return producerID{}, &answerError{code: kafkago.Error(res.ErrorCode)}
	}
	return producerID{res.ProducerID, res.ProducerEpoch}, nil
}
