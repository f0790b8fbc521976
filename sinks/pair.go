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
	return &pairSession{publisher: p.publisher, store: store, stored: map[string]bool{}}, nil
}

type pairSession struct {
	publisher Publisher
	store     checkpoint.Store
	// stored holds the publication ids of messages that were acknowledged in a commit whose state is
	// not saved, so that calling Commit again does not repeat them.
	stored map[string]bool
}

func (s *pairSession) Limits() Limits { return s.publisher.Limits() }

func (s *pairSession) Recover(ctx context.Context, yield func(checkpoint.Entry) error) error {
	return s.store.Load(ctx, yield)
}

func (s *pairSession) Get(ctx context.Context, key string) ([]byte, error) {
	return s.store.Get(ctx, key)
}

func (s *pairSession) Commit(ctx context.Context, c Commit) error {
	if err := s.publish(ctx, c); err != nil {
		return err
	}
	// The messages are acknowledged: saving must not be cut short by ctx, or
	// a restart would publish them again.
	if err := s.store.Save(context.WithoutCancel(ctx), c.State); err != nil {
		s.remember(c, nil)
		return fmt.Errorf("saving checkpoint: %w", err)
	}
	clear(s.stored)
	return nil
}

// publish stores the messages that are not stored yet.
func (s *pairSession) publish(ctx context.Context, c Commit) error {
	events, dead := s.missing(c.Events), s.missing(c.Dead)
	if len(events.messages)+len(dead.messages) == 0 {
		return nil
	}
	err := s.publisher.Publish(ctx, events.messages, dead.messages)
	if err == nil {
		return nil
	}
	rejected, ok := errors.AsType[*RejectedError](err)
	if !ok {
		return fmt.Errorf("publishing: %w", err)
	}
	refused := map[string]bool{}
	for i := range rejected.Messages {
		r := &rejected.Messages[i]
		from := events
		if r.Dead {
			from = dead
		}
		refused[from.messages[r.Index].PublicationID()] = true
		r.Index = from.place(r.Index)
	}
	s.remember(c, refused)
	return err
}

// remember notes that the messages of c are stored, but for the refused.
func (s *pairSession) remember(c Commit, refused map[string]bool) {
	for _, list := range [][]schema.Message{c.Events, c.Dead} {
		for i := range list {
			if id := list[i].PublicationID(); !refused[id] {
				s.stored[id] = true
			}
		}
	}
}

// remaining are the messages of a commit that are not stored yet.
type remaining struct {
	messages []schema.Message
	at       []int // their places in the commit; nil when that is their index
}

func (r remaining) place(i int) int {
	if r.at == nil {
		return i
	}
	return r.at[i]
}

func (s *pairSession) missing(list []schema.Message) remaining {
	if len(s.stored) == 0 {
		return remaining{messages: list}
	}
	r := remaining{at: []int{}}
	for i, m := range list {
		if !s.stored[m.PublicationID()] {
			r.messages, r.at = append(r.messages, m), append(r.at, i)
		}
	}
	return r
}

func (s *pairSession) Close() error { return s.store.Close() }
