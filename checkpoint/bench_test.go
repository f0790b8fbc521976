package checkpoint_test

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"testing"
	"time"

	"connector/checkpoint"
	"connector/checkpoint/file"
	"connector/sources"
)

const chunk = 500 // records, as many as a scan yields at once

// load drives a ledger over a store in a file, and watches the heap.
type load struct {
	testing.TB
	store   checkpoint.Store
	dir     string
	ledger  *checkpoint.Ledger
	peak    uint64 // bytes of the heap
	written int
	rows    []sources.Record
}

func newLoad(tb testing.TB) *load {
	l := &load{TB: tb, dir: tb.TempDir(), rows: make([]sources.Record, chunk)}
	var err error
	if l.store, err = file.Open(l.dir, "u0"); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.store.Close() })
	l.ledger = checkpoint.New("hq", flow, t0, checkpoint.NewPages(l.store.Get, checkpoint.DefaultPageBytes))
	return l
}

// read admits a chunk of records, the nth of which was created at(n), and
// commits it.
func (l *load) read(from int, at func(n int) time.Time, forget time.Time, terminal bool) (fresh int) {
	for i := range l.rows {
		l.rows[i] = sources.Record{ID: strconv.Itoa(from + i), Created: at(from + i), Rank: 1, Print: "p", Terminal: terminal}
	}
	w := sources.Span{From: l.rows[0].Created, To: l.rows[chunk-1].Created}
	b := l.ledger.Begin()
	if err := b.Read(context.Background(), l.rows, w); err != nil {
		l.Fatal(err)
	}
	for _, r := range l.rows {
		if _, ok := admit(l, b, r, w); ok {
			fresh++
		}
	}
	b.Cover(sources.Span{From: l.ledger.Settled(), To: w.To}, w.To, 0)
	if !forget.IsZero() {
		b.Seal(forget)
	}
	l.commit(b)
	return fresh
}

func (l *load) commit(b *checkpoint.Batch) {
	if b.Empty() {
		return
	}
	list := entries(l, b)
	for _, e := range list {
		l.written += len(e.Value)
	}
	if err := l.store.Save(context.Background(), list); err != nil {
		l.Fatal(err)
	}
	b.Apply()
	l.peak = max(l.peak, heap())
}

func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func liveHeap() uint64 {
	runtime.GC()
	debug.FreeOSMemory()
	return heap()
}

// report prints what n records cost.
func (l *load) report(b *testing.B, n int, before uint64) {
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(l.written)/float64(n), "writtenB/record")
	b.ReportMetric(float64(max(liveHeap(), before)-before)/float64(n), "heapB/record")
	b.ReportMetric(float64(l.peak)/(1<<20), "peakMiB")
	if info, err := os.Stat(l.dir + "/checkpoint-u0.db"); err == nil {
		b.ReportMetric(float64(info.Size())/float64(n), "fileB/record")
	}
	b.ReportMetric(float64(l.stored())/float64(n), "storedB/record")
}

// stored sums the values of the state.
func (l *load) stored() int {
	n := 0
	for _, e := range l.ledger.Pages() {
		v, err := l.store.Get(context.Background(), e)
		if err != nil {
			l.Fatal(err)
		}
		n += len(v)
	}
	return n
}

// BenchmarkAdmit times records of one stream, 100,000 an hour, without a
// store: those that are new, and those read again.
func BenchmarkAdmit(b *testing.B) {
	const hours, perHour = 3, 100_000
	at := func(n int) time.Time { return t0.Add(time.Duration(n%(hours*perHour)) * (time.Hour / perHour)) }
	rows := make([]sources.Record, hours*perHour)
	for i := range rows {
		rows[i] = sources.Record{ID: strconv.Itoa(i), Created: at(i), Rank: 1, Print: "p"}
	}
	pass := func(b *testing.B, d *disk, l *checkpoint.Ledger, n int) {
		for i := 0; i < n; i += chunk {
			part := rows[i%len(rows):][:min(chunk, n-i)]
			w := sources.Span{From: part[0].Created, To: part[len(part)-1].Created}
			batch := l.Begin()
			if err := batch.Read(b.Context(), part, w); err != nil {
				b.Fatal(err)
			}
			for _, r := range part {
				admit(b, batch, r, w)
			}
			if !batch.Empty() {
				d.commit(b, batch)
			}
		}
	}
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for done := 0; done < b.N; done += len(rows) {
			b.StopTimer()
			d := newDisk()
			l := d.ledger(b)
			b.StartTimer()
			pass(b, d, l, min(len(rows), b.N-done))
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	})
	b.Run("known", func(b *testing.B) {
		d := newDisk()
		l := d.ledger(b)
		pass(b, d, l, len(rows))
		b.ReportAllocs()
		b.ResetTimer()
		pass(b, d, l, b.N)
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	})
}

// BenchmarkLedgerSize shows what records cost in memory and in a file. Run it
// with -benchtime=1x; it takes minutes.
func BenchmarkLedgerSize(b *testing.B) {
	for _, c := range []struct {
		name     string
		records  int
		span     time.Duration // of their creation times
		giveUp   time.Duration // 0 for never
		terminal bool
	}{
		{"1M_in_24h", 1_000_000, 24 * time.Hour, 0, false},
		{"3M_open_in_30m", 3_000_000, 30 * time.Minute, 0, false},
		{"10M_in_20d", 10_000_000, 20 * 24 * time.Hour, 72 * time.Hour, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			for range b.N {
				before := liveHeap()
				l := newLoad(b)
				at := func(n int) time.Time {
					return t0.Add(time.Duration(float64(n) / float64(c.records) * float64(c.span))).Truncate(time.Millisecond)
				}
				b.ResetTimer()
				for n := 0; n < c.records; n += chunk {
					forget := time.Time{}
					if c.giveUp > 0 {
						forget = at(n).Add(-c.giveUp)
					}
					if fresh := l.read(n, at, forget, c.terminal); fresh != chunk {
						b.Fatalf("got %d new of %d at %d", fresh, chunk, n)
					}
				}
				b.StopTimer()
				l.report(b, c.records, before)
				began, again := time.Now(), 0
				for n := c.records - 100*chunk; n < c.records; n += chunk {
					again += l.read(n, at, time.Time{}, c.terminal)
				}
				if again > 0 {
					b.Errorf("%d records would be published again", again)
				}
				b.ReportMetric(100*chunk/time.Since(began).Seconds(), "reread/s")
			}
		})
	}
}
