package kafka

import (
	"context"
	"errors"
	"slices"

	kafkago "github.com/segmentio/kafka-go"

	"connector/internal/fault"
	"connector/schema"
	"connector/sinks"
)

// item is one message of a commit.
type item struct {
	message *schema.Message // the caller's: not to be read once Publish has returned
	body    []byte          // the message's
	key     []byte          // valid until the next messages are routed, as headers is
	headers headers
	id      string
	dead    bool
	index   int
}

func (it *item) reject(err error) sinks.Rejection {
	return sinks.Rejection{Dead: it.dead, Index: it.index, Err: err}
}

// route assigns the messages that are not settled to their partitions.
func (p *publisher) route(events, dead []schema.Message) map[*partition][]item {
	p.encoded = p.encoded[:0]
	r := router{publisher: p, skipped: make(map[string]int), work: make(map[*partition][]item)}
	r.add(events, p.topic, false)
	r.add(dead, p.deadTopic, true)
	return r.work
}

// router does the work of route.
type router struct {
	publisher *publisher
	skipped   map[string]int
	work      map[*partition][]item
}

func (r *router) add(messages []schema.Message, topic string, dead bool) {
	partitions := r.publisher.partitions[topic]
	shares := make([][]item, len(partitions))
	numbers := make([]int, len(partitions))
	for i := range numbers {
		numbers[i] = i
	}
	for i := range messages {
		m := &messages[i]
		id := m.PublicationID()
		if r.skips(id) {
			continue
		}
		it := item{message: m, body: m.Body, id: id, dead: dead, index: i}
		it.key, it.headers = r.publisher.encode(m)
		n := kafkago.Murmur2Balancer{}.Balance(kafkago.Message{Key: it.key}, numbers...)
		if shares[n] == nil {
			shares[n] = make([]item, 0, len(messages)/len(partitions)*5/4+1)
		}
		shares[n] = append(shares[n], it)
	}
	for n, share := range shares {
		if len(share) > 0 {
			r.work[partitions[n]] = share
		}
	}
}

// skips reports whether a message is stored already.
func (r *router) skips(id string) bool {
	p := r.publisher
	if p.late[id] {
		delete(p.late, id)
		p.settled[id]++
	}
	if len(p.settled) == 0 || r.skipped[id] >= p.settled[id] {
		return false
	}
	r.skipped[id]++
	return true
}

// encode returns the key and the headers of a message. It is done while messages
// are read as they lie in memory: that is faster than partition by partition.
func (p *publisher) encode(m *schema.Message) (key []byte, h headers) {
	begin := len(p.encoded)
	b := m.AppendKey(p.encoded)
	h = p.headers.append(headers{encoded: b}, m)
	p.encoded = h.encoded
	h.encoded = h.encoded[len(b):]
	return b[begin:], h
}

// doubtful returns the partitions that have a batch in doubt.
func (p *publisher) doubtful() map[*partition][]item {
	work := make(map[*partition][]item)
	for _, partitions := range p.partitions {
		for _, part := range partitions {
			if part.doubt != nil {
				work[part] = nil
			}
		}
	}
	return work
}

// each calls do for every partition of work at the same time and returns the
// gravest error. After a fatal one, or one that ends the transaction, the
// others are interrupted: they could be trying for ever.
func (p *publisher) each(ctx context.Context, work map[*partition][]item, do func(context.Context, *partition, []item) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error, len(work))
	for part, items := range work {
		go func() { results <- do(inner, part, items) }()
	}
	var gravest error
	var rejected []sinks.Rejection
	for range work {
		err := <-results
		if r, ok := errors.AsType[*sinks.RejectedError](err); ok {
			rejected = append(rejected, r.Messages...)
			continue
		}
		if gravity(err) > gravity(gravest) {
			gravest = err
		}
		if gravity(gravest) >= gravityUnfinished {
			cancel()
		}
	}
	if gravest != nil || len(rejected) == 0 {
		return gravest
	}
	slices.SortFunc(rejected, func(a, b sinks.Rejection) int {
		switch {
		case a.Dead == b.Dead:
			return a.Index - b.Index
		case b.Dead:
			return -1
		default:
			return 1
		}
	})
	return &sinks.RejectedError{Messages: rejected}
}

// The gravity of errors: the gravest of several partitions' is returned.
const (
	gravityNone = iota
	gravityOther
	gravityUnfinished
	gravityFatal
	gravityFenced
)

func gravity(err error) int {
	switch {
	case err == nil:
		return gravityNone
	case errors.Is(err, sinks.ErrFenced):
		return gravityFenced
	case fault.IsFatal(err):
		return gravityFatal
	case errors.Is(err, errUnfinished):
		return gravityUnfinished
	default:
		return gravityOther
	}
}
