package nats

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"connector/checkpoint"
)

// load reads the entries that are needed at the start, after the takeover.
func (s *session) load(ctx context.Context, owner string) error {
	live, err := s.readLive(ctx, s.at, s.expect)
	if err != nil {
		return err
	}
	state, err := checkpoint.LoadUnit(owner, func(key string) []byte { return live[key] })
	if err != nil {
		return s.unlessChanged(ctx, err)
	}
	s.state = state
	s.loaded = make([]checkpoint.Entry, 0, len(live))
	for _, key := range slices.Sorted(maps.Keys(live)) {
		s.loaded = append(s.loaded, checkpoint.Entry{Key: key, Value: live[key]})
	}
	return nil
}

// errStalled says that a consumer delivers nothing although there is more: its
// server was lost, or a request to it.
var errStalled = errors.New("the consumer delivers nothing")

// readLive reads the last message of each key that is loaded at the start, up
// to the fence with sequence last. A replica may lag behind the leader: it has
// caught up when it shows the fence. errChanged says that the fence was
// replaced meanwhile.
func (c *client) readLive(ctx context.Context, at place, last uint64) (map[string][]byte, error) {
	for {
		live, err := c.consumeLive(ctx, at, last)
		if errors.Is(err, errStalled) {
			continue // with another consumer
		}
		if err != nil {
			return nil, fmt.Errorf("reading the checkpoint in NATS stream %s: %w", c.cfg.Stream, err)
		}
		return live, nil
	}
}

// consumeLive is one attempt of readLive.
func (c *client) consumeLive(ctx context.Context, at place, last uint64) (map[string][]byte, error) {
	messages, err := c.followLive(ctx, at)
	if err != nil {
		return nil, err
	}
	defer messages.Stop()
	live := map[string][]byte{}
	for seq := uint64(0); seq != last; {
		msg, err := nextWithin(ctx, messages)
		if errors.Is(err, errStalled) {
			err = c.stalled(ctx, at, last)
		}
		if err != nil {
			return nil, err
		}
		if seq = msg.seq; seq > last {
			return nil, errChanged
		}
		if _, err := at.add(live, msg); err != nil {
			return nil, err
		}
	}
	return live, nil
}

// followLive reads the last message of each key that is loaded at the start,
// and those that come later.
func (c *client) followLive(ctx context.Context, at place) (messages jetstream.MessagesContext, err error) {
	err = c.guard(ctx, func(ctx context.Context) error {
		consumer, err := c.js.OrderedConsumer(ctx, c.cfg.Stream, jetstream.OrderedConsumerConfig{
			FilterSubjects: []string{at.live()}, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
		})
		if err == nil {
			messages, err = consumer.Messages()
		}
		return err
	})
	return messages, err
}

// nextWithin returns the next message, or errStalled when none comes within
// tailPatience.
func nextWithin(ctx context.Context, messages jetstream.MessagesContext) (*stored, error) {
	waited, cancel := context.WithTimeout(ctx, tailPatience)
	defer cancel()
	msg, err := messages.Next(jetstream.NextContext(waited))
	switch {
	case err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		return nil, errStalled
	case err != nil:
		return nil, err
	}
	meta, err := msg.Metadata()
	if err != nil {
		return nil, err
	}
	return &stored{subject: msg.Subject(), seq: meta.Sequence.Stream, header: msg.Headers(), data: content(msg.Data())}, nil
}

// stalled returns errStalled as long as the fence is the one with sequence last.
func (c *client) stalled(ctx context.Context, at place, last uint64) error {
	fence, err := c.last(ctx, at.subject(checkpoint.FenceKey))
	switch {
	case err != nil:
		return err
	case fence == nil || fence.seq != last:
		return errChanged
	}
	return errStalled
}

// subjects counts the messages of each subject of the unit's state.
func (s *session) subjects(ctx context.Context) (map[string]uint64, error) {
	var subjects map[string]uint64
	err := s.guard(ctx, func(ctx context.Context) error {
		stream, err := s.js.Stream(ctx, s.cfg.Stream)
		if err != nil {
			return err
		}
		info, err := stream.Info(ctx, jetstream.WithSubjectFilter(s.at.all()))
		if err == nil {
			subjects = info.State.Subjects
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing the checkpoint in NATS stream %s: %w", s.cfg.Stream, err)
	}
	return subjects, nil
}

// sweep deletes superseded state messages that an earlier owner left behind.
func (s *session) sweep(ctx context.Context) error {
	subjects, err := s.subjects(ctx)
	if err != nil {
		return err
	}
	for subject, n := range subjects {
		if n < 2 {
			continue
		}
		m, err := s.last(ctx, subject)
		if err != nil {
			return err
		}
		if m != nil && m.seq <= s.expect { // what lies behind may be a part of a commit
			s.supersede(m)
		}
	}
	s.purgeSuperseded()
	return nil
}

// supersede notes that m replaced the earlier messages of its subject.
func (s *session) supersede(m *stored) {
	keep := m.seq
	if m.deleted() {
		keep++
	}
	s.superseded[m.subject] = keep
}
