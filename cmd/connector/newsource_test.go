package main

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"connector/cmd/connector/testdata/pigeon/pigeontest"
	"connector/schema"
	"connector/schema/schematest"
)

// guide is the document whose steps the tests of this file take.
const guide = "docs/adding-a-source.md"

// newSource is the folder of a source that is in no build but that of these tests.
const newSource = "testdata/pigeon"

// goBlock is a block of Go in the guide; the comment before it names the file it is from.
var goBlock = regexp.MustCompile("(?s)<!-- from ([a-z_/.]+) -->\n\n```go\n(.*?)```")

// blocks returns the blocks of the guide by the file they are from.
func blocks(t *testing.T) map[string][]string {
	t.Helper()
	text := read(t, guide)
	found := goBlock.FindAllStringSubmatch(text, -1)
	if all := strings.Count(text, "```go\n"); len(found) != all || all == 0 {
		t.Fatalf("%s: %d of %d blocks of Go follow a comment that names their file", guide, len(found), all)
	}
	byFile := map[string][]string{}
	for _, m := range found {
		byFile[m[1]] = append(byFile[m[1]], m[2])
	}
	return byFile
}

// TestGuideShowsTheNewSource compares the guide with the source that follows it.
func TestGuideShowsTheNewSource(t *testing.T) {
	for file, excerpts := range blocks(t) {
		if file == "cmd/connector/catalog.go" {
			continue // those lines are added by TestNewSource
		}
		text, err := os.ReadFile(filepath.Join(newSource, strings.TrimPrefix(file, "sources/pigeon/")))
		if err != nil {
			t.Fatal(err)
		}
		for _, excerpt := range excerpts {
			for _, part := range strings.Split(excerpt, "\n// …\n") {
				if !strings.Contains(string(text), strings.Trim(part, "\n")) {
					t.Errorf("%s: these lines are not in %s:\n%s", guide, file, part)
				}
			}
		}
	}
}

// TestNewSource follows the guide: with one folder and the lines of the
// catalog, laid over the module, the new source passes its own tests and the
// program reads it.
func TestNewSource(t *testing.T) {
	t.Parallel()
	overlay, bin := overlay(t), t.TempDir()
	program(t, os.Environ(), "go", append([]string{"vet"}, sourceFiles(t)...)...) // by name: under an overlay, vet enters the folder
	program(t, os.Environ(), "go", "test", "-vet=off", "-overlay", overlay, "-ldflags=-s -w", "-c", "-o", filepath.Join(bin, "pigeon.test"), "connector/sources/pigeon")
	program(t, os.Environ(), "go", "build", "-overlay", overlay, "-buildvcs=false", "-ldflags=-s -w", "-o", filepath.Join(bin, "connector"), ".")
	program(t, nil, filepath.Join(bin, "pigeon.test"))

	now := time.Now().Add(-10 * time.Minute)
	sim := &pigeontest.Server{Key: "canary-key", Clock: time.Now}
	for _, id := range []string{"a", "b", "c"} {
		sim.Put(pigeontest.Row{"id": id, "created": now.Unix(), "state": "sent", "attempts": 1, "text": "您好"})
	}
	sim.Put(pigeontest.Row{"created": now.Unix()})
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	connector, events := filepath.Join(bin, "connector"), filepath.Join(t.TempDir(), "events.ndjson")
	vars := []string{
		"CONNECTOR_SOURCES=app=pigeon", "CONNECTOR_START=1h", "CONNECTOR_HTTP_ADDR=127.0.0.1:0", "CONNECTOR_DATA_DIR=" + t.TempDir(),
		"CONNECTOR_SINK=file", "FILE_PATH=" + events, "APP_BASE_URL=" + server.URL, "APP_API_KEY=" + sim.Key, "APP_MIN_INTERVAL=1ms", "APP_LAG=0s",
	}
	reference := program(t, nil, connector, "config", "--reference")
	for _, want := range []string{"## Account of kind `pigeon`", "| `<NAME>_API_KEY` | text, kept secret |", "| `<NAME>_MIN_INTERVAL` | a duration"} {
		if !strings.Contains(reference, want) {
			t.Errorf("config --reference: want %q in\n%s", want, reference)
		}
	}
	out := program(t, vars, connector, "check") + program(t, vars, connector, "run", "--once")
	if strings.Contains(out, sim.Key) {
		t.Error("the output holds the key")
	}
	checkEvents(t, events)
}

// overlay writes the guide's catalog and the file that lays it and the new
// folder over the module, and returns that file's path.
func overlay(t *testing.T) string {
	t.Helper()
	module, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	catalog := read(t, "cmd/connector/catalog.go")
	lines := blocks(t)["cmd/connector/catalog.go"]
	for i, before := range []string{"\t\"connector/sources/submail\"\n", "\t\"submail\": "} {
		if len(lines) != 2 || strings.Count(catalog, before) != 1 {
			t.Fatalf("%s: want two lines for catalog.go, and room for them before %q", guide, before)
		}
		catalog = strings.Replace(catalog, before, "\t"+lines[i]+before, 1)
	}
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	replace := map[string]string{filepath.Join(module, "cmd/connector/catalog.go"): write("catalog.go", []byte(catalog))}
	for _, pattern := range []string{"*.go", "*/*.go"} {
		files, err := filepath.Glob(filepath.Join(newSource, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s in %s: got %v, %v", pattern, newSource, files, err)
		}
		for _, file := range files {
			name, _ := filepath.Rel(newSource, file)
			replace[filepath.Join(module, "sources/pigeon", name)] = filepath.Join(module, "cmd/connector", file)
		}
	}
	content, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	return write("overlay.json", content)
}

// sourceFiles lists the files of the new source, tests apart.
func sourceFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(newSource, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(files, func(name string) bool { return strings.HasSuffix(name, "_test.go") })
}

// program runs a program to its end and returns what it printed.
func program(t *testing.T, vars []string, path string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = vars
	if vars == nil {
		cmd.Env = []string{}
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	err := cmd.Run()
	t.Logf("%s %s: %v", filepath.Base(path), args, time.Since(began).Round(time.Millisecond))
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(path), strings.Join(args, " "), err, &out)
	}
	return out.String()
}

// checkEvents reads what the file sink wrote.
func checkEvents(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(content)) {
		var message struct {
			Type, Subject string
			Data          json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &message); err != nil {
			t.Fatal(err)
		}
		if message.Type == schema.DeadLetterType {
			got = append(got, "dead letter")
			continue
		}
		if err := schematest.Event(message.Data); err != nil || !bytes.Contains(message.Data, []byte(`"pigeon":{"`)) {
			t.Errorf("event %s: %v", message.Data, err)
		}
		got = append(got, message.Type+" "+message.Subject)
	}
	slices.Sort(got)
	want := []string{"dead letter", "delivery.push.delivered a", "delivery.push.delivered b", "delivery.push.delivered c"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q:\n%s", got, want, content)
	}
}
