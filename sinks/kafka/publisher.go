// Package kafka publishes events and dead letters to Apache Kafka 2.1 or
// newer, and reads them back.
//
// The message is a CloudEvent
// (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md):
// the body is the value, and in binary mode each context attribute is a header
// ce_<name>, datacontenttype the header content-type. The key is
// [schema.Message.Key], and the partition Murmur2 of the key, as in Kafka's own
// clients, so that all versions of a record share a partition and keep their
// order.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"connector/internal/failpoint"
	"connector/internal/fault"
	"connector/schema"
	"connector/sinks"
)

const (
	// batchBytes is the most uncompressed records in a batch: below Kafka's
	// default limit of 1 MiB also where compression does not help.
	batchBytes = 900_000
	// maxMessages is the most messages in one commit.
	maxMessages = 5000
	// parallel is how many partitions are written to at the same time.
	parallel = 8
)

// publisher writes events to one topic and dead letters to another with an
// idempotent producer: acknowledged by all in-sync replicas, and stored once
// however often an answer is lost, within the limits that the cluster's
// producer state sets. One process must publish a unit at a time: nothing
// fences a second one here.
//
// Records carry the wall clock of publishing as their timestamp, because
// retention counts from it; the event's own time is the header ce_time.
// Partitions are counted once, at start. A publisher is not safe for
// concurrent use.
type publisher struct {
	client     *client
	producer   *producer
	partitions map[string][]*partition // by topic
	id         producerID
	topic      string
	deadTopic  string
	encoders   chan *encoder // one per partition that may be written to at the same time
	limits     sinks.Limits
	headers    *headerEncoder
	encoded    []byte // keys and headers of the messages that were routed last

	mu     sync.Mutex
	stored [][]item // by the call under way
	// settled counts, by publication id, what calls of Publish stored that
	// failed as a whole: the next call skips it.
	settled map[string]int
	// late holds the publication ids of what an earlier process stored after its
	// messages were read back: they are skipped, too.
	late map[string]bool
}

// publisherOn returns a publisher of its own producer id on c.
func publisherOn(ctx context.Context, c *client, cfg *Config, log *slog.Logger, counts map[string]int, limits sinks.Limits) (*publisher, error) {
	p := unnumbered(c, cfg, log, counts, limits)
	var err error
	if p.id, err = p.producer.newID(ctx); err != nil {
		return nil, err
	}
	p.restart(p.id)
	return p, nil
}

// unnumbered returns a publisher that has no producer id yet.
func unnumbered(c *client, cfg *Config, log *slog.Logger, counts map[string]int, limits sinks.Limits) *publisher {
	p := &publisher{
		client: c, producer: &producer{client: c, log: log, turn: make(chan struct{}, 1)},
		partitions: make(map[string][]*partition, len(counts)),
		topic:      cfg.Topic, deadTopic: cfg.DeadletterTopic,
		encoders: make(chan *encoder, parallel),
		limits:   limits, headers: newHeaderEncoder(),
		settled: make(map[string]int), late: make(map[string]bool),
	}
	for _, topic := range []string{cfg.Topic, cfg.DeadletterTopic} {
		for i := range counts[topic] {
			p.partitions[topic] = append(p.partitions[topic], &partition{topic: topic, id: int32(i)})
		}
	}
	for range parallel {
		p.encoders <- newEncoder(cfg.Compression, min(batchBytes, limits.MaxMessageBytes), limits.MaxMessageBytes)
	}
	return p
}

// restart makes all partitions begin anew under a producer id or epoch that
// they were not written with yet.
func (p *publisher) restart(id producerID) {
	for _, partitions := range p.partitions {
		for _, part := range partitions {
			part.restart(id)
		}
	}
}

// ends returns, for each partition, the offset after what was stored last, 0
// where that is not known.
func (p *publisher) ends() ends {
	list := ends{}
	for topic, partitions := range p.partitions {
		for _, part := range partitions {
			list[topic] = append(list[topic], part.end)
		}
	}
	return list
}

