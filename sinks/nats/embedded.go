package nats

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"

	"connector/internal/fault"
	"connector/internal/filelock"
)

// The embedded server listens on the first free port from firstPort.
const (
	loopback  = "127.0.0.1"
	firstPort = 4222
	maxPorts  = 100
)

// Limits of the embedded server. The streams' share must stay below the
// store's limit: a server that reaches its own limit while it writes a batch
// leaves half of it behind, and a stream larger than the limit does not load.
const (
	embeddedPayload     = 8 << 20
	embeddedMemory      = 256 << 20
	embeddedStore       = 10 << 30
	embeddedStreamBytes = 8 << 30
)

const (
	embeddedDir = "nats" // in the data folder
	lockName    = "lock"
	urlName     = "url"
	readyWait   = time.Minute // to listen, once its data is loaded
	readyPoll   = 100 * time.Millisecond
)

// Embedded is a JetStream server inside this process.
type Embedded struct {
	server *server.Server
	lock   *flock.Flock
	dir    string
	url    string
}

// EmbeddedDir returns the folder of the embedded server's data, and of its
// lock and address while it runs.
func EmbeddedDir(dataDir string) string { return filepath.Join(dataDir, embeddedDir) }

// StartEmbedded starts a JetStream server that keeps its data in
// <dataDir>/nats and syncs every message to disk before it acknowledges it.
// It listens on 127.0.0.1:4222 or the next free port, without authentication.
// It refuses a folder that another process holds.
func StartEmbedded(dataDir string, log *slog.Logger) (*Embedded, error) {
	dir := EmbeddedDir(dataDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Fatal(fmt.Errorf("creating folder of the embedded NATS server: %w", err), "make CONNECTOR_DATA_DIR writable")
	}
	// The server itself would let a second one write to the folder.
	lock, err := filelock.Acquire(filepath.Join(dir, lockName))
	switch {
	case errors.Is(err, filelock.ErrHeld):
		return nil, fault.Fatal(fmt.Errorf("folder %s of the embedded NATS server is %w", dir, filelock.ErrHeld),
			"stop the other connector or set another CONNECTOR_DATA_DIR")
	case err != nil:
		return nil, fault.Fatal(err, "check CONNECTOR_DATA_DIR and its permissions")
	}
	e := &Embedded{dir: dir, lock: lock}
	if err := e.start(log); err != nil {
		return nil, errors.Join(err, e.lock.Close())
	}
	if err := e.announce(); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// URL returns the address clients connect to.
func (e *Embedded) URL() string { return e.url }

// Close stops the server, waits until its data is written, and releases the folder.
func (e *Embedded) Close() error {
	err := os.Remove(filepath.Join(e.dir, urlName))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	e.server.Shutdown()
	e.server.WaitForShutdown()
	return errors.Join(err, e.lock.Close())
}

var errPortTaken = errors.New("port is taken")

func (e *Embedded) start(log *slog.Logger) error {
	for port := firstPort; port < firstPort+maxPorts; port++ {
		if !free(port) {
			continue
		}
		err := e.listen(port, log)
		if errors.Is(err, errPortTaken) { // since it was probed
			continue
		}
		return err
	}
	return fault.Fatal(fmt.Errorf("no port from %d to %d is free on %s for the embedded NATS server", firstPort, firstPort+maxPorts-1, loopback),
		"free one of them or set NATS_URL to a server of yours")
}

// free reports whether a port can be listened on. The server would load all
// its streams before it finds out.
func free(port int) bool {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.ParseIP(loopback), Port: port})
	if err != nil {
		return false
	}
	return l.Close() == nil
}

func (e *Embedded) listen(port int, log *slog.Logger) error {
	s, err := server.NewServer(&server.Options{
		ServerName: "connector", Host: loopback, Port: port, MaxPayload: embeddedPayload,
		JetStream: true, StoreDir: e.dir, SyncAlways: true, DisableJetStreamBanner: true,
		JetStreamMaxMemory: embeddedMemory, JetStreamMaxStore: embeddedStore,
		NoSigs: true,
	})
	if err != nil {
		return fmt.Errorf("preparing embedded NATS server: %w", err)
	}
	bridge := &serverLog{log: log}
	s.SetLoggerV2(bridge, false, false, false)
	s.Start()
	if accepts(s, bridge) {
		e.server, e.url = s, s.ClientURL()
		return nil
	}
	taken := s.Addr() == nil && s.JetStreamEnabled()
	s.Shutdown()
	s.WaitForShutdown()
	if taken {
		return errPortTaken
	}
	return fault.Fatal(fmt.Errorf("starting embedded NATS server on folder %s: %s", e.dir, bridge.gaveUp()),
		"check the folder's permissions and free space, or set NATS_URL to a server of yours")
}

// accepts waits until s takes connections, and reports whether it does, and has
// its streams.
func accepts(s *server.Server, log *serverLog) bool {
	for deadline := time.Now().Add(readyWait); log.gaveUp() == "" && time.Now().Before(deadline); {
		if s.ReadyForConnections(readyPoll) {
			return s.JetStreamEnabled()
		}
	}
	return false
}

// announce writes the URL where [FindEmbedded] looks for it.
func (e *Embedded) announce() error {
	path := filepath.Join(e.dir, urlName)
	if err := os.WriteFile(path+".new", []byte(e.url+"\n"), 0o600); err != nil {
		return fmt.Errorf("writing address of the embedded NATS server: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("writing address of the embedded NATS server: %w", err)
	}
	return nil
}

// FindEmbedded returns the URL of the embedded server that another process
// runs on the data folder.
func FindEmbedded(dataDir string) (string, error) {
	dir := EmbeddedDir(dataDir)
	content, err := os.ReadFile(filepath.Join(dir, urlName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", notRunning(dir)
	case err != nil:
		return "", fmt.Errorf("reading address of the embedded NATS server: %w", err)
	}
	// A process that was killed leaves its address behind, but not its lock.
	lock := flock.New(filepath.Join(dir, lockName))
	stale, err := lock.TryRLock()
	if err := errors.Join(err, lock.Close()); err != nil {
		return "", fmt.Errorf("looking for the embedded NATS server of folder %s: %w", dir, err)
	}
	if stale {
		return "", notRunning(dir)
	}
	return strings.TrimSpace(string(content)), nil
}

func notRunning(dir string) error {
	return fault.Fatal(fmt.Errorf("no embedded NATS server runs on folder %s", dir),
		"start connector run with the same CONNECTOR_DATA_DIR first, or set NATS_URL to a server of yours")
}
