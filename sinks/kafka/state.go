package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/protocol"

	"connector/checkpoint"
	"connector/internal/fault"
	"connector/internal/wait"
)

// Keys of the checkpoint topic beside those of the state.
const (
	takeoverKey = "takeover" // who took the unit over last: a fence, of which only owner, term and time count
	endsKey     = "ends"     // up to where the messages are covered by the state, see [ends]
)

// Headers of the records of the checkpoint topic.
const (
	termHeader     = "term"     // every record: the writer's term
	takeoverHeader = "takeover" // of a takeover: tells two of one owner apart
)

// behindTimeout is how long the end of the state may lie before what is known of
// it: much longer than brokers take to write the markers of a transaction.
const behindTimeout = 30 * time.Second

// unitState is the state of one unit, as read from its partition of the
// checkpoint topic: for each key the last record counts.
//
// Every record says under which term it was written. A takeover is valid when
// its term is higher than any before it in the partition; a record whose
// term is lower than one before it came too late, from an earlier owner, and
// does not count. Because the last record of a key is all that compaction
// leaves, whoever owns the unit repeats what such a record hides: see stale.
//
// entry may be called at the same time as anything else; the rest is for one
// goroutine at a time.
type unitState struct {
	client *client
	log    *slog.Logger
	unit   string
	view   view

	next     int64  // offset after the last record that was read
	counted  int64  // offset after the last one that counts
	term     uint64 // the highest so far
	takeover takeover
	stale    map[string]bool // keys whose last record does not count

	mu   sync.Mutex
	kept map[string]kept
	lean bool // whether no more values are kept
}

// kept is where the value of a key lies.
type kept struct {
	offset int64
	value  []byte // nil when it was not kept, as that of a paged key
}

// newUnitState returns the state of a unit before anything was read.
func newUnitState(c *client, log *slog.Logger, topic, unit string) (*unitState, error) {
	partition, err := partitionOf(unit)
	if err != nil {
		return nil, err
	}
	return &unitState{
		client: c, log: log, unit: unit, view: view{topic: topic, partition: partition, isolation: readCommitted},
		stale: map[string]bool{}, kept: map[string]kept{},
	}, nil
}

// read reads on to the last stable offset of this moment. An error is fatal,
// or that of ctx.
func (s *unitState) read(ctx context.Context) error {
	end, err := s.end(ctx)
	if err != nil {
		return err
	}
	s.next, err = s.client.readTo(ctx, s.log, s.view, s.next, end, s.apply)
	return err
}

// end returns the last stable offset, which is behind what the owner wrote for
// a moment after a transaction or a change of the leader.
func (s *unitState) end(ctx context.Context) (end int64, err error) {
	for since := (time.Time{}); ; {
		err = s.client.reading(ctx, s.log, s.view.String(), func() (err error) {
			end, err = s.client.offset(ctx, s.view, last)
			return err
		})
		if err != nil || end >= s.next {
			return end, err
		}
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) >= behindTimeout {
			return end, fault.Fatal(fmt.Errorf("the checkpoint topic ends at %v@%d, but was read up to %d", s.view, end, s.next),
				"it was cut, or deleted and created again: restore it from a backup")
		}
		if err := wait.For(ctx, markerPause); err != nil {
			return end, err
		}
	}
}

// apply takes in the record after those that were read.
func (s *unitState) apply(r *protocol.Record) error {
	key, err := protocol.ReadAll(r.Key)
	if err != nil {
		return fmt.Errorf("reading the key of %v@%d: %w", s.view, r.Offset, err)
	}
	value, err := protocol.ReadAll(r.Value)
	if err != nil {
		return fmt.Errorf("reading the value of %v@%d: %w", s.view, r.Offset, err)
	}
	term, err := strconv.ParseUint(recordHeader(r.Headers, termHeader), 10, 64)
	if err != nil || len(key) == 0 {
		return fault.Fatal(fmt.Errorf("the record %v@%d is not part of a checkpoint", s.view, r.Offset),
			"name a topic in KAFKA_CHECKPOINT_TOPIC that nothing else writes to")
	}
	t := takeover{term: term, id: recordHeader(r.Headers, takeoverHeader)}
	if term < s.term || string(key) == takeoverKey && s.takeover.precedes(t) {
		s.stale[string(key)] = true
		return nil
	}
	if string(key) == takeoverKey {
		if t.fence, err = checkpoint.DecodeFence(value); err != nil {
			return fmt.Errorf("reading who took unit %s over: %w", s.unit, err)
		}
		s.takeover = t
	}
	s.term = term
	s.put(checkpoint.Entry{Key: string(key), Value: value}, r.Offset)
	return nil
}

func recordHeader(headers []protocol.Header, name string) string {
	for _, h := range headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

// put takes in an entry that counts.
func (s *unitState) put(e checkpoint.Entry, offset int64) {
	delete(s.stale, e.Key)
	s.counted = offset + 1
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case e.Value == nil:
		delete(s.kept, e.Key)
	case s.lean, checkpoint.Paged(e.Key):
		s.kept[e.Key] = kept{offset: offset}
	default:
		s.kept[e.Key] = kept{offset: offset, value: e.Value}
	}
}

