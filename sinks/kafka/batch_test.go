package kafka

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"testing"

	"github.com/segmentio/kafka-go/compress"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// TestBatchEqualsKmsg compares the encoder with franz-go's, byte for byte
// where nothing is compressed and record for record where it is.
func TestBatchEqualsKmsg(t *testing.T) {
	for code := compress.None; code <= compress.Zstd; code++ {
		for name, attributes := range map[string]int16{"idempotent": 0, "transactional": inTransaction} {
			t.Run(code.String()+"/"+name, func(t *testing.T) { rapid.Check(t, batchEqualsKmsg(code, attributes)) })
		}
	}
}

func batchEqualsKmsg(code compress.Compression, attributes int16) func(*rapid.T) {
	e := &batchEncoder{codec: code.Codec(), maxBytes: math.MaxInt} // kept across batches, as the producer does
	return func(t *rapid.T) {
		records := rapid.SliceOfN(drawRecord(), 1, 40).Draw(t, "records")
		p := producerID{rapid.Int64().Draw(t, "id"), rapid.Int16().Draw(t, "epoch")}
		sequence := rapid.Int32().Draw(t, "sequence")
		got := encode(t, e, records, attributes)
		stamp(got, p, sequence)
		if size := binary.BigEndian.Uint32(got); int(size) != len(got)-prefixBytes {
			t.Fatalf("size prefix: got %d, want %d", size, len(got)-prefixBytes)
		}
		got = got[prefixBytes:]
		want := kmsgBatch(records, attributes|int16(code), p, sequence)
		if code != compress.None {
			compareCompressed(t, got, want)
		} else if w := seal(want); !bytes.Equal(got, w) {
			t.Fatalf("got  %x\nwant %x", got, w)
		}
	}
}

// TestLargeBatchEqualsKmsg has lengths and numbers of records that take three
// bytes.
func TestLargeBatchEqualsKmsg(t *testing.T) {
	records := make([]testRecord, 9000)
	for i := range records {
		records[i].record = record{time: int64(i * i), key: fmt.Appendf(nil, "key-%d", i), value: bytes.Repeat([]byte("x"), i%70)}
		if i%3000 == 0 {
			records[i].value = bytes.Repeat([]byte("y"), 9000)
		}
	}
	e := batchEncoder{maxBytes: math.MaxInt}
	got := encode(t, &e, records, inTransaction)
	stamp(got, producerID{7, 3}, math.MaxInt32)
	if want := seal(kmsgBatch(records, inTransaction, producerID{7, 3}, math.MaxInt32)); !bytes.Equal(got[prefixBytes:], want) {
		t.Error("the batches differ")
	}
}

// testRecord is a record, and what its headers are.
type testRecord struct {
	record
	list []kmsg.Header
}

func drawRecord() *rapid.Generator[testRecord] {
	blob := rapid.OneOf(rapid.Just([]byte(nil)), rapid.SliceOfN(rapid.Byte(), 0, 300))
	return rapid.Custom(func(t *rapid.T) testRecord {
		r := testRecord{record: record{
			time:  rapid.Int64Range(-1<<40, 1<<42).Draw(t, "time"),
			key:   blob.Draw(t, "key"),
			value: blob.Draw(t, "value"),
		}}
		for range rapid.IntRange(0, 10).Draw(t, "headers") {
			name, content := rapid.String().Draw(t, "name"), rapid.String().Draw(t, "content")
			r.headers = r.headers.with(name, content)
			r.list = append(r.list, kmsg.Header{Key: name, Value: []byte(content)})
		}
		return r
	})
}

func encode(t interface{ Fatalf(string, ...any) }, e *batchEncoder, records []testRecord, attributes int16) []byte {
	e.reset()
	for i := range records {
		if !e.add(&records[i].record) {
			t.Fatalf("add refused record %d", i)
		}
	}
	got, err := e.finish(attributes)
	if err != nil {
		t.Fatalf("finish: %v", err)
	}
	return got
}

// kmsgBatch builds the batch with franz-go's types, uncompressed and unsealed.
func kmsgBatch(records []testRecord, attributes int16, p producerID, sequence int32) kmsg.RecordBatch {
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: attributes,
		LastOffsetDelta: int32(len(records) - 1), FirstTimestamp: records[0].time, MaxTimestamp: records[0].time,
		ProducerID: p.id, ProducerEpoch: p.epoch, FirstSequence: sequence, NumRecords: int32(len(records)),
	}
	for i, r := range records {
		b.MaxTimestamp = max(b.MaxTimestamp, r.time)
		kr := kmsg.Record{TimestampDelta64: r.time - b.FirstTimestamp, OffsetDelta: int32(i), Key: r.key, Value: r.value, Headers: r.list}
		kr.Length = int32(len(kr.AppendTo(nil)) - 1) // one byte for the length 0 just written
		b.Records = kr.AppendTo(b.Records)
	}
	return b
}

