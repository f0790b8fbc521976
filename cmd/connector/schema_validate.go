package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"connector/schema"
)

func schemaValidateCommand(env environment) *cobra.Command {
	var version string
	c := &cobra.Command{
		Use:   "validate [FILE|-]",
		Short: "Check events and dead letters against their schema",
		Long: `Check events and dead letters in a file, or from standard input, against the schema of
the version that each names. It takes JSON documents, one a line, one after the other, or in one
array: bodies, CloudEvents in structured mode, and the lines of the sinks file and stdout and of
"connector tail --output json". A version that is newer than this program, in the same major, is
checked as far as the newest version known describes it.

Each fault is printed with line, JSON Pointer and the rule that is broken, never with a value.
Exits with 0 when all are valid, 1 when one is not or there is none, 2 on a wrong command line.`,
		Example: `  connector schema validate events.ndjson
  connector tail --from-start --follow=false --dead --output json | connector schema validate
  kcat -b kafka:9092 -t delivery.events -e | connector schema validate --output json -`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("one file at a time, got %d; see %s --help", len(args), c.CommandPath())}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			check := checker{env: env, name: "-", validators: map[string]*schema.Validator{}}
			if version != "" {
				release, err := releaseOf(version)
				if err != nil {
					return err
				}
				check.pinned = release
			}
			if len(args) == 0 || args[0] == "-" {
				return check.all(env.stdin)
			}
			return check.file(args[0])
		},
	}
	outputFlag(c, &env.output, "text", "json")
	schemaVersionFlag(c, &version, "check all documents against this schema version")
	c.Flags().Lookup("version").Usage = "check all documents against this schema version instead of their own: " + strings.Join(schema.Released().Versions(), ", ")
	return c
}

// checker checks the documents of one input.
type checker struct {
	env        environment
	name       string          // of the input
	pinned     *schema.Release // nil: the version that each document names
	validators map[string]*schema.Validator

	documents, invalid int
}

func (c *checker) file(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return usageError{fmt.Errorf("opening the events: %w", err)}
	}
	c.name = path
	return errors.Join(c.all(f), f.Close())
}

// all checks every document of r.
func (c *checker) all(r io.Reader) error {
	in := newDocuments(r, maxDocument)
	for {
		value, line, err := in.next()
		if errors.Is(err, io.EOF) {
			return c.result()
		}
		var faults []schema.Fault
		if broken, ok := errors.AsType[notJSON](err); ok {
			faults = []schema.Fault{{Keyword: "json", Want: "valid JSON (" + broken.Error() + ")"}}
		} else if err != nil {
			return fmt.Errorf("reading %s: %w", c.name, err)
		} else if faults, err = c.check(value); err != nil {
			return err
		}
		c.documents++
		if len(faults) == 0 {
			continue
		}
		c.invalid++
		if err := c.report(line, faults); err != nil {
			return err
		}
	}
}

func (c *checker) result() error {
	switch {
	case c.documents == 0:
		return fmt.Errorf("%s holds no document: events were expected, one JSON object a line", c.name)
	case c.invalid > 0:
		return fmt.Errorf("%d of %d documents are invalid", c.invalid, c.documents)
	case c.env.output == "json":
		return nil
	}
	_, err := fmt.Fprintf(c.env.stdout, "all %d documents are valid\n", c.documents)
	return err
}

// documentFault is a fault as --output json prints it.
type documentFault struct {
	File string `json:"file"`
	Line int    `json:"line"`
	schema.Fault
}

