//go:build unix

package chaos

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// fewKills is what the suite has time for.
const fewKills = 10

var (
	killsFlag = flag.Int("chaos.kills", fewKills, "kills of the connector, for each sink")
	seedFlag  = flag.Uint64("chaos.seed", uint64(time.Now().UnixNano()), "what is drawn: kills and rows")
)

// bin is the folder of the programs that are built once.
var bin string

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "5") // the tests wait most of the time
	var err error
	if bin, err = os.MkdirTemp("", "connector-chaos-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	_ = os.RemoveAll(bin)
	os.Exit(code)
}

var (
	connectorPath  = sync.OnceValues(func() (string, error) { return build("connector", "connector/cmd/connector") })
	natsServerPath = sync.OnceValues(func() (string, error) { return build("nats-server", "github.com/nats-io/nats-server/v2") })
)

// build compiles a program and returns its path.
func build(name, pkg string) (string, error) {
	path := filepath.Join(bin, name)
	out, err := exec.Command("go", "build", "-buildvcs=false", "-tags", "failpoint", "-o", path, pkg).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return path, nil
}

func program(t *testing.T, path func() (string, error)) string {
	t.Helper()
	p, err := path()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// kills is how often each sink's connector is killed.
func kills() int {
	if testing.Short() {
		return min(*killsFlag, 3)
	}
	return *killsFlag
}
