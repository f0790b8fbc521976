package kafka

import (
	"context"
	"log/slog"

	"connector/checkpoint"
	"connector/internal/failpoint"
	"connector/sinks"
	"time"

	"github.com/segmentio/kafka-go/protocol"
)

func (e *encoder) encodeState(entries []checkpoint.Entry, now time.Time) (*batch, error) {
	e.batch.reset()
	n := 0
	for ; n < len(entries); n++ {
		if !e.batch.add(&record{time: now.UnixMilli(), key: []byte(entries[n].Key), value: entries[n].Value}) {
			break
		}
	}
	set, err := e.batch.finish(e.flags)
	return &batch{set: set, count: n}, err
}

type stub struct {
	next   int64
	values map[string][]byte
}

func (s *transactional) catchUp(ctx context.Context) error {
	retry := newRetry(s.coordinator.log, "stub")
	for {
		began := time.Now()
		err := func() error {
			end, err := s.publisher.client.offset(ctx, s.state.topic, s.state.id, last)
			for err == nil && s.stub.next < end {
				s.stub.next, err = s.publisher.client.fetch(ctx, s.state.topic, s.state.id, s.stub.next, func(r *protocol.Record) error {
					k, _ := protocol.ReadAll(r.Key)
					v, _ := protocol.ReadAll(r.Value)
					s.stub.values[string(k)] = v
					return nil
				})
			}
			return err
		}()
		if err == nil {
			return nil
		}
		s.publisher.client.refresh(began)
		if err := retry.wait(ctx, err); err != nil {
			return err
		}
	}
}

func (s *transactional) readFence(ctx context.Context) (checkpoint.Fence, error) {
	if err := s.catchUp(ctx); err != nil {
		return checkpoint.Fence{}, err
	}
	v := s.stub.values[checkpoint.FenceKey]
	if v == nil {
		return checkpoint.Fence{}, nil
	}
	return checkpoint.DecodeFence(v)
}

func openStub(ctx context.Context, cfg *Config, log *slog.Logger, dial dialFunc, topic, owner, name string, timeout time.Duration) (_ *transactional, err error) {
	failpoint.Hit(failpoint.KafkaTxnOpening)
	p, err := newPublisher(ctx, cfg, log, dial, topic)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	s := &transactional{
		coordinator: &coordinator{client: p.client, log: log, id: "prefix-" + topic + "-" + name, timeout: timeout},
		publisher:   p, name: name, state: &partition{topic: topic}, grace: ownerGrace,
		stub: stub{values: map[string][]byte{}},
	}
	p.producer.transactional = s.coordinator.id
	for range parallel {
		e := <-p.encoders
		e.flags = inTransaction
		p.encoders <- e
	}
	if err := s.initialise(ctx); err != nil {
		return nil, err
	}
	failpoint.Hit(failpoint.KafkaTxnInitialised)
	if err := s.catchUp(ctx); err != nil {
		return nil, err
	}
	s.ready = true
	failpoint.Hit(failpoint.KafkaTxnLoaded)
	s.unit = checkpoint.NewUnit(owner)
	if s.stub.values[checkpoint.FenceKey] != nil {
		if s.unit, err = checkpoint.LoadUnit(owner, func(k string) []byte { return s.stub.values[k] }); err != nil {
			return nil, err
		}
	}
	if err := s.Commit(ctx, sinks.Commit{}); err != nil {
		return nil, err
	}
	failpoint.Hit(failpoint.KafkaTxnTakenOver)
	return s, nil
}
