package sinks

import (
	"context"
	"errors"
	"fmt"

	"connector/checkpoint"
	"connector/schema"
)

// OpenStore opens the store of a unit, or says who holds it.
type OpenStore func(ctx context.Context, unit string) (checkpoint.Store, error)

// Pair joins a publisher and a store: messages are acknowledged before state
// is saved, so a crash repeats messages and never skips them (invariant 3).
func Pair(p Publisher, open OpenStore) Sink { return &pair{publisher: p, open: open} }

type pair struct {
	publisher Publisher
	open      OpenStore
}

func (p *pair) Guarantee() Guarantee { return p.publisher.Guarantee() }

func (p *pair) Close() error { return p.publisher.Close() }

func (p *pair) Open(ctx context.Context, unit string) (Session, error) {
	store, err := p.open(ctx, unit)
	if err != nil {
		return nil, fmt.Errorf("opening checkpoint of unit %s: %w", unit, err)
	}
	return &pairSession{publisher: p.publisher, store: store}, nil
}

type pairSession struct {
	publisher Publisher
	store     checkpoint.Store
	// stored holds the ids that were acknowledged in a commit whose state is
	// not saved yet, so that calling Commit again does not repeat them.
	stored map[string]bool
}

func (s *pairSession) Limits() Limits { return s.publisher.Limits() }

func (s *pairSession) Recover(ctx context.Context, yield func(checkpoint.Entry) error) error {
	return s.store.Load(ctx, yield)
}

func (s *pairSession) Commit(ctx context.Context, c Commit) error {
	if err := s.publish(ctx, c); err != nil {
		return err
	}
	// The messages are acknowledged: saving must not be cut short by ctx, or
	// a restart would publish them again.
	if err := s.store.Save(context.WithoutCancel(ctx), c.State); err != nil {
		return fmt.Errorf("saving checkpoint: %w", err)
	}
	s.stored = nil
	return nil
}

func (s *pairSession) publish(ctx context.Context, c Commit) error {
	events, eventAt := s.missing(c.Events)
	dead, deadAt := s.missing(c.Dead)
	if len(events)+len(dead) == 0 {
		return nil
	}
	err := s.publisher.Publish(ctx, events, dead)
	rejected, ok := errors.AsType[*RejectedError](err)
	if err != nil && !ok {
		return fmt.Errorf("publishing: %w", err)
	}
	refused := map[string]bool{}
	if ok {
		for i, r := range rejected.Messages {
			if r.Dead {
				refused[dead[r.Index].ID] = true
				rejected.Messages[i].Index = deadAt[r.Index]
				continue
			}
			refused[events[r.Index].ID] = true
			rejected.Messages[i].Index = eventAt[r.Index]
		}
	}
	s.acknowledge(events, refused)
	s.acknowledge(dead, refused)
	return err
}

// missing returns the messages not stored yet, with their places in list.
func (s *pairSession) missing(list []schema.Message) ([]schema.Message, []int) {
	var missing []schema.Message
	var at []int
	for i, m := range list {
		if !s.stored[m.ID] {
			missing, at = append(missing, m), append(at, i)
		}
	}
	return missing, at
}

func (s *pairSession) acknowledge(list []schema.Message, refused map[string]bool) {
	if s.stored == nil {
		s.stored = make(map[string]bool, len(list))
	}
	for _, m := range list {
		if !refused[m.ID] {
			s.stored[m.ID] = true
		}
	}
}

func (s *pairSession) Close() error { return s.store.Close() }
