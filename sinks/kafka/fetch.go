package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
)

const (
	fetchWait     = 500 * time.Millisecond
	readCommitted = 1
	abortMarker   = 0 // type of a control record
)

// bound is an end of a partition, as ListOffsets names it.
type bound int64

const (
	first bound = -2
	// last is the last stable offset: where the first open transaction
	// begins, or the end.
	last bound = -1
)

// offset returns the offset of a bound.
func (c *client) offset(ctx context.Context, topic string, partition int32, b bound) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	m, err := c.roundTrip(ctx, &listoffsets.Request{
		ReplicaID: -1, IsolationLevel: readCommitted,
		Topics: []listoffsets.RequestTopic{{Topic: topic, Partitions: []listoffsets.RequestPartition{{
			Partition: partition, CurrentLeaderEpoch: -1, Timestamp: int64(b),
		}}}},
	})
	if err != nil {
		return 0, err
	}
	res := m.(*listoffsets.Response)
	if len(res.Topics) != 1 || len(res.Topics[0].Partitions) != 1 {
		return 0, errors.New("the answer to an offset request does not name its partition")
	}
	p := &res.Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		return 0, &answerError{code: kafkago.Error(p.ErrorCode)}
	}
	return p.Offset, nil
}

// fetch calls yield for the committed records from offset on that one request
// finds, in order, and returns the offset to go on from. It waits a moment
// for a record to appear. An error of yield is returned as it is.
func (c *client) fetch(ctx context.Context, topic string, partition int32, offset int64, yield func(*protocol.Record) error) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	m, err := c.roundTrip(ctx, &fetch.Request{
		ReplicaID: -1, MaxWaitTime: int32(fetchWait.Milliseconds()), MinBytes: 1,
		MaxBytes:       math.MaxInt32, // the partition's bound is enough
		IsolationLevel: readCommitted,
		SessionEpoch:   -1, // no session
		Topics: []fetch.RequestTopic{{Topic: topic, Partitions: []fetch.RequestPartition{{
			Partition: partition, CurrentLeaderEpoch: -1, FetchOffset: offset, LogStartOffset: -1, PartitionMaxBytes: c.fetchBytes,
		}}}},
	})
	if err != nil {
		return offset, err
	}
	res := m.(*fetch.Response)
	if res.ErrorCode != 0 {
		return offset, &answerError{code: kafkago.Error(res.ErrorCode)}
	}
	if len(res.Topics) != 1 || len(res.Topics[0].Partitions) != 1 {
		return offset, errors.New("the answer to a fetch request does not name its partition")
	}
	p := &res.Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		return offset, &answerError{code: kafkago.Error(p.ErrorCode)}
	}
	stream, ok := p.RecordSet.Records.(*protocol.RecordStream)
	if !ok || len(stream.Records) == 0 {
		return offset, nil
	}
	return committed(stream.Records, p.AbortedTransactions, offset, yield)
}

// committed yields the records of batches from offset on, without those of
// aborted transactions and without markers, and returns the offset after the
// last of them all.
//
// aborted lists the aborted transactions that overlap batches. One is hidden
// from its first offset until its producer's next abort marker.
func committed(batches []protocol.RecordReader, aborted []fetch.ResponseTransaction, offset int64, yield func(*protocol.Record) error) (int64, error) {
	slices.SortFunc(aborted, func(a, b fetch.ResponseTransaction) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	hidden := make(map[int64]bool) // by producer id
	begin := func(upTo int64) {
		for len(aborted) > 0 && aborted[0].FirstOffset <= upTo {
			hidden[aborted[0].ProducerID] = true
			aborted = aborted[1:]
		}
	}
	// A batch may hold nothing from offset on: compaction removes records
	// and leaves the batch. Then the next one to ask for is offset + 1.
	next := offset + 1
	for _, reader := range batches {
		show := true
		switch b := reader.(type) {
		case *protocol.ControlBatch:
			begin(b.BaseOffset)
			end, err := readMarker(b, hidden)
			if err != nil {
				return next, err
			}
			next = max(next, end)
			continue
		case *protocol.RecordBatch:
			begin(b.BaseOffset)
			show = !b.Attributes.Transactional() || !hidden[b.ProducerID]
		}
		err := eachRecord(reader, func(r *protocol.Record) error {
			if show && r.Offset >= offset {
				if err := yield(r); err != nil {
					return err
				}
			}
			next = max(next, r.Offset+1)
			return nil
		})
		if err != nil {
			return next, err
		}
	}
	return next, nil
}

// readMarker ends the transaction that b marks as aborted and returns the
// offset after it.
func readMarker(b *protocol.ControlBatch, hidden map[int64]bool) (next int64, err error) {
	err = eachRecord(b, func(r *protocol.Record) error {
		next = r.Offset + 1
		marker, err := protocol.ReadControlRecord(r)
		if err != nil {
			return fmt.Errorf("reading the transaction marker at offset %d: %w", r.Offset, err)
		}
		if marker.Type == abortMarker {
			delete(hidden, b.ProducerID)
		}
		return nil
	})
	return next, err
}

// eachRecord calls do for the records of a batch. Keys and values are valid
// during the call only.
func eachRecord(records protocol.RecordReader, do func(*protocol.Record) error) error {
	for {
		r, err := records.ReadRecord()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("decoding a batch of records: %w", err)
		}
		err = do(r)
		if r.Key != nil {
			_ = r.Key.Close()
		}
		if r.Value != nil {
			_ = r.Value.Close()
		}
		if err != nil {
			return err
		}
	}
}
