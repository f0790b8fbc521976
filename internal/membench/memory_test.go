//go:build linux

// Package membench measures the peak memory of a real connector process that
// reads simulated providers and publishes to a NATS server in another process.
package membench

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"
)

// most scales the cases up: make bench-memory sets it.
var most = flag.Int("rows", 100_000, "rows of the largest backlog")

// target is the peak that no case may exceed.
const target = 128 << 20

const (
	rowBytes = 300       // of a small row beside its fixed fields
	answer   = 200 << 20 // bytes of the largest answer
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(natsDirEnv); dir != "" {
		serveNATS(dir)
		return
	}
	os.Exit(m.Run())
}

// BenchmarkMemory reports for each case the most memory that a connector
// process had resident (ru_maxrss), the rows of the provider it moved per
// second, end to end, and the messages it stored. More memory than the target
// fails it, as a wrong number of messages does.
func BenchmarkMemory(b *testing.B) {
	binary := connector(b)
	b.Run("idle", func(b *testing.B) { move(b, binary, ekuaibao, history{reads: 1}) })
	for _, n := range []int{100_000, 1_000_000, 10_000_000} {
		if n > *most {
			break
		}
		for _, p := range []provider{ekuaibao, submail} {
			b.Run(fmt.Sprintf("backlog/%s/%d", p.name, n), func(b *testing.B) { move(b, binary, p, backlog(n)) })
		}
	}
	for _, p := range []provider{ekuaibao, submail} {
		n := min(*most, 3_000_000)
		b.Run(fmt.Sprintf("young/%s/%d", p.name, n), func(b *testing.B) { move(b, binary, p, young(n)) })
	}
	for _, size := range []int{2 << 10, 500 << 10, 3 << 20, answer} {
		n := answer / size
		b.Run(fmt.Sprintf("answer/%d_rows_of_%dKiB", n, size>>10), func(b *testing.B) { move(b, binary, ekuaibao, burst(n, size)) })
	}
	for _, size := range []int{8 << 10, 3 << 20} {
		n := answer / size
		b.Run(fmt.Sprintf("pages/%d_rows_of_%dKiB", n, size>>10), func(b *testing.B) { move(b, binary, submail, burst(n, size)) })
	}
}

// backlog has rows of 25 days that were terminal long ago.
func backlog(n int) history {
	return spread(n, 25*24*time.Hour, 29*24*time.Hour, history{filling: rowBytes, terminal: true, reads: 1})
}

// young has rows of three hours that may all appear late and change. They are
// read twice: as new ones, and by a second process as known ones.
func young(n int) history {
	return spread(n, 3*time.Hour, 4*time.Hour, history{filling: rowBytes, reads: 2})
}

// burst has rows of one window, which ekuaibao answers at once.
func burst(n, size int) history {
	return spread(n, 20*time.Minute, 4*24*time.Hour, history{filling: size, terminal: true, reads: 1})
}

// spread adds n rows, the first of which was created so long ago, in an hour's
// first moment, over a span.
func spread(n int, span, since time.Duration, h history) history {
	h.rows, h.first, h.step = n, time.Now().Add(-since).Truncate(time.Hour), span/time.Duration(n)
	return h
}

// move lets a connector process move all rows and reports what it took.
func move(b *testing.B, binary string, p provider, h history) {
	for b.Loop() {
		server, source := startNATS(b), p.serve(b, h)
		settings := append([]string{
			"CONNECTOR_SINK=nats", "CONNECTOR_START=720h", "CONNECTOR_DATA_DIR=" + b.TempDir(), "CONNECTOR_HTTP_ADDR=127.0.0.1:0",
			"CONNECTOR_LOG_LEVEL=warn", "NATS_URL=" + server.url, "HQ_BASE_URL=" + source.url,
		}, p.settings...)
		var peak int64
		for range h.reads {
			peak = max(peak, runOnce(b, binary, settings))
		}
		took := time.Since(time.Unix(0, source.asked.Load()))
		stored := server.messages(b)
		server.stop(b)
		if stored != h.rows {
			b.Errorf("got %d messages, want %d", stored, h.rows)
		}
		if peak > target {
			b.Errorf("got a peak of %d MiB, want at most %d MiB", peak>>20, target>>20)
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(peak)/(1<<20), "peakMiB")
		b.ReportMetric(float64(stored), "messages")
		b.ReportMetric(float64(source.served.Load())/took.Seconds(), "rowsRead/s")
		b.ReportMetric(float64(stored)/took.Seconds(), "messages/s")
	}
}
