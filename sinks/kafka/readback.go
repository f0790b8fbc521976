package kafka

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/segmentio/kafka-go/protocol"

	"connector/checkpoint"
	"connector/internal/fault"
)

// markHeader holds, in messages of idempotent delivery, the mark of the
// message after the place of its checkpoint.
const markHeader = "connector-mark"

// markOrigin tells the marks of one checkpoint from those of another connector
// that publishes to the same topics.
func markOrigin(checkpointTopic, unit string) string { return checkpointTopic + "/" + unit + "/" }

// ends are offsets by topic and partition. All messages of the unit before
// them are covered by the state; some after them may be.
type ends map[string][]int64

// with returns the higher of each.
func (e ends) with(o ends) ends {
	sum := maps.Clone(e)
	for topic, offsets := range o {
		list := slices.Clone(offsets)
		for i, offset := range e[topic] {
			if i < len(list) {
				list[i] = max(list[i], offset)
			} else {
				list = append(list, offset)
			}
		}
		sum[topic] = list
	}
	return sum
}

func (e ends) entry() checkpoint.Entry {
	value, _ := json.Marshal(e) // no type in it fails
	return checkpoint.Entry{Key: endsKey, Value: value}
}

func decodeEnds(value []byte) (ends, error) {
	var e ends
	if err := json.Unmarshal(value, &e); err != nil || e == nil {
		return nil, fault.Fatal(fmt.Errorf("checkpoint entry %q is damaged", endsKey), "restore the checkpoint topic from a backup")
	}
	return e, nil
}

// ends returns the present ends of the topics of events and dead letters, open
// transactions included.
func (s *sink) ends(ctx context.Context) (ends, error) {
	found := ends{}
	for _, topic := range []string{s.cfg.Topic, s.cfg.DeadletterTopic} {
		for i := range s.counts[topic] {
			offset, err := s.bound(ctx, view{topic: topic, partition: int32(i)}, last)
			if err != nil {
				return nil, err
			}
			found[topic] = append(found[topic], offset)
		}
	}
	return found, nil
}

func (s *sink) bound(ctx context.Context, v view, b bound) (offset int64, err error) {
	err = s.client.reading(ctx, s.log, v.String(), func() (err error) {
		offset, err = s.client.offset(ctx, v, b)
		return err
	})
	return offset, err
}

// readBack collects the marks of messages that lie after what the state
// covers.
func (s *ownership) readBack(ctx context.Context) error {
	value, err := s.state.entry(ctx, endsKey)
	if err != nil {
		return err
	}
	if s.reached, err = s.sink.ends(ctx); err != nil {
		return err
	}
	if value == nil { // the owner before published nothing that the state does not cover
		s.saved = s.reached
		return s.save(ctx, []checkpoint.Entry{s.saved.entry()})
	}
	if s.saved, err = decodeEnds(value); err != nil {
		return err
	}
	err = s.sink.eachMarked(ctx, s.state.unit, s.saved, s.reached, func(r *protocol.Record, mark []byte) error {
		e, err := checkpoint.MarkEntry(len(s.marks), bytes.Clone(mark))
		s.marks = append(s.marks, e)
		return err
	})
	if len(s.marks) > 0 {
		s.sink.log.Info("read back messages that the checkpoint may not cover", "unit", s.state.unit, "messages", len(s.marks))
	}
	return err
}

// findLate looks, before the first message is published, for messages of the
// unit that came after the rest was read back: what the earlier owner had sent
// and the brokers had not stored yet. They are not published again.
func (s *idempotent) findLate(ctx context.Context) error {
	now, err := s.sink.ends(ctx)
	if err != nil {
		return err
	}
	err = s.sink.eachMarked(ctx, s.state.unit, s.reached, now, func(r *protocol.Record, _ []byte) error {
		id, err := publicationID(r)
		s.publisher.late[id] = true
		return err
	})
	if err != nil {
		return err
	}
	if n := len(s.publisher.late); n > 0 {
		s.sink.log.Warn("messages of an earlier connector came late", "unit", s.state.unit, "messages", n)
	}
	s.reached = now
	return nil
}

// eachMarked calls do for the unit's messages in a range of offsets, those of
// one partition in order; mark is valid during the call. A partition that from
// does not know is read from its beginning, as is one whose retention went
// past from.
func (s *sink) eachMarked(ctx context.Context, unit string, from, to ends, do func(r *protocol.Record, mark []byte) error) error {
	origin := []byte(markOrigin(s.cfg.CheckpointTopic, unit))
	for topic, offsets := range to {
		for i, end := range offsets {
			v, begin := view{topic: topic, partition: int32(i)}, int64(0)
			if i < len(from[topic]) {
				begin = from[topic][i]
			}
			err := s.eachRecord(ctx, v, begin, end, func(r *protocol.Record) error {
				mark, ours := bytes.CutPrefix([]byte(recordHeader(r.Headers, markHeader)), origin)
				if !ours {
					return nil
				}
				if err := do(r, mark); err != nil {
					return fmt.Errorf("reading the header %s of %v@%d: %w", markHeader, v, r.Offset, err)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// eachRecord calls do for the records from begin, or from the first that is
// left, to before end.
func (s *sink) eachRecord(ctx context.Context, v view, begin, end int64, do func(*protocol.Record) error) error {
	if begin > end {
		return fault.Fatal(fmt.Errorf("%v ends at offset %d, but the checkpoint says that events lie before offset %d", v, end, begin),
			"the topic was cut, or deleted and created again, and events were lost: restore it from a backup, or name new topics for the events and the checkpoint")
	}
	if begin == end {
		return nil
	}
	start, err := s.bound(ctx, v, first)
	if err != nil {
		return err
	}
	_, err = s.client.readTo(ctx, s.log, v, max(begin, start), end, func(r *protocol.Record) error {
		if r.Offset >= end {
			return nil
		}
		return do(r)
	})
	return err
}
