package kafka

import (
	"errors"
	"slices"
	"testing"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
)

// data is a batch with records at the given offsets; the producer's batches
// are transactional unless its id is negative.
func data(base, producer int64, offsets ...int64) protocol.RecordReader {
	records := make([]protocol.Record, len(offsets))
	for i, o := range offsets {
		records[i].Offset = o
	}
	b := &protocol.RecordBatch{BaseOffset: base, ProducerID: max(producer, -producer), Records: protocol.NewRecordReader(records...)}
	if producer > 0 {
		b.Attributes = protocol.Transactional
	}
	return b
}

func marker(offset, producer int64, kind int16) protocol.RecordReader {
	r := protocol.ControlRecord{Offset: offset, Type: kind}
	return &protocol.ControlBatch{BaseOffset: offset, ProducerID: producer, Records: protocol.NewRecordReader(r.Record())}
}

func TestCommitted(t *testing.T) {
	const abort, commit = 0, 1
	tests := []struct {
		name    string
		offset  int64
		batches []protocol.RecordReader
		aborted []fetch.ResponseTransaction
		want    []int64
		next    int64
	}{
		{
			name:    "begins inside a batch",
			offset:  2,
			batches: []protocol.RecordReader{data(0, -1, 0, 1, 2, 3)},
			want:    []int64{2, 3}, next: 4,
		},
		{
			name:    "all that is left of a batch lies before",
			offset:  5,
			batches: []protocol.RecordReader{data(0, -1, 0, 3)},
			next:    6,
		},
		{
			name: "a marker at the end",
			batches: []protocol.RecordReader{
				data(0, 7, 0, 1), marker(2, 7, commit),
			},
			want: []int64{0, 1}, next: 3,
		},
		{
			name: "an aborted transaction between others",
			batches: []protocol.RecordReader{
				data(0, 7, 0), data(1, 8, 1), data(2, -9, 2), data(3, 7, 3), marker(4, 7, abort), data(5, 7, 5), marker(6, 8, commit), marker(7, 7, commit),
			},
			aborted: []fetch.ResponseTransaction{{ProducerID: 7, FirstOffset: 0}},
			want:    []int64{1, 2, 5}, next: 8,
		},
		{
			name:   "begins at the marker of an aborted transaction",
			offset: 4,
			batches: []protocol.RecordReader{
				marker(4, 7, abort), data(5, 7, 5), marker(6, 7, commit),
			},
			aborted: []fetch.ResponseTransaction{{ProducerID: 7, FirstOffset: 1}},
			want:    []int64{5}, next: 7,
		},
		{
			name: "aborts of two producers, not listed in order",
			batches: []protocol.RecordReader{
				data(0, 7, 0), data(1, 8, 1), marker(2, 7, abort), data(3, 7, 3), marker(4, 7, commit), data(5, 8, 5), marker(6, 8, abort),
			},
			aborted: []fetch.ResponseTransaction{{ProducerID: 8, FirstOffset: 1}, {ProducerID: 7, FirstOffset: 0}},
			want:    []int64{3}, next: 7,
		},
		{
			name: "an id that also writes without transactions",
			batches: []protocol.RecordReader{
				data(0, 7, 0), data(1, -7, 1), marker(2, 7, abort),
			},
			aborted: []fetch.ResponseTransaction{{ProducerID: 7, FirstOffset: 0}},
			want:    []int64{1}, next: 3,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []int64
			next, err := committed(tt.batches, tt.aborted, tt.offset, func(r *protocol.Record) error {
				got = append(got, r.Offset)
				return nil
			})
			if err != nil || next != tt.next || !slices.Equal(got, tt.want) {
				t.Errorf("got %v, next %d, error %v; want %v, next %d", got, next, err, tt.want, tt.next)
			}
		})
	}
}

func TestCommittedStops(t *testing.T) {
	stop := errors.New("stop")
	next, err := committed([]protocol.RecordReader{data(0, -1, 0, 1, 2)}, nil, 0, func(r *protocol.Record) error {
		if r.Offset == 1 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || next != 1 {
		t.Errorf("got next %d and error %v, want 1 and the error of yield", next, err)
	}
}
