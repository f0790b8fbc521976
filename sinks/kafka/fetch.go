package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
	"github.com/segmentio/kafka-go/protocol/listoffsets"

	"connector/internal/fault"
)

const (
	fetchWait   = 500 * time.Millisecond
	abortMarker = 0 // type of a control record
)

// Isolation levels of reading.
const (
	readUncommitted int8 = iota // up to the end, open and aborted transactions included
	readCommitted               // up to the last stable offset, without aborted transactions
)

// view is how a partition is read.
type view struct {
	topic     string
	partition int32
	isolation int8
	// alone asks for one batch at a time, instead of as many as an answer takes.
	alone bool
}

func (v view) String() string { return fmt.Sprintf("%s[%d]", v.topic, v.partition) }

// bound is an end of a partition, as ListOffsets names it.
type bound int64

const (
	first bound = -2
	// last is the end or, when only what is committed is read, the last
	// stable offset: where the first open transaction begins.
	last bound = -1
)

// offset returns the offset of a bound.
func (c *client) offset(ctx context.Context, v view, b bound) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	m, err := c.roundTrip(ctx, &listoffsets.Request{
		ReplicaID: -1, IsolationLevel: v.isolation,
		Topics: []listoffsets.RequestTopic{{Topic: v.topic, Partitions: []listoffsets.RequestPartition{{
			Partition: v.partition, CurrentLeaderEpoch: -1, Timestamp: int64(b),
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

// fetch calls yield for the records from offset on that one request
// finds, in order, and returns the offset to go on from. It waits a moment
// for a record to appear. An error of yield is returned as it is.
func (c *client) fetch(ctx context.Context, v view, offset int64, yield func(*protocol.Record) error) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	maxBytes := c.fetchBytes
	if v.alone {
		maxBytes = 1
	}
	m, err := c.roundTrip(ctx, &fetch.Request{
		ReplicaID: -1, MaxWaitTime: int32(fetchWait.Milliseconds()), MinBytes: 1,
		MaxBytes:       math.MaxInt32, // the partition's bound is enough
		IsolationLevel: v.isolation,
		SessionEpoch:   -1, // no session
		Topics: []fetch.RequestTopic{{Topic: v.topic, Partitions: []fetch.RequestPartition{{
			Partition: v.partition, CurrentLeaderEpoch: -1, FetchOffset: offset, LogStartOffset: -1, PartitionMaxBytes: maxBytes,
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

// yieldError tells an error of yield from one of a request.
type yieldError struct{ err error }

func (e *yieldError) Error() string { return e.err.Error() }

// reading repeats do, which reads of a topic, until it succeeds, fails for
// good, or fails with a yieldError, of which it returns the content.
func (c *client) reading(ctx context.Context, log *slog.Logger, subject string, do func() error) error {
	retry := newRetry(log, subject)
	for {
		began := time.Now()
		err := do()
		if err == nil {
			retry.done()
			return nil
		}
		if y, ok := errors.AsType[*yieldError](err); ok {
			return y.err
		}
		if remedy := readRemedy(err); remedy != "" {
			return fault.Fatal(fmt.Errorf("reading %s: %w", subject, err), remedy)
		}
		if judge(err) == stopped {
			return stop(fmt.Errorf("reading %s: %w", subject, err), subject)
		}
		c.refresh(began)
		if err := retry.wait(ctx, err); err != nil {
			return err
		}
	}
}

// readTo calls do for the records from offset next to before end, and maybe for some behind
// that. It returns the offset behind the last of them. An error of do ends it; others are as
// of [client.reading].
func (c *client) readTo(ctx context.Context, log *slog.Logger, v view, next, end int64, do func(*protocol.Record) error) (int64, error) {
	for next < end {
		err := c.reading(ctx, log, v.String(), func() (err error) {
			next, err = c.fetch(ctx, v, next, func(r *protocol.Record) error {
				if err := do(r); err != nil {
					return &yieldError{err}
				}
				return nil
			})
			return err
		})
		if err != nil {
			return next, err
		}
	}
	return next, nil
}

// readRemedy says what to do about an answer that says something else to a
// reader than to a writer, or returns "" when err is none.
func readRemedy(err error) string {
	switch answer, _ := errors.AsType[*answerError](err); {
	case answer == nil:
		return ""
	case answer.code == kafkago.TopicAuthorizationFailed:
		return "grant the user of KAFKA_SASL_USERNAME the operations DESCRIBE and READ on the topic"
	case answer.code == kafkago.OffsetOutOfRange:
		return "the topic was cut, or deleted and created again: restore it from a backup"
	default:
		return ""
	}
}
