// Package validate checks all that the connector publishes of a simulated run with two validators of the released schemas
// that share no code: "connector schema validate", and ajv, which scripts/validate.sh installs.
package validate

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connector/internal/apisim"
	"connector/internal/simrun"
	"connector/schema"
)

var rows = flag.Int("rows", 2000, "rows of the simulated providers, all together")

// ajvVariable names the folder with the packages of scripts/node. Without it only the Go validator is asked.
const ajvVariable = "AJV_PACKAGES"

// day is when the simulated rows were created.
var day = time.Date(2026, 1, 15, 0, 0, 0, 0, time.UTC)

// passes are when the connector reads: rows that left are told after two passes without them.
var passes = []time.Time{day.Add(24 * time.Hour), day.Add(36 * time.Hour), day.Add(37 * time.Hour)}

// message is a line of the file sink.
type message struct {
	Type   string          `json:"type"`
	Replay string          `json:"replayid"`
	Data   json.RawMessage `json:"data"`
}

// published counts what is in the file.
type published struct{ first, left, dead, resolved, replayed, total int }

func TestPublishedIsValid(t *testing.T) {
	connector := simrun.Build(t, "connector/cmd/connector")
	path := filepath.Join(t.TempDir(), "events.ndjson")
	want := publish(t, connector, path)
	got := count(t, path)
	if got.first != want.first || got.dead != want.dead || got.left == 0 || got.resolved == 0 || got.replayed == 0 {
		t.Errorf("got %+v, want %d first publications and %d dead letters, as the providers served, and some that left, were resolved and were replayed", got, want.first, want.dead)
	}
	t.Logf("published: %d rows: %d messages: %d events of versions, %d of rows that left, %d dead letters, %d of them resolved, %d replayed", *rows, got.total, got.first, got.left, got.dead, got.resolved, got.replayed)
	validated(t, connector, path, got.total, 0)
	breakOne(t, path)
	validated(t, connector, path, got.total, 1)
}

// validated lets both validators count the messages in a file, and those that are invalid.
func validated(t *testing.T, connector, path string, total, invalid int) {
	t.Helper()
	want := fmt.Sprintf("all %d documents are valid", total)
	if invalid > 0 {
		want = fmt.Sprintf("%d of %d documents are invalid", invalid, total)
	}
	expect(t, "Go", exec.CommandContext(t.Context(), connector, "schema", "validate", path), want, invalid)
	packages := os.Getenv(ajvVariable)
	if packages == "" {
		t.Logf("ajv is not asked: make validate does that")
		return
	}
	schemas, err := filepath.Glob("../../schema/*-1.0.json")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", slices.Concat([]string{"../../scripts/node/validate.cjs", path}, schemas)...)
	cmd.Env = append(os.Environ(), "NODE_PATH="+filepath.Join(packages, "node_modules"))
	expect(t, "ajv", cmd, fmt.Sprintf("%d valid, %d invalid", total-invalid, invalid), invalid)
}

// expect wants the last line that a validator prints, and that it fails when something is invalid.
func expect(t *testing.T, validator string, cmd *exec.Cmd, want string, invalid int) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	got := strings.TrimPrefix(lines[len(lines)-1], "connector: ")
	if got != want || (err != nil) != (invalid > 0) {
		t.Errorf("%s: got %v and\n%s\nwant %q, and an error only if some are invalid", validator, err, out, want)
	}
	t.Logf("validated by %s: %s", validator, got)
}