// wrote takes in entries that the owner stored from base on, where the state
// ended.
func (s *unitState) wrote(base int64, entries []checkpoint.Entry) {
	for i, e := range entries {
		s.put(e, base+int64(i))
	}
	s.next = base + int64(len(entries))
}

// records returns what the owner writes to the topic for entries.
func (s *unitState) records(entries []checkpoint.Entry) []record {
	now, term := time.Now().UnixMilli(), strconv.FormatUint(s.term, 10)
	list := make([]record, len(entries))
	for i, e := range entries {
		list[i] = record{time: now, key: []byte(e.Key), value: e.Value, headers: headers{}.with(termHeader, term)}
		if e.Key == takeoverKey {
			list[i].headers = list[i].headers.with(takeoverHeader, s.takeover.id)
		}
	}
	return list
}

// has reports whether there is a value of key.
func (s *unitState) has(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.kept[key]
	return ok
}

// keys returns, in order, the keys of the streams and the manifest.
func (s *unitState) keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(s.kept)), func(key string) bool {
		return key == checkpoint.FenceKey || key == takeoverKey || key == endsKey
	})
}

// unitOf returns the unit that the state describes, as owner has it: its fence
// is that of the last takeover when there was no commit since.
func (s *unitState) unitOf(ctx context.Context, owner string) (*checkpoint.Unit, error) {
	fence, err := s.fence(ctx)
	if err != nil {
		return nil, err
	}
	values := map[string][]byte{checkpoint.FenceKey: fence}
	for _, key := range s.keys() {
		if checkpoint.Paged(key) {
			continue
		}
		if values[key], err = s.entry(ctx, key); err != nil {
			return nil, err
		}
	}
	u, err := checkpoint.LoadUnit(owner, func(key string) []byte { return values[key] })
	if err != nil {
		return nil, fmt.Errorf("loading the checkpoint of unit %s from %v: %w", s.unit, s.view, err)
	}
	return u, nil
}

// fence returns the value of the fence as the last takeover left it, nil when
// there is none.
func (s *unitState) fence(ctx context.Context) ([]byte, error) {
	value, err := s.entry(ctx, checkpoint.FenceKey)
	if err != nil || value == nil {
		return nil, err
	}
	return s.takeover.apply(value)
}

// each yields the entries of the streams that are not paged, in order.
func (s *unitState) each(ctx context.Context, yield func(checkpoint.Entry) error) error {
	for _, key := range s.keys() {
		if checkpoint.Paged(key) || key == checkpoint.ManifestKey {
			continue
		}
		value, err := s.entry(ctx, key)
		if err != nil {
			return err
		}
		if err := yield(checkpoint.Entry{Key: key, Value: value}); err != nil {
			return err
		}
	}
	return nil
}

// entry returns the value of a key, nil when there is none. It reads what is
// not kept from the topic, trying as long as it takes; an error is fatal or
// that of ctx.
func (s *unitState) entry(ctx context.Context, key string) ([]byte, error) {
	for {
		s.mu.Lock()
		k, ok := s.kept[key]
		s.mu.Unlock()
		value := k.value
		if ok && value == nil {
			var err error
			if value, err = s.valueAt(ctx, key, k.offset); err != nil {
				return nil, err
			}
		}
		s.mu.Lock()
		current := s.kept[key].offset == k.offset
		s.mu.Unlock()
		switch {
		case ok && value == nil && current:
			return nil, fault.Fatal(fmt.Errorf("the checkpoint of unit %s lacks %q, which was at %v@%d", s.unit, key, s.view, k.offset),
				"restore the checkpoint topic from a backup")
		case ok && value == nil: // replaced, and compacted, in the meantime
			continue
		default:
			return value, nil
		}
	}
}

// valueAt returns the value of the record at an offset, nil when that is not
// there or has another key.
func (s *unitState) valueAt(ctx context.Context, key string, offset int64) (value []byte, err error) {
	v := s.view
	v.alone = true
	v.isolation = readUncommitted // it is known to be committed, readers may see it a moment later
	err = s.client.reading(ctx, s.log, v.String(), func() error {
		_, err := s.client.fetch(ctx, v, offset, func(r *protocol.Record) error {
			if r.Offset > offset {
				return &yieldError{}
			}
			if r.Offset < offset {
				return nil
			}
			k, err := protocol.ReadAll(r.Key)
			if err == nil && string(k) == key {
				value, err = protocol.ReadAll(r.Value)
			}
			return &yieldError{err}
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading %q of unit %s: %w", key, s.unit, err)
	}
	return value, nil
}

// forget drops the values that were kept for the start, and keeps no more; they
// can still be read.
func (s *unitState) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lean = true
	for key, k := range s.kept {
		s.kept[key] = kept{offset: k.offset}
	}
}
