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
	id      string
	key     []byte
	dead    bool
	index   int
}

func (it *item) reject(err error) sinks.Rejection {
	return sinks.Rejection{Dead: it.dead, Index: it.index, Err: err}
}

// route assigns the messages that are not settled to their partitions.
func (p *publisher) route(events, dead []schema.Message) map[*partition][]item {
	r := router{publisher: p, skipped: make(map[string]int), work: make(map[*partition][]item)}
	r.add(events, p.topic, false)
	r.add(dead, p.deadTopic, true)
	return r.work
}

// router does the work of route.
type router struct {
	publisher *publisher
	skipped   map[string]int
	keys      []byte // of many messages
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
		key := r.key(m)
		n := kafkago.Murmur2Balancer{}.Balance(kafkago.Message{Key: key}, numbers...)
		if shares[n] == nil {
			shares[n] = make([]item, 0, len(messages)/len(partitions)*5/4+1)
		}
		shares[n] = append(shares[n], item{message: m, id: id, key: key, dead: dead, index: i})
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

// keysBytes is how much is allocated at a time for keys, most of which have at
// most maxKeyBytes.
const (
	keysBytes   = 64 << 10
	maxKeyBytes = 1 << 10
)

// key returns the key of a message.
func (r *router) key(m *schema.Message) []byte {
	if cap(r.keys)-len(r.keys) < maxKeyBytes {
		r.keys = make([]byte, 0, keysBytes)
	}
	r.keys = m.AppendKey(r.keys[len(r.keys):])
	return slices.Clip(r.keys)
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