// seal fills in length and checksum.
func seal(b kmsg.RecordBatch) []byte {
	raw := b.AppendTo(nil)
	b.Length = int32(len(raw) - 12)
	raw = b.AppendTo(nil)
	b.CRC = int32(crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b.AppendTo(nil)
}

func compareCompressed(t *rapid.T, got []byte, want kmsg.RecordBatch) {
	var b kmsg.RecordBatch
	if err := b.ReadFrom(got); err != nil {
		t.Fatalf("kmsg reading the batch: %v", err)
	}
	if crc := int32(crc32.Checksum(got[21:], crc32.MakeTable(crc32.Castagnoli))); b.CRC != crc {
		t.Fatalf("checksum: got %x, want %x", b.CRC, crc)
	}
	records, err := kfake.BatchRecords(b)
	if err != nil {
		t.Fatalf("franz-go decompressing the batch: %v", err)
	}
	var plain []byte
	for _, r := range records {
		plain = r.AppendTo(plain)
	}
	if !bytes.Equal(plain, want.Records) {
		t.Fatalf("records:\ngot  %x\nwant %x", plain, want.Records)
	}
	b.Length, b.CRC, b.Records = 0, 0, nil
	want.Records = nil
	if got, want := fmt.Sprintf("%+v", b), fmt.Sprintf("%+v", want); got != want {
		t.Fatalf("header:\ngot  %s\nwant %s", got, want)
	}
}

func TestBatchMaxBytes(t *testing.T) {
	r := record{value: make([]byte, 1000)}
	e := batchEncoder{maxBytes: 10_000}
	e.reset()
	n := 0
	for e.add(&r) {
		n++
	}
	b, err := e.finish(0)
	if err != nil {
		t.Fatal(err)
	}
	if n != 9 || len(b) > 10_000 {
		t.Errorf("got %d records in %d bytes, want 9 in at most 10000", n, len(b))
	}
	e.reset()
	if r.value = make([]byte, 20_000); !e.add(&r) {
		t.Error("a batch must hold one record, however large")
	}
}

func TestNextSequence(t *testing.T) {
	tests := []struct {
		from int32
		n    int
		want int32
	}{
		{0, 1, 1}, {7, 5000, 5007}, {math.MaxInt32, 1, 0}, {math.MaxInt32 - 1, 4, 2},
	}
	for _, tt := range tests {
		if got := nextSequence(tt.from, tt.n); got != tt.want {
			t.Errorf("nextSequence(%d, %d): got %d, want %d", tt.from, tt.n, got, tt.want)
		}
	}
}

// BenchmarkBatch encodes 800 events of 1 KB a batch; the none case is the
// cost of the format, copy the floor: one copy of the same bytes.
func BenchmarkBatch(b *testing.B) {
	value := bytes.Repeat([]byte(`{"schemaVersion":"1.0","status":"delivered"},`), 23)[:1000]
	list := headers{}.with("ce_id", "d5f0").with("ce_type", "delivery.sms.delivered").with("content-type", "application/json")
	records := make([]testRecord, 800)
	for i := range records {
		records[i].record = record{time: 1_700_000_000_000, key: fmt.Appendf(nil, "acme/sms/%d", i), value: value, headers: list}
	}
	for code := compress.None; code <= compress.Zstd; code++ {
		b.Run(code.String(), func(b *testing.B) {
			e := batchEncoder{codec: code.Codec(), maxBytes: math.MaxInt}
			b.ReportAllocs()
			for b.Loop() {
				set := encode(b, &e, records, 0)
				stamp(set, producerID{1, 0}, 0)
				b.SetBytes(int64(len(records) * 1000))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(records)), "ns/event")
		})
	}
	b.Run("copy", func(b *testing.B) {
		dst := make([]byte, 0, len(records)*1200)
		for b.Loop() {
			dst = dst[:0]
			for i := range records {
				dst = append(append(dst, records[i].key...), records[i].value...)
			}
			b.SetBytes(int64(len(records) * 1000))
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(records)), "ns/event")
	})
}
