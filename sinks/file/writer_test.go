package file

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connector/checkpoint"
	checkpointfile "connector/checkpoint/file"
	"connector/internal/fault"
	"connector/sinks"
	"connector/sinks/sinktest"
)

func TestWriterPublisherConforms(t *testing.T) {
	t.Parallel()
	cfg := Config{Path: filepath.Join(t.TempDir(), "stdout")}
	out, err := os.OpenFile(cfg.Path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	open := func(context.Context) (sinks.Publisher, error) { return NewWriterPublisher(out), nil }
	if err := sinktest.Check(t.Context(), paired(t, cfg, open)); err != nil {
		t.Error(err)
	}
}

// paired returns the target of a publisher with a checkpoint in a file.
func paired(t *testing.T, cfg Config, open func(context.Context) (sinks.Publisher, error)) sinktest.Target {
	dir := t.TempDir()
	store := func(_ context.Context, unit string) (checkpoint.Store, error) { return checkpointfile.Open(dir, unit) }
	return sinktest.Paired(open, store, func(ctx context.Context, opts sinks.TailOptions, yield func(sinks.Received) error) error {
		return Tail(ctx, cfg, nil, opts, yield)
	})
}

// halfWriter takes half of the first write.
type halfWriter struct {
	bytes.Buffer
	failed bool
}

func (w *halfWriter) Write(p []byte) (int, error) {
	if !w.failed {
		w.failed = true
		n, _ := w.Buffer.Write(p[:len(p)/2])
		return n, errors.New("half")
	}
	return w.Buffer.Write(p)
}

func TestWriterPublisherEndsTornLine(t *testing.T) {
	w := &halfWriter{}
	p := NewWriterPublisher(w)
	if err := p.Publish(t.Context(), events(0, 1, 10), nil); err == nil || fault.IsFatal(err) {
		t.Errorf("got %v, want a transient error", err)
	}
	if err := p.Publish(t.Context(), events(0, 1, 10), nil); err != nil {
		t.Error(err)
	}
	got := strings.SplitAfter(w.String(), "\n")
	if want := string(appendLine(nil, &events(0, 1, 10)[0])); len(got) != 3 || got[1] != want {
		t.Errorf("got %q, want the whole line after the torn one", got)
	}
}

func TestWriterPublisherBlocked(t *testing.T) { synctest.Test(t, testWriterPublisherBlocked) }

func testWriterPublisherBlocked(t *testing.T) {
	r, w := io.Pipe()
	p := NewWriterPublisher(w)
	for range 2 { // nobody reads
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := p.Publish(ctx, events(0, 1, 10), nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
		cancel()
	}
	go func() {
		_, _ = io.CopyN(io.Discard, r, int64(len(lines(events(0, 1, 10), nil))+len(lines(events(1, 1, 10), nil))))
		_ = r.Close()
	}()
	if err := p.Publish(t.Context(), events(1, 1, 10), nil); err != nil {
		t.Error(err)
	}
	if err := p.Publish(t.Context(), events(2, 1, 10), nil); !fault.IsFatal(err) {
		t.Errorf("got %v when the reader is gone, want a fatal error", err)
	}
}
