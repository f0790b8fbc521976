package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"connector/schema"
)

// piped runs one command line with a standard input.
func piped(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut buffer
	code = run(t.Context(), args, environment{stdin: strings.NewReader(stdin), stdout: &out, stderr: &errOut})
	return code, out.String(), errOut.String()
}

// temporary writes a file and returns its path.
func temporary(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSchemaShow(t *testing.T) {
	t.Parallel()
	newest := schema.Released().Newest()
	for args, want := range map[string][]byte{
		"show": newest.Event.JSON, "show event": newest.Event.JSON, "show deadletter": newest.DeadLetter.JSON, "show resolution": newest.Resolution.JSON,
		"show event --version 1.0": schema.Released()[0].Event.JSON,
	} {
		if code, got, stderr := piped(t, "", strings.Fields("schema "+args)...); code != exitOK || got != string(want) {
			t.Errorf("%s: got code %d, %d bytes, %s, want %d bytes", args, code, len(got), stderr, len(want))
		}
	}
}

// An event and a dead letter of version 1.0, which have at least what is required.
const (
	goodEvent = `{"schemaVersion":"1.0","source":{"system":"submail","account":"otp","stream":"sms"},"record":{"id":"7a","revision":1,"terminal":true},` +
		`"channel":"sms","status":"delivered","providerStatus":"delivered","createdAt":"2015-01-19T07:21:27Z","observedAt":"2015-01-19T07:23:00Z","privacy":"off"}`
	wrapped = `{"specversion":"1.0","id":"1","source":"/x","type":"delivery.sms.delivered","dataschema":"urn:connector:schema:delivery-event:1.0","data":%s,"position":"a:1"}`
)

// goodDeadLetter returns an example of the schema on one line.
func goodDeadLetter(t *testing.T) string {
	t.Helper()
	d := jsontext.NewDecoder(bytes.NewReader(object(schema.Released().Newest().DeadLetter.JSON)["examples"]))
	_, _ = d.ReadToken()
	example, err := d.ReadValue()
	if err == nil {
		err = example.Compact()
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(example)
}

func TestSchemaValidate(t *testing.T) {
	t.Parallel()
	spoilt := strings.Replace(goodEvent, `"terminal":true`, `"terminal":"canary"`, 1)
	dead := goodDeadLetter(t)
	newer := strings.Replace(goodEvent, `"1.0"`, `"1.7"`, 1)
	in := func(body string) string { return fmt.Sprintf(wrapped, body) }
	tests := []struct {
		name, stdin, args string
		code              int
		stdout, stderr    string // the whole of stdout; part of stderr
	}{
		{"one a line", goodEvent + "\n\n" + dead + "\n" + in(goodEvent), "", exitOK, "all 3 documents are valid\n", ""},
		{"of indented JSON", "{\n\"schemaVersion\": \"1.0\"" + strings.TrimPrefix(goodEvent, `{"schemaVersion":"1.0"`) + "\n{\n}", "", exitFailed,
			"-:3: the whole: required, want schemaVersion, source, record, channel, status, providerStatus, createdAt, observedAt, privacy\n", "1 of 2 documents are invalid"},
		{"an array", "[" + goodEvent + ",\n" + spoilt + "\n]\n", "-", exitFailed, "-:2: /record/terminal: type, want boolean\n", "1 of 2 documents are invalid"},
		{"an empty array", "[]", "", exitFailed, "", "- holds no document: events were expected"},
		{"nothing", "", "", exitFailed, "", "- holds no document"},
		{"a broken array", "[" + goodEvent + ",\n}", "", exitFailed, "", "reading -: line 1: the array is not JSON: "},
		{"no JSON, and on behind it", "Error: canary {\"a\":\n" + goodEvent + "\n" + goodEvent[:50], "", exitFailed,
			"-:1: the whole: json, want valid JSON (invalid character 'E' at start of value)\n-:3: the whole: json, want valid JSON (unexpected EOF)\n", "2 of 3"},
		{"a value is not told", spoilt, "", exitFailed, "-:1: /record/terminal: type, want boolean\n", ""},
		{"in an envelope", in(spoilt), "", exitFailed, "-:1: /data/record/terminal: type, want boolean\n", ""},
		{"in base64", strings.Replace(in(`"e30="`), `"data"`, `"data_base64"`, 1), "", exitFailed,
			"-:1: /data_base64: required, want schemaVersion, source, record, channel, status, providerStatus, createdAt, observedAt, privacy\n", ""},
		{"an envelope without data", `{"specversion":"1.0","id":"1"}`, "", exitFailed, "-:1: the whole: required, want data\n", ""},
		{"a body that is no object", in("[1]"), "", exitFailed, "-:1: /data: type, want object\n", ""},
		{"no object", "17\n", "", exitFailed, "-:1: the whole: type, want object\n", ""},
		{"the envelope names another version", strings.Replace(in(goodEvent), `event:1.0"`, `event:1.1"`, 1), "", exitFailed, "-:1: /dataschema: const, want urn:connector:schema:delivery-event:1.0\n", ""},
		{"the envelope names another schema", strings.Replace(in(goodEvent), `urn:connector:schema:`, `urn:`, 1), "", exitFailed,
			"-:1: /dataschema: const, want a schema that begins with urn:connector:schema:delivery-event:, urn:connector:schema:delivery-deadletter: or urn:connector:schema:delivery-deadletter-resolved:\n", ""},
		{"a resolution", `{"schemaVersion":"1.0","source":{"system":"a","account":"b","stream":"c"},"recordId":"1","outcome":"published","resolvedAt":"2026-01-01T00:00:00Z"}`, "", exitOK, "all 1 documents are valid\n", ""},
		{"a resolution in an envelope", `{"specversion":"1.0","type":"delivery.deadletter.resolved","dataschema":"urn:connector:schema:delivery-deadletter-resolved:1.0","data":{"schemaVersion":"1.0","source":{"system":"a","account":"b","stream":"c"},"recordId":"1","outcome":"lost","resolvedAt":"2026-01-01T00:00:00Z"}}`, "", exitFailed, "-:1: /data/outcome: enum, want one of published, superseded\n", "connector: 1 of 1 documents are invalid\n"},
		{"a dead letter in an envelope", strings.Replace(in(dead), "delivery-event:", "delivery-deadletter:", 1), "", exitOK, "all 1 documents are valid\n", ""},
		{"a newer minor", newer + "\n" + strings.Replace(in(newer), "event:1.0", "event:1.7", 1), "", exitOK, "all 2 documents are valid\n", ""},
		{"another major", strings.Replace(goodEvent, `"1.0"`, `"2.0"`, 1), "", exitFailed, "-:1: /schemaVersion: version, want one of 1.0\n", ""},
		{"another major as 1.0", strings.Replace(goodEvent, `"1.0"`, `"2.0"`, 1), "--version 1.0", exitFailed, "-:1: /schemaVersion: pattern, want ^1\\.[0-9]+$\n", ""},
		{"for programs", spoilt, "--output json", exitFailed, `{"file":"-","line":1,"path":"/record/terminal","keyword":"type","want":"boolean"}` + "\n", "1 of 1"},
		{"for programs, all valid", goodEvent, "--output json -", exitOK, "", ""},
		{"a name twice", strings.Replace(goodEvent, `{"`, `{"status":"failed","`, 1), "", exitFailed, "-:1: the whole: json, want valid JSON (duplicate object member name)\n", ""},

		{"two files", "", "a b", exitUsage, "", "one file at a time, got 2"},
		{"no such file", "", "missing.json", exitUsage, "", "opening the events: open missing.json: no such file"},
		{"no such version", "", "--version 3.0", exitUsage, "", `--version: there is no schema version "3.0"; there is 1.0`},
		{"no such format", "", "--output yaml", exitUsage, "", `--output "yaml": use text or json`},
	}
	for _, tt := range tests {
		code, stdout, stderr := piped(t, tt.stdin, append([]string{"schema", "validate"}, strings.Fields(tt.args)...)...)
		if code != tt.code || stdout != tt.stdout || !strings.Contains(stderr, tt.stderr) || strings.Contains(stdout+stderr, "canary") {
			t.Errorf("%s: got code %d, stdout %q, stderr %q, want %d, %q, %q", tt.name, code, stdout, stderr, tt.code, tt.stdout, tt.stderr)
		}
	}
	path := temporary(t, "events.ndjson", goodEvent+"\n"+spoilt)
	if code, stdout, _ := piped(t, "", "schema", "validate", path); code != exitFailed || stdout != path+":2: /record/terminal: type, want boolean\n" {
		t.Errorf("a file: got code %d, %s", code, stdout)
	}
}

// TestSchemaValidateReadsWhatIsPublished checks what a run that checks all events has
// written, as it lies in the file and as tail prints it.
func TestSchemaValidateReadsWhatIsPublished(t *testing.T) {
	t.Parallel()
	_, _, vars := simulators(t, 30)
	path := filepath.Join(t.TempDir(), "events.ndjson")
	vars = with(vars, "CONNECTOR_SINK=file", "FILE_PATH="+path, "CONNECTOR_VALIDATE=all", "CONNECTOR_SCHEMA_VERSION=1.0")
	if code, _, stderr := command(t.Context(), vars, "run", "--once"); code != exitOK {
		t.Fatalf("run --once: got code %d; stderr:\n%s", code, stderr)
	}
	code, stdout, stderr := piped(t, "", "schema", "validate", path)
	if code != exitOK || !strings.HasPrefix(stdout, "all ") {
		t.Errorf("the file: got code %d, %s, %s", code, stdout, stderr)
	}
	_, tailed, _ := command(t.Context(), vars, "tail", "--from-start", "--follow=false", "--dead", "--output", "json")
	if strings.Contains(tailed, `"class"`) {
		t.Errorf("got dead letters:\n%s", tailed)
	}
	if code, again, stderr := piped(t, tailed, "schema", "validate"); code != exitOK || again != stdout {
		t.Errorf("tail: got code %d, %s, %s, want %s", code, again, stderr, stdout)
	}
}

func TestSchemaDiff(t *testing.T) {
	t.Parallel()
	first := schema.Released()[0]
	next := strings.Replace(string(first.Event.JSON), first.Event.ID, schema.EventSchemaID+"1.1", 1)
	added := temporary(t, "added.json", strings.Replace(next, `"replay": {`, `"new": {"type": "string", "x-since": "1.1"}, "replay": {`, 1))
	broken := temporary(t, "broken.json", strings.Replace(next, `"replay": {`, `"again": {`, 1))
	dead := temporary(t, "dead.json", string(first.DeadLetter.JSON))
	noJSON := temporary(t, "no.json", "{")
	tests := []struct {
		name, args     string
		code           int
		stdout, stderr string
	}{
		{"compatible", "1.0 " + added, exitOK, "event 1.0 -> " + added + ": 1 changes\n  compatible  /properties/new  optional property added\n", ""},
		{"breaking", "1.0 " + broken, exitFailed, "event 1.0 -> " + broken + ": 2 changes\n" +
			"  breaking    /properties/replay  property removed: readers may need it\n  compatible  /properties/again   optional property added\n", "1 breaking change(s): a new major version is needed, see docs/schema.md"},
		{"for programs", "-o json " + added + " " + broken, exitFailed,
			`{"schema":"event","old":"` + added + `","new":"` + broken + `","pointer":"/properties/new","breaking":true,"text":"property removed: readers may need it"}` + "\n" +
				`{"schema":"event","old":"` + added + `","new":"` + broken + `","pointer":"/properties/replay","breaking":true,"text":"property removed: readers may need it"}` + "\n" +
				`{"schema":"event","old":"` + added + `","new":"` + broken + `","pointer":"/properties/again","breaking":false,"text":"optional property added"}` + "\n", "2 breaking"},
		{"versions", "1.0 1.0", exitOK, "event 1.0 -> 1.0: 0 changes\ndeadletter 1.0 -> 1.0: 0 changes\nresolution 1.0 -> 1.0: 0 changes\n", ""},
		{"dead letters", "1.0 " + dead, exitOK, "deadletter 1.0 -> " + dead + ": 0 changes\n", ""},
		{"different things", added + " " + dead, exitUsage, "", "are schemas of different things, by their $id"},
		{"neither", "1.0 9.9", exitUsage, "", `9.9 is no file, and there is no schema version "9.9"; there is 1.0`},
		{"no JSON", "1.0 " + noJSON, exitUsage, "", noJSON + " is no JSON Schema"},
		{"one", "1.0", exitUsage, "", "name the old and the new version or file, or none"},
	}
	if len(schema.Released()) == 1 {
		tests = append(tests, struct {
			name, args     string
			code           int
			stdout, stderr string
		}{"none", "", exitUsage, "", "1.0 is the only released version: name two versions or files"})
	}
	for _, tt := range tests {
		code, stdout, stderr := piped(t, "", append([]string{"schema", "diff"}, strings.Fields(tt.args)...)...)
		if code != tt.code || stdout != tt.stdout || !strings.Contains(stderr, tt.stderr) {
			t.Errorf("%s: got code %d, stdout %q, stderr %q, want %d, %q, %q", tt.name, code, stdout, stderr, tt.code, tt.stdout, tt.stderr)
		}
	}
	for args, want := range map[string]string{
		"show sms": `there is no schema "sms": use one of event, deadletter, resolution; see connector schema show --help`, "show event event": "use one of event, deadletter, resolution",
		"show --version 7": `there is no schema version "7"; there is 1.0`, "shwo": `unknown verb "shwo"`,
	} {
		if code, stdout, stderr := piped(t, "", strings.Fields("schema "+args)...); code != exitUsage || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: got code %d, %q, %q, want %q", args, code, stdout, stderr, want)
		}
	}
}

// endless is a text that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestDocumentsAreBounded(t *testing.T) {
	t.Parallel()
	d := newDocuments(io.MultiReader(strings.NewReader("{}\n\n\""), endless{}), 1<<20)
	if _, line, err := d.next(); err != nil || line != 1 {
		t.Errorf("got line %d, %v", line, err)
	}
	if _, _, err := d.next(); err == nil || err.Error() != "line 3: a document has more than 1 MiB" {
		t.Errorf("got %v", err)
	}
}

// FuzzDocuments wants every input read to its end, with lines that it has.
func FuzzDocuments(f *testing.F) {
	for _, seed := range []string{"{}\n{}", "[1,\n2]\n3", "{\n]\n{}", "[1,2", "\n\n\"a", "x\ny\nz", "[]\n[1]", "1 2 }\n3"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		d, lines, last := newDocuments(bytes.NewReader(input), 1<<20), bytes.Count(input, []byte("\n"))+1, 0
		for range len(input) + 2 {
			value, line, err := d.next()
			if _, ok := errors.AsType[notJSON](err); err != nil && !ok {
				return
			}
			if line < 1 || line < last || line > lines || err == nil && !value.IsValid() {
				t.Fatalf("got line %d after %d of %d, value %q", line, last, lines, value)
			}
			last = line
		}
		t.Fatal("it does not end")
	})
}
