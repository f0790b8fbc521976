package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"connector/pipeline"
)

const root = "../.."

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var firstCell = regexp.MustCompile("(?m)^\\| `?([^|`, ]+)`?[^|\n]*\\|")

// table lists the first cells of the table whose head begins with a word.
func table(t *testing.T, doc, head string) []string {
	t.Helper()
	_, rest, ok := strings.Cut(doc, "\n| "+head+" |")
	if !ok {
		t.Fatalf("no table begins with %q", head)
	}
	block, _, _ := strings.Cut(rest, "\n\n")
	var cells []string
	for _, m := range firstCell.FindAllStringSubmatch(block, -1) {
		cells = append(cells, m[1])
	}
	slices.Sort(cells)
	return slices.Compact(cells)
}

func TestReadmeTables(t *testing.T) {
	readme := strings.ToLower(read(t, "README.md")) // as the catalog spells kinds
	var verbs []string
	for _, c := range newRoot(environment{}).Commands() {
		verbs = append(verbs, c.Name())
	}
	var sinks []string
	for name := range sinkKinds {
		sinks = append(sinks, name)
	}
	var providers []string
	for kind := range sourceKinds {
		providers = append(providers, kind)
	}
	slices.Sort(verbs)
	slices.Sort(sinks)
	slices.Sort(providers)
	for head, want := range map[string][]string{"verb": verbs, "sink": sinks, "exit code": {"0", "1", "2"}, "provider": providers} {
		if got := table(t, readme, head); !slices.Equal(got, want) {
			t.Errorf("table %q: got %q, want %q", head, got, want)
		}
	}
}

// TestMonitoringIsDocumented compares the tables with what is served.
func TestMonitoringIsDocumented(t *testing.T) {
	doc := read(t, "docs/monitoring.md")
	registry := prometheus.NewRegistry()
	pipeline.NewMetrics(registry)
	described := make(chan *prometheus.Desc, 100)
	registry.Describe(described)
	close(described)
	var metrics []string
	for d := range described {
		metrics = append(metrics, regexp.MustCompile(`fqName: "(\w+)"`).FindStringSubmatch(d.String())[1])
	}
	slices.Sort(metrics)
	if got := table(t, doc, "metric"); len(metrics) < 10 || !slices.Equal(got, metrics) {
		t.Errorf("metrics: got %q, want %q", got, metrics)
	}
	now := time.Now()
	state, err := json.Marshal(pipeline.StreamStatus{Error: "x", Failing: now, Read: pipeline.Reading{Frontier: now, End: now, SilentSince: now}})
	if err != nil {
		t.Fatal(err)
	}
	var fields []string
	for _, m := range regexp.MustCompile(`"(\w+)":`).FindAllStringSubmatch(string(state), -1) {
		fields = append(fields, m[1])
	}
	for _, field := range table(t, doc, "field") {
		name := strings.TrimPrefix(field, "read.")
		if !slices.Contains(fields, name) {
			t.Errorf("/readyz has no field %s", field)
		}
		fields = slices.DeleteFunc(fields, func(f string) bool { return f == name })
	}
	if want := []string{"system", "account", "stream", "read"}; !slices.Equal(fields, want) {
		t.Errorf("fields without a line: got %q, want those of source and read", fields)
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)#:]*)(?:#([^)]*))?\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	noSlug  = regexp.MustCompile(`[^\w -]`)
)

// anchors lists those of the headings of a document.
func anchors(text string) []string {
	var list []string
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		list = append(list, strings.ReplaceAll(noSlug.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return list
}

func TestLinksLeadSomewhere(t *testing.T) {
	docs := []string{"README.md", "CONTRIBUTING.md"}
	for _, pattern := range []string{"docs/*.md", "docs/adr/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: got %v, %v", pattern, found, err)
		}
		for _, path := range found {
			docs = append(docs, strings.TrimPrefix(path, root+"/"))
		}
	}
	for _, doc := range docs {
		for _, m := range link.FindAllStringSubmatch(read(t, doc), -1) {
			to, anchor := filepath.Join(filepath.Dir(doc), m[1]), m[2]
			if m[1] == "" {
				to = doc
			}
			if _, err := os.Stat(filepath.Join(root, to)); err != nil {
				t.Errorf("%s links to %s: %v", doc, m[1], err)
			} else if anchor != "" && !slices.Contains(anchors(read(t, to)), anchor) {
				t.Errorf("%s links to %s, which has no heading #%s", doc, to, anchor)
			}
		}
	}
}

func TestConfigurationReferenceIsCurrent(t *testing.T) {
	code, got, stderr := command(t.Context(), nil, "config", "--reference")
	if code != exitOK {
		t.Fatalf("got code %d: %s", code, stderr)
	}
	if want := read(t, "docs/configuration.md"); got != want {
		t.Error("docs/configuration.md is out of date: run make generate")
	}
}

func TestDependenciesAreArgued(t *testing.T) {
	direct, _, _ := strings.Cut(read(t, "go.mod"), "// indirect")
	manifests := map[string]string{`(?m)^\t(\S+) v`: direct[:strings.LastIndex(direct, "\n")+1]}
	manifests[`(?m)^    "([^"]+)": "[0-9]`] = read(t, "scripts/node/package.json")
	manifests[`<artifactId>(flink-[^<]+)</artifactId>\s*<version>[^<]*[.}]`] = read(t, "examples/flink/pom.xml")
	pins, err := filepath.Glob(filepath.Join(root, "examples/*/requirements.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range pins {
		manifests[`(?m)^([a-z-]+)==`] += read(t, strings.TrimPrefix(path, root+"/"))
	}
	argued := regexp.MustCompile("[ ,|]+").Split(read(t, "docs/dependencies.md"), -1)
	for name, manifest := range manifests {
		found := regexp.MustCompile(name).FindAllStringSubmatch(manifest, -1)
		if len(found) < 2 {
			t.Errorf("%d dependencies match %s", len(found), name)
		}
		for _, m := range found {
			if !slices.Contains(argued, m[1]) {
				t.Errorf("docs/dependencies.md has no line for %s", m[1])
			}
		}
	}
}

// TestExamplesPinPackages wants nothing but packages and their hashes: an option would name a place of one machine.
func TestExamplesPinPackages(t *testing.T) {
	pins, err := filepath.Glob(filepath.Join(root, "examples/*/requirements.txt"))
	if err != nil || len(pins) == 0 {
		t.Fatalf("got %v, %v", pins, err)
	}
	pin := regexp.MustCompile(`^(#.*|[a-z-]+==[0-9.]+ \\|    --hash=sha256:[0-9a-f]{64}( \\)?)$`)
	for _, path := range pins {
		for i, line := range strings.Split(strings.TrimSpace(read(t, strings.TrimPrefix(path, root+"/"))), "\n") {
			if !pin.MatchString(line) {
				t.Errorf("%s:%d: got %q, want a package or a hash", path, i+1, line)
			}
		}
	}
}

func TestEveryVerbHasExamples(t *testing.T) {
	var verbs func(c *cobra.Command)
	verbs = func(c *cobra.Command) {
		if c.Example == "" || c.Short == "" {
			t.Errorf("%s has no example or no short text", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			verbs(sub)
		}
	}
	verbs(newRoot(environment{}))
}
