package examples

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"connector/schema/schematest"
)

const guide = "../docs/consuming.md"

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var jsonBlock = regexp.MustCompile("(?s)```json\n(.*?)```")

// TestGuide compares docs/consuming.md with what it is about.
func TestGuide(t *testing.T) {
	text := read(t, guide)
	blocks := jsonBlock.FindAllStringSubmatch(text, -1)
	if len(blocks) == 0 {
		t.Error("there is no event in it")
	}
	for _, b := range blocks {
		if err := schematest.Event([]byte(b[1])); err != nil {
			t.Errorf("event: %v\n%s", err, b[1])
		}
	}
	for _, q := range questions {
		if !strings.Contains(text, "\n| "+q+" |") {
			t.Errorf("no table has the question %q", q)
		}
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name := e.Name(); e.IsDir() && !strings.Contains(text, "\n| ["+name+"](../examples/"+name+") |") {
			t.Errorf("no table has the folder %s", name)
		}
	}
}
