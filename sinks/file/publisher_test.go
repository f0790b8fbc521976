package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"connector/checkpoint"
	checkpointfile "connector/checkpoint/file"
	"connector/internal/fault"
	"connector/schema"
	"connector/sinks"
	"connector/sinks/sinktest"
)

// childEnv makes the test binary a publisher to the file it names.
const childEnv = "CONNECTOR_TEST_FILE"

// childLimitEnv bounds the size of the child's file, as a full disk does.
const childLimitEnv = "CONNECTOR_TEST_FILE_LIMIT"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		child(path)
		return
	}
	goleak.VerifyTestMain(m)
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newPublisher(t testing.TB, path string, log *slog.Logger) *Publisher {
	t.Helper()
	p, err := NewPublisher(Config{Path: path}, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// events returns the n messages of a batch.
func events(batch, n, size int) []schema.Message {
	all := make([]schema.Message, n)
	for i := range all {
		record := fmt.Sprintf("%d/%d", batch, i)
		all[i] = schema.Message{
			ID: schema.EventID("acct", "sms", record, ""), Type: "delivery.sms.delivered",
			Source:   schema.Source{System: "submail", Account: "acct", Stream: "sms"},
			RecordID: record, Time: time.Unix(1774749599, 0), DataSchema: schema.DataSchema,
			Body: fmt.Appendf(nil, `{"fill":%q}`, strings.Repeat("x", size)),
		}
	}
	return all
}

// records returns the record ids in a file.
func records(t testing.TB, path string) []string {
	t.Helper()
	var got []string
	err := Tail(t.Context(), Config{Path: path}, sinks.TailOptions{FromStart: true, Dead: true}, func(r sinks.Received) error {
		got = append(got, r.Attribute("subject"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestPublisherConforms(t *testing.T) {
	t.Parallel()
	cfg := Config{Path: filepath.Join(t.TempDir(), "events.ndjson")}
	open := func(context.Context) (sinks.Publisher, error) { return NewPublisher(cfg, quiet()) }
	if err := sinktest.Check(t.Context(), paired(t, cfg, open)); err != nil {
		t.Error(err)
	}
}

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
		return Tail(ctx, cfg, opts, yield)
	})
}

func TestOpen(t *testing.T) {
	whole := string(appendLine(nil, &events(0, 1, 10)[0]))
	zeros := strings.Repeat("\x00", 5000)
	tests := []struct {
		name    string
		content string
		want    string // what is left of it
		log     bool   // whether a line was cut off
		refused bool
	}{
		{"empty", "", "", false, false},
		{"whole", whole + whole, whole + whole, false, false},
		{"torn", whole + whole[:100], whole, true, false},
		{"torn, only a few bytes", whole + whole[:3], whole, true, false},
		{"only a torn line", whole[:100], "", true, false},
		{"line break missing", whole + strings.TrimSuffix(whole, "\n"), whole, true, false},
		{"long torn line", whole + whole[:100] + strings.Repeat("y", 200_000), whole, true, false},
		{"zeros", whole + zeros, whole, true, false},
		{"someone's text", "not ours", "not ours", false, true},
		{"someone's text with line breaks", "not ours\n", "not ours\n", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			p, err := NewPublisher(Config{Path: path}, slog.New(slog.NewTextHandler(&log, nil)))
			if tt.refused != fault.IsFatal(err) {
				t.Fatalf("got error %v, want refused %v", err, tt.refused)
			}
			if err == nil {
				err = errors.Join(p.Publish(t.Context(), events(1, 1, 10), nil), p.Close())
				tt.want += string(appendLine(nil, &events(1, 1, 10)[0]))
			}
			if err != nil && !tt.refused {
				t.Error(err)
			}
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("got file %.300q, want %.300q", got, tt.want)
			}
			if got := strings.Contains(log.String(), "cut off"); got != tt.log {
				t.Errorf("got log %q, want a line about it: %v", log.String(), tt.log)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	held := filepath.Join(dir, "held")
	newPublisher(t, held, quiet())
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, path, want string }{
		{"held", held, "stop the other connector"},
		{"no folder", filepath.Join(dir, "none", "f"), "FILE_PATH"},
		{"folder", dir, "FILE_PATH"},
		{"fifo", fifo, "CONNECTOR_SINK=stdout"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewPublisher(Config{Path: tt.path}, quiet())
			if !fault.IsFatal(err) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one fatal line with %q", err, tt.want)
			}
		})
	}
}

// TestMovedFile keeps nothing that was acknowledged in a file nobody sees.
func TestMovedFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	p := newPublisher(t, path, quiet())
	publish := func(batch int) {
		t.Helper()
		if err := p.Publish(t.Context(), events(batch, 1, 10), nil); err != nil {
			t.Fatal(err)
		}
	}
	publish(0)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	publish(1)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	publish(2)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	publish(3)
	if got := fmt.Sprint(records(t, path+".1"), records(t, path)); got != "[0/0] [3/0]" {
		t.Errorf("got records %s, want [0/0] [3/0]", got)
	}
}

// child publishes batches and prints the number of each one acknowledged.
func child(path string) {
	var limit uint64
	if _, err := fmt.Sscan(os.Getenv(childLimitEnv), &limit); err == nil {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			fmt.Println(err)
		}
	}
	p, err := NewPublisher(Config{Path: path}, quiet())
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for batch := 0; ; batch++ {
		if err := p.Publish(context.Background(), events(batch, 20, 5000), nil); err != nil {
			fmt.Println("failed:", err)
			return
		}
		fmt.Println("acknowledged")
	}
}

func startChild(t *testing.T, env ...string) (cmd *exec.Cmd, output *bytes.Buffer) {
	t.Helper()
	output = &bytes.Buffer{}
	cmd = exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, output
}

// TestKilled kills the process while it appends: what it acknowledged is
// there, and the next one goes on behind a whole line.
func TestKilled(t *testing.T) {
	for i := range 4 {
		path := filepath.Join(t.TempDir(), "f")
		cmd, output := startChild(t, childEnv+"="+path)
		for _, err := os.Stat(path); err != nil; _, err = os.Stat(path) {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(10+7*i) * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		acknowledged := strings.Count(output.String(), "acknowledged\n")
		newPublisher(t, path, quiet())
		if got := len(records(t, path)); got < 20*acknowledged {
			t.Errorf("got %d records, want at least 20 of each of %d batches", got, acknowledged)
		}
	}
}

// TestFullDisk leaves no part of a batch that did not fit.
func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	cmd, output := startChild(t, childEnv+"="+path, childLimitEnv+"=1000000")
	_ = cmd.Wait()
	if !strings.Contains(output.String(), "file too large") {
		t.Fatalf("got %q, want the write to fail", output)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, want := len(records(t, path)), 20*strings.Count(output.String(), "acknowledged\n")
	if got != want || want == 0 || !bytes.HasSuffix(content, []byte("\n")) {
		t.Errorf("got %d records and an end of %q, want %d whole ones", got, content[len(content)-10:], want)
	}
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

func TestWriterPublisherBlocked(t *testing.T) {
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

func BenchmarkPublish(b *testing.B) {
	p := newPublisher(b, filepath.Join(b.TempDir(), "f"), quiet())
	all := events(0, 1000, 1000)
	for b.Loop() {
		if err := p.Publish(b.Context(), all, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(all)*b.N)/b.Elapsed().Seconds(), "msg/s")
}
