package config

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"connector/internal/secret"
)

// Setting is one variable with the value in effect.
type Setting struct {
	Variable string `json:"variable"`
	Value    string `json:"value"`          // masked when secret
	Origin   string `json:"origin"`         // env, file or default
	File     string `json:"file,omitempty"` // the path, when Origin is file
	Default  string `json:"default"`
	Meaning  string `json:"meaning"`
}

func newSetting(f field, def string, given bool, file string) Setting {
	s := Setting{Variable: f.key, Value: text(f.value), Origin: "default", File: file, Default: def, Meaning: f.desc}
	if file != "" {
		s.Origin = "file"
	} else if given {
		s.Origin = "env"
	}
	return s
}

// Effective returns every variable of the connector, the chosen sink and the accounts.
func (c *Config) Effective() []Setting { return c.settings }

// Render writes settings as format says:
//   - env: assignments for a POSIX shell that [Load] reads again. What holds a
//     secret and unset variables are comments; a variable read from a file names
//     the file.
//   - json: an array of [Setting].
//   - markdown: a table.
func Render(w io.Writer, format string, settings []Setting) error {
	var out string
	switch format {
	case "env":
		for _, s := range settings {
			out += assignment(s) + "\n"
		}
	case "json":
		encoded, err := json.MarshalIndent(settings, "", "  ")
		if err != nil {
			return fmt.Errorf("encoding the configuration: %w", err)
		}
		out = string(encoded) + "\n"
	case "markdown":
		rows := [][]string{{"Variable", "Value", "Origin"}}
		for _, s := range settings {
			rows = append(rows, []string{code(s.Variable), code(s.Value), s.Origin})
		}
		out = table(rows)
	default:
		return fmt.Errorf("output format %q: use env, json or markdown", format)
	}
	_, err := io.WriteString(w, out)
	return err
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,=-]+$`)

func assignment(s Setting) string {
	name, value := s.Variable, s.Value
	switch {
	case s.File != "":
		name, value = name+"_FILE", s.File
	case value == "":
		return "# " + name + "="
	case strings.Contains(value, secret.Mask):
		return "# " + name + "=" + value + " (secret)"
	}
	if !plainWord.MatchString(value) {
		value = "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
	}
	return name + "=" + value
}

const introduction = `# Configuration

The connector is configured by environment variables. All faults are reported at once, and nothing starts until there are none.

- Any variable ` + "`X`" + ` can be read from a file: set ` + "`X_FILE`" + ` to its path and leave ` + "`X`" + ` unset. Line breaks at its end are cut.
- An empty variable counts as unset.
- An account's name begins with a lower-case letter; lower-case letters, digits and ` + "`_`" + ` follow. ` + "`connector`" + ` and the names of sinks with variables are reserved.
- Unknown variables that begin with ` + "`CONNECTOR_`" + ` or an account's prefix are refused. Unknown ones that begin with a sink's prefix, which other tools may use, give a warning. Those that Kubernetes sets for its services are ignored.
- ` + "`connector config`" + ` prints the values in effect, secrets masked.
`

// Reference returns the documentation of every variable, in Markdown.
func Reference(catalog Catalog) string {
	var b strings.Builder
	b.WriteString(introduction)
	b.WriteString("\n## Connector\n\n" + reference("CONNECTOR", &Connector{}))
	for _, kind := range slices.Sorted(maps.Keys(catalog.Sources)) {
		source := catalog.Sources[kind]
		fmt.Fprintf(&b, "\n## Account of kind `%s`\n\n%s ", kind, source.Doc)
		fmt.Fprintf(&b, "`<NAME>` is the upper-cased name of the account: `%s` for `CONNECTOR_SOURCES=%s`.\n\n", strings.ToUpper(kind), kind)
		b.WriteString(reference("<NAME>", source.New()))
	}
	for _, name := range slices.Sorted(maps.Keys(catalog.Sinks)) {
		sink := catalog.Sinks[name]
		fmt.Fprintf(&b, "\n## Sink `%s`\n\n%s", name, sink.Doc)
		if sink.New == nil {
			b.WriteString(" It has no variables.\n")
			continue
		}
		b.WriteString("\n\n" + reference(strings.ToUpper(name), sink.New()))
	}
	return b.String()
}

func reference(prefix string, spec any) string {
	rows := [][]string{{"Variable", "Accepts", "Default", "Meaning"}}
	for _, f := range fields(prefix, spec) {
		rows = append(rows, []string{code(f.key), accepts(f.value), code(f.def), f.desc})
	}
	return table(rows)
}

// table returns rows, the first of which is the head, as a Markdown table.
func table(rows [][]string) string {
	var b strings.Builder
	for i, row := range rows {
		for _, cell := range row {
			b.WriteString("| " + strings.ReplaceAll(cell, "|", `\|`) + " ")
		}
		b.WriteString("|\n")
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
	return b.String()
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}
