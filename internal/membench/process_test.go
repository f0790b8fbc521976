//go:build linux

package membench

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// connector builds the program and returns its path.
func connector(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "connector")
	out, err := exec.CommandContext(b.Context(), "go", "build", "-o", path, "connector/cmd/connector").CombinedOutput()
	if err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// runOnce runs connector run --once and returns its peak resident memory in
// bytes. Linux counts the memory of the parent at the start into it, so this
// process holds no rows and leaves the broker to another one.
func runOnce(b *testing.B, binary string, settings []string) int64 {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), binary, "run", "--once")
	cmd.Env = append(os.Environ(), settings...)
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Run(); err != nil {
		b.Fatalf("connector run --once: %v\n%s", err, tail(log.Bytes()))
	}
	if testing.Verbose() {
		b.Logf("%s", tail(log.Bytes()))
	}
	return cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
}

func tail(log []byte) []byte { return log[max(0, len(log)-4<<10):] }

// natsDirEnv makes the test binary a NATS server on the folder it names.
const natsDirEnv = "MEMBENCH_NATS_DIR"

// serveNATS serves until standard input ends.
func serveNATS(dir string) {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: dir, MaxPayload: 8 << 20,
	})
	if err == nil {
		s.Start()
		if !s.ReadyForConnections(10 * time.Second) {
			err = fmt.Errorf("not ready")
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "NATS server:", err)
		os.Exit(1)
	}
	fmt.Println(s.ClientURL())
	_, _ = io.Copy(io.Discard, os.Stdin)
	s.Shutdown()
	s.WaitForShutdown()
}

// broker is a NATS server in another process.
type broker struct {
	cmd   *exec.Cmd
	stdin io.Closer
	url   string
}

func startNATS(b *testing.B) *broker {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), natsDirEnv+"="+b.TempDir())
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	url, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatalf("the NATS server said %q: %v", url, err)
	}
	return &broker{cmd: cmd, stdin: stdin, url: strings.TrimSpace(url)}
}

func (s *broker) stop(b *testing.B) {
	b.Helper()
	_ = s.stdin.Close()
	if err := s.cmd.Wait(); err != nil {
		b.Errorf("NATS server: %v", err)
	}
}

// messages counts the events and dead letters that are stored.
func (s *broker) messages(b *testing.B) int {
	b.Helper()
	nc, err := natsio.Connect(s.url)
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	stream, err := js.Stream(b.Context(), "DELIVERY")
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	for _, subjects := range []string{"delivery.event.>", "delivery.deadletter.>"} {
		info, err := stream.Info(b.Context(), jetstream.WithSubjectFilter(subjects))
		if err != nil {
			b.Fatal(err)
		}
		for _, count := range info.State.Subjects {
			n += int(count)
		}
	}
	return n
}