// publish runs the connector over both providers and returns what they served.
func publish(t *testing.T, connector, path string) (want published) {
	t.Helper()
	var clock simrun.Clock
	each := max(*rows/4, 1)
	p := apisim.Population{
		Seed: 6, Start: day, Every: 24 * time.Hour / time.Duration(each), Limit: each,
		Late: 0.1, MaxLate: 20 * time.Minute, Change: 0.4, MaxChange: 20 * time.Hour,
	}
	leaving, poisoned := p, p
	leaving.Leave = 0.2 // not beside rows without an id: where one is, it is not told which rows left
	poisoned.Poison, poisoned.PoisonBytes = 0.01, 100_000
	hq := apisim.NewEkuaibao(apisim.EkuaibaoConfig{Population: leaving, Clock: clock.Now})
	shop := apisim.NewEkuaibao(apisim.EkuaibaoConfig{Population: poisoned, Clock: clock.Now})
	otp := apisim.NewSubmail(apisim.SubmailConfig{Population: poisoned, Clock: clock.Now})
	alerts := apisim.NewSubmail(apisim.SubmailConfig{Population: poisoned, Clock: clock.Now, AppID: "10002"})
	t.Cleanup(func() { _, _, _, _ = hq.Close(), shop.Close(), otp.Close(), alerts.Close() })
	vars := []string{
		"CONNECTOR_SOURCES=hq=ekuaibao,shop=ekuaibao,otp=submail,alerts=submail", "CONNECTOR_START=" + day.Format(time.RFC3339),
		"CONNECTOR_HTTP_ADDR=127.0.0.1:0", "CONNECTOR_SINK=file", "FILE_PATH=" + path, "CONNECTOR_DATA_DIR=" + t.TempDir(),
	}
	for name, url := range map[string]string{"HQ": hq.Serve(simrun.Listen(t)), "SHOP": shop.Serve(simrun.Listen(t))} {
		vars = append(vars, name+"_BASE_URL="+url, name+"_APP_KEY="+apisim.DefaultEkuaibaoKey, name+"_APP_SECURITY="+apisim.DefaultEkuaibaoSecurity,
			name+"_RATE=1000", name+"_LAG=0s", name+"_MAX_ROW_BYTES=64KiB")
	}
	vars = append(vars, "HQ_MESSAGE_TYPES=flow", "SHOP_MESSAGE_TYPES=dataLink", "OTP_APP_ID="+apisim.DefaultSubmailID, "ALERTS_APP_ID=10002", "ALERTS_API=sms/log")
	for name, url := range map[string]string{"OTP": otp.Serve(simrun.Listen(t)), "ALERTS": alerts.Serve(simrun.Listen(t))} {
		vars = append(vars, name+"_BASE_URL="+url, name+"_APP_KEY="+apisim.DefaultSubmailKey, name+"_MIN_INTERVAL=1ms", name+"_LAG=0s", name+"_MAX_ROW_BYTES=64KiB")
	}
	for _, at := range passes {
		clock.Set(at)
		simrun.Run(t, vars, connector, "run", "--once")
	}
	hour := func(n int) string { return day.Add(time.Duration(n) * time.Hour).Format(time.RFC3339) }
	raw := append(slices.Clone(vars), "CONNECTOR_PRIVACY=off", "CONNECTOR_INCLUDE_RAW=true")
	simrun.Run(t, raw, connector, "replay", "--from", hour(8), "--to", hour(10))
	strict := append(slices.Clone(vars), "CONNECTOR_PRIVACY=strict", "CONNECTOR_INCLUDE_RAW=true")
	simrun.Run(t, strict, connector, "replay", "--from", hour(9), "--to", hour(11), "--new-ids")
	larger := append(slices.Clone(vars), "SHOP_MAX_ROW_BYTES=1MiB", "OTP_MAX_ROW_BYTES=1MiB", "ALERTS_MAX_ROW_BYTES=1MiB")
	simrun.Run(t, larger, connector, "deadletter", "retry", "--yes", "--class", "too_large")
	want.first = len(hq.Served()) + len(shop.Served()) + len(otp.Served()) + len(alerts.Served())
	want.dead = len(shop.Poisoned()) + len(otp.Poisoned()) + len(alerts.Poisoned())
	return want
}

// count reads a file of messages.
func count(t *testing.T, path string) (got published) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewReader(file); ; {
		line, err := lines.ReadBytes('\n')
		if len(line) == 0 {
			return got
		}
		var m message
		if err = errors.Join(err, json.Unmarshal(line, &m)); err != nil {
			t.Fatalf("line %d: %v", got.total+1, err)
		}
		got.add(m)
	}
}

func (p *published) add(m message) {
	p.total++
	switch {
	case m.Replay != "":
		p.replayed++
	case m.Type == schema.ResolutionType:
		p.resolved++
		p.first-- // the event of a row that was a dead letter
	case m.Type == schema.DeadLetterType:
		p.dead++
	case bytes.Contains(m.Data, []byte(`"terminal":false,"left":true`)):
		p.left++
	default:
		p.first++
	}
}

// breakOne gives one event a status that there is not.
func breakOne(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	broken := bytes.Replace(text, []byte(`"status":"delivered"`), []byte(`"status":"arrived"`), 1)
	if err := os.WriteFile(path, broken, 0o600); err != nil {
		t.Fatal(err)
	}
}