func (c *checker) report(line int, faults []schema.Fault) error {
	for _, f := range faults {
		if c.env.output == "json" {
			if err := json.NewEncoder(c.env.stdout).Encode(documentFault{c.name, line, f}); err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprintf(c.env.stdout, "%s:%d: %s\n", c.name, line, f); err != nil {
			return err
		}
	}
	return nil
}

// check returns what is wrong with one document; an error means that it cannot be told.
func (c *checker) check(value jsontext.Value) ([]schema.Fault, error) {
	members := object(value)
	if members == nil {
		return []schema.Fault{{Keyword: "type", Want: "object"}}, nil
	}
	if members["specversion"] == nil {
		body := document{body: value, schema: eventSchema}
		switch {
		case members["resolvedAt"] != nil:
			body.schema = resolutionSchema
		case members["recordId"] != nil:
			body.schema = deadLetterSchema
		}
		return c.body(body, members)
	}
	body, fault := unwrap(members)
	if fault != nil {
		return []schema.Fault{*fault}, nil
	}
	inner := object(body.body)
	if inner == nil {
		return []schema.Fault{{Path: body.at, Keyword: "type", Want: "object"}}, nil
	}
	return c.body(body, inner)
}

// document is the body of an event, a dead letter or a resolution.
type document struct {
	body   jsontext.Value
	at     string // JSON Pointer of the body
	schema string // its name
	id     string // of the schema that it claims to follow; "" when it claims nothing
}

// unwrap takes the body out of a CloudEvents event.
func unwrap(members map[string]jsontext.Value) (document, *schema.Fault) {
	d := document{id: text(members["dataschema"]), at: "/data", body: members["data"], schema: eventSchema}
	switch {
	case strings.HasPrefix(d.id, schema.ResolutionSchemaID), d.id == "" && text(members["type"]) == schema.ResolutionType:
		d.schema = resolutionSchema
	case strings.HasPrefix(d.id, schema.DeadLetterSchemaID), d.id == "" && text(members["type"]) == schema.DeadLetterType:
		d.schema = deadLetterSchema
	case d.id != "" && !strings.HasPrefix(d.id, schema.EventSchemaID):
		return d, &schema.Fault{Path: "/dataschema", Keyword: "const", Want: "a schema that begins with " + schema.EventSchemaID + ", " + schema.DeadLetterSchemaID + " or " + schema.ResolutionSchemaID}
	}
	if d.body != nil {
		return d, nil
	}
	d.at = "/data_base64"
	var err error
	if d.body, err = base64.StdEncoding.DecodeString(text(members["data_base64"])); err != nil || len(d.body) == 0 {
		return d, &schema.Fault{Keyword: "required", Want: "data"}
	}
	return d, nil
}

// object returns the members of an object; nil when the value is something else.
func object(v jsontext.Value) map[string]jsontext.Value {
	var members map[string]jsontext.Value
	if v.Kind() != '{' || jsonv2.Unmarshal(v, &members) != nil {
		return nil
	}
	return members
}

// text returns the text that a value is, or "".
func text(v jsontext.Value) string {
	var s string
	if v.Kind() != '"' || jsonv2.Unmarshal(v, &s) != nil {
		return ""
	}
	return s
}

// body checks a body, whose members are known.
func (c *checker) body(d document, members map[string]jsontext.Value) ([]schema.Fault, error) {
	version := text(members["schemaVersion"])
	release := c.pinned
	if release == nil {
		if release = schema.Released().Describing(version); release == nil {
			return []schema.Fault{{Path: d.at + "/schemaVersion", Keyword: "version", Want: "one of " + strings.Join(schema.Released().Versions(), ", ")}}, nil
		}
	}
	file := schemaFile(release, d.schema)
	v, err := c.validator(file)
	if err != nil {
		return nil, err
	}
	var faults []schema.Fault
	if base, _, _ := strings.Cut(file.ID, release.Version); version != "" && d.id != "" && d.id != base+version {
		faults = append(faults, schema.Fault{Path: "/dataschema", Keyword: "const", Want: base + version})
	}
	err = v.Validate(d.body)
	if invalid, ok := errors.AsType[*schema.InvalidError](err); ok {
		for _, f := range invalid.Faults {
			f.Path = d.at + f.Path
			faults = append(faults, f)
		}
		err = nil
	}
	return faults, err
}

func (c *checker) validator(f schema.File) (*schema.Validator, error) {
	if v := c.validators[f.ID]; v != nil {
		return v, nil
	}
	v, err := schema.NewValidator(f)
	c.validators[f.ID] = v
	return v, err
}