// limitsOf returns the limits where a topic accepts batches of so many bytes.
func limitsOf(bytes int) sinks.Limits {
	return sinks.Limits{MaxMessageBytes: max(bytes-messageOverhead, 1), MaxMessages: maxMessages}
}

// Publish stores all messages, or all but those that a *[sinks.RejectedError]
// lists, or returns [sinks.ErrFenced], a fatal error or, promptly, the error
// of ctx.
//
// After an error, what was stored is remembered, and what is in doubt is sent
// again first: calling Publish again with the same messages, or with some of
// them replaced, stores none of them twice.
func (p *publisher) Publish(ctx context.Context, events, dead []schema.Message) error {
	if err := p.each(ctx, p.doubtful(), p.resend); err != nil {
		p.settle()
		return fmt.Errorf("settling what Kafka did not answer for: %w", err)
	}
	p.settle()
	if len(events)+len(dead) == 0 {
		return nil
	}
	if err := p.each(ctx, p.route(events, dead), p.publish); err != nil {
		p.settle()
		return err
	}
	p.forget()
	return nil
}

// resend sends the batch in doubt again.
func (p *publisher) resend(ctx context.Context, part *partition, _ []item) error {
	b := part.doubt
	err := p.producer.send(ctx, part, b)
	if errors.Is(err, errRefused) { // not stored: the caller brings its messages again
		return nil
	}
	if err == nil {
		p.note(b.items)
	}
	return err
}

// publish stores items in order, all but those that a *[sinks.RejectedError]
// lists.
func (p *publisher) publish(ctx context.Context, part *partition, items []item) error {
	var e *encoder
	select {
	case e = <-p.encoders:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { p.encoders <- e }()
	rejected, err := p.store(ctx, part, e, items)
	if err == nil && len(rejected) > 0 {
		err = &sinks.RejectedError{Messages: rejected}
	}
	return err
}

// store stores items in order. When the content of a batch is refused,
// smaller ones are tried until what is refused is one message; the others are
// stored all the same. What exceeds [sinks.Limits] is not tried: a topic may
// accept it all the same when it compresses well, but not reliably.
func (p *publisher) store(ctx context.Context, part *partition, e *encoder, items []item) (rejected []sinks.Rejection, err error) {
	for limit := len(items); len(items) > 0; {
		b, err := e.encode(items[:min(limit, len(items))], time.Now())
		if err != nil {
			return nil, err
		}
		if b == nil {
			rejected = append(rejected, p.tooLarge(&items[0]))
			items = items[1:]
			continue
		}
		n := len(b.items)
		switch err := p.send(ctx, part, e, b); {
		case err == nil:
			p.note(b.items)
		case !errors.Is(err, errRefused):
			return nil, err
		case n > 1:
			limit = n / 2
			continue
		default:
			rejected = append(rejected, items[0].reject(fmt.Errorf("record %.100q in %v: %w", items[0].message.RecordID, part, err)))
			limit = len(items)
		}
		items = items[n:]
	}
	return rejected, nil
}

func (p *publisher) tooLarge(it *item) sinks.Rejection {
	return it.reject(fault.Reject("too_large", fmt.Errorf("record %.100q: message has %d bytes, more than the topic's max.message.bytes allows (%d)",
		it.message.RecordID, it.message.Size(), p.limits.MaxMessageBytes)))
}

func (p *publisher) send(ctx context.Context, part *partition, e *encoder, b *batch) error {
	stamp(b.set, part.producer, part.sequence)
	err := p.producer.send(ctx, part, b)
	if part.doubt != nil || b.shared {
		e.forget() // the next call, or the transport, still reads the buffer
	}
	return err
}

// note remembers what the call under way stored.
func (p *publisher) note(items []item) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stored = append(p.stored, items)
	failpoint.Hit(failpoint.KafkaPartPublished)
}

// settle counts what was stored by a call that failed, or before it.
func (p *publisher) settle() {
	for _, items := range p.stored {
		for i := range items {
			p.settled[items[i].id]++
		}
	}
	p.stored = nil
}

// forget begins anew: no later call brings the messages again.
func (p *publisher) forget() {
	p.stored = nil
	clear(p.settled)
}
