//go:build linux

package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"connector/checkpoint"
	checkpointfile "connector/checkpoint/file"
	"connector/schema"
	"connector/sinks"
	"connector/sinks/file"
)

// BenchmarkFile compares with lines, and with bodies alone, written and synced
// 1000 at a time as the sink does.
func BenchmarkFile(b *testing.B) {
	r := raw{
		bare:  rawFile(b, func(m *schema.Message) []byte { return m.Body }),
		ready: rawFile(b, line),
	}
	dir := b.TempDir()
	sink, err := file.NewSink(file.Config{Path: filepath.Join(dir, "events")}, sinks.Options{
		Owner: "bench", Log: slog.New(slog.DiscardHandler),
		Store: func(_ context.Context, unit string) (checkpoint.Store, error) { return checkpointfile.Open(dir, unit) },
	})
	compare(b, r, committing(open(b, sink, err)))
}

// line returns a message as long as the sink's.
func line(m *schema.Message) []byte {
	b := []byte("{")
	for _, a := range m.Attributes() {
		b = fmt.Appendf(b, "%q:%q,", a.Name, a.Value)
	}
	return append(append(append(b, `"data":`...), m.Body...), '}')
}

func rawFile(b *testing.B, line func(*schema.Message) []byte) side {
	b.Helper()
	const batch = 1000
	out, err := os.OpenFile(filepath.Join(b.TempDir(), "raw"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = out.Close() })
	return func(events []schema.Message) func(context.Context) error {
		var batches [][]byte
		for part := range slices.Chunk(events, batch) {
			var all []byte
			for i := range part {
				all = append(append(all, line(&part[i])...), '\n')
			}
			batches = append(batches, all)
		}
		return func(context.Context) error {
			for _, all := range batches {
				_, err := out.Write(all)
				if err := errors.Join(err, out.Sync()); err != nil {
					return err
				}
			}
			return nil
		}
	}
}
