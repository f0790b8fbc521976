package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"connector/sinks"
)

// Tail calls yield, one call at a time, for the messages of cfg.Topic, unless
// opts says otherwise, and, with opts.Dead, of cfg.DeadletterTopic, as a consumer with
// isolation.level=read_committed sees them: without those of aborted or open
// transactions. Messages of one partition come in order. It keeps one
// connection for each partition.
//
// It returns nil when opts does not say to follow and the end that was there
// at the start is reached, otherwise the error of yield, a fatal error, or
// the error of ctx. Failing requests are repeated and reported to
// [slog.Default].
func Tail(ctx context.Context, cfg Config, opts sinks.TailOptions, yield func(sinks.Received) error) error {
	var topics []string
	if !opts.NoEvents {
		topics = append(topics, cfg.Topic)
	}
	if opts.Dead {
		topics = append(topics, cfg.DeadletterTopic)
	}
	c, err := newClient(&cfg, (&net.Dialer{Timeout: dialTimeout}).DialContext, topics...)
	if err != nil {
		return err
	}
	defer c.close()
	counts, err := findTopics(ctx, c, &cfg, slog.Default(), topics...)
	if err != nil {
		return err
	}
	t := &tailer{client: c, cfg: &cfg, opts: opts, yield: yield}
	return t.run(ctx, counts)
}

type tailer struct {
	client *client
	cfg    *Config
	opts   sinks.TailOptions

	mu     sync.Mutex
	yield  func(sinks.Received) error
	failed error // of yield, which is not called again
}

// run reads all partitions at the same time until all have ended or one fails.
func (t *tailer) run(ctx context.Context, counts map[string]int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error)
	readers := 0
	for topic, n := range counts {
		for i := range n {
			readers++
			go func() { results <- t.read(ctx, topic, int32(i)) }()
		}
	}
	var first error
	for range readers {
		if err := <-results; err != nil && first == nil {
			first = err
			cancel()
		}
	}
	return first
}

func (t *tailer) read(ctx context.Context, topic string, partition int32) error {
	v := view{topic: topic, partition: partition, isolation: readCommitted}
	offset, end, err := t.bounds(ctx, v)
	if err != nil {
		return err
	}
	for t.opts.Follow || offset < end {
		err := t.client.reading(ctx, slog.Default(), v.String(), func() (err error) {
			offset, err = t.client.fetch(ctx, v, offset, func(r *protocol.Record) error {
				if !t.opts.Follow && r.Offset >= end {
					return nil
				}
				return t.show(r, v)
			})
			if errors.Is(err, kafkago.OffsetOutOfRange) {
				offset, err = t.rescue(ctx, v, offset)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// bounds returns where to begin and the end at this time.
func (t *tailer) bounds(ctx context.Context, v view) (from, to int64, err error) {
	err = t.client.reading(ctx, slog.Default(), v.String(), func() (err error) {
		if to, err = t.client.offset(ctx, v, last); err != nil || !t.opts.FromStart {
			from = to
			return err
		}
		from, err = t.client.offset(ctx, v, first)
		return err
	})
	return from, to, err
}

// rescue returns where to go on when there is no offset any more: at the
// beginning if retention went past it, at the end if the log was cut.
func (t *tailer) rescue(ctx context.Context, v view, offset int64) (int64, error) {
	begin, err := t.client.offset(ctx, v, first)
	if err != nil {
		return offset, err
	}
	if begin > offset {
		return begin, nil
	}
	end, err := t.client.offset(ctx, v, last)
	if err != nil {
		return offset, err
	}
	return end, nil
}

func (t *tailer) show(r *protocol.Record, v view) error {
	key, err := protocol.ReadAll(r.Key)
	if err != nil {
		return fmt.Errorf("reading the key at offset %d: %w", r.Offset, err)
	}
	m, err := received(r)
	if err != nil {
		return &yieldError{fmt.Errorf("%v: %w", v, err)}
	}
	m.Position, m.Dead, m.Key = fmt.Sprintf("%v@%d", v, r.Offset), v.topic == t.cfg.DeadletterTopic, string(key)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed == nil {
		t.failed = t.yield(m)
	}
	if t.failed != nil {
		return &yieldError{t.failed}
	}
	return nil
}
