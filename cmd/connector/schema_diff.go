package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"connector/schema"
	"connector/schema/compat"
)

func schemaDiffCommand(env environment) *cobra.Command {
	c := &cobra.Command{
		Use:   "diff [OLD NEW]",
		Short: "Compare two versions of the schemas",
		Long: `List what a new version changes, and which changes would break readers within a major. OLD
and NEW are released versions or files with a JSON Schema; without them the two newest released versions
are compared. Of two versions the schemas of events and of dead letters are compared; a file is compared
with the one that its $id names.

Exits with 0 when nothing breaks, 1 when something does, 2 on a wrong command line.`,
		Example: `  connector schema diff
  connector schema diff 1.0 schema/event-1.1.json
  connector schema diff old.json new.json --output json`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 0 && len(args) != 2 {
				return usageError{fmt.Errorf("name the old and the new version or file, or none; see %s --help", c.CommandPath())}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				versions := schema.Released().Versions()
				if len(versions) < 2 {
					return usageError{fmt.Errorf("%s is the only released version: name two versions or files to compare", versions[0])}
				}
				args = versions[len(versions)-2:]
			}
			pairs, err := schemaPairs(args[0], args[1])
			if err != nil {
				return err
			}
			return diffSchemas(env, pairs)
		},
	}
	outputFlag(c, &env.output, "text", "json")
	return c
}

// side is one of two schemas to compare.
type side struct {
	name string // version or file
	json []byte
}

// schemaPair is two schemas to compare.
type schemaPair struct {
	schema   string
	old, new side
}

// schemaPairs finds what two arguments name.
func schemaPairs(old, new string) ([]schemaPair, error) {
	o, err := schemaSides(old)
	if err != nil {
		return nil, err
	}
	n, err := schemaSides(new)
	if err != nil {
		return nil, err
	}
	var pairs []schemaPair
	for _, name := range schemaNames {
		if o[name] != nil && n[name] != nil {
			pairs = append(pairs, schemaPair{name, *o[name], *n[name]})
		}
	}
	if pairs == nil {
		return nil, usageError{fmt.Errorf("%s and %s are schemas of different things, by their $id", old, new)}
	}
	return pairs, nil
}

// schemaSides returns the schemas that an argument names, by what they describe.
func schemaSides(arg string) (map[string]*side, error) {
	release, unreleased := schema.Released().Find(arg)
	if unreleased == nil {
		sides := map[string]*side{}
		for _, name := range schemaNames {
			sides[name] = &side{arg, schemaFile(release, name).JSON}
		}
		return sides, nil
	}
	content, err := os.ReadFile(arg)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usageError{fmt.Errorf("%s is no file, and %w", arg, unreleased)}
	}
	if err != nil {
		return nil, usageError{fmt.Errorf("reading a schema: %w", err)}
	}
	var head struct {
		ID string `json:"$id"`
	}
	if err := json.Unmarshal(content, &head); err != nil {
		return nil, usageError{fmt.Errorf("%s is no JSON Schema: %w", arg, err)}
	}
	var name string
	switch {
	case strings.HasPrefix(head.ID, schema.EventSchemaID):
		name = eventSchema
	case strings.HasPrefix(head.ID, schema.DeadLetterSchemaID):
		name = deadLetterSchema
	case strings.HasPrefix(head.ID, schema.ResolutionSchemaID):
		name = resolutionSchema
	default:
		return nil, usageError{fmt.Errorf("%s is none of these schemas: its $id is %q, not such as %s", arg, head.ID, schema.Released().Newest().Event.ID)}
	}
	return map[string]*side{name: {arg, content}}, nil
}

// schemaChange is a change as --output json prints it.
type schemaChange struct {
	Schema string `json:"schema"`
	Old    string `json:"old"`
	New    string `json:"new"`
	compat.Change
}

func diffSchemas(env environment, pairs []schemaPair) error {
	breaking := 0
	for _, p := range pairs {
		changes, err := compat.Compare(p.old.json, p.new.json)
		if err != nil {
			return fmt.Errorf("comparing %s with %s: %w", p.old.name, p.new.name, err)
		}
		for _, c := range changes {
			if c.Breaking {
				breaking++
			}
		}
		if err := printChanges(env, p, changes); err != nil {
			return err
		}
	}
	if breaking > 0 {
		return fmt.Errorf("%d breaking change(s): a new major version is needed, see docs/schema.md", breaking)
	}
	return nil
}

func printChanges(env environment, p schemaPair, changes []compat.Change) error {
	if env.output == "json" {
		for _, c := range changes {
			if err := json.NewEncoder(env.stdout).Encode(schemaChange{p.schema, p.old.name, p.new.name, c}); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(t, "%s %s -> %s: %d changes\n", p.schema, p.old.name, p.new.name, len(changes)) // the writer keeps its error for Flush
	for _, c := range changes {
		verdict := "compatible"
		if c.Breaking {
			verdict = "breaking"
		}
		_, _ = fmt.Fprintf(t, "  %s\t%s\t%s\n", verdict, c.Pointer, c.Text)
	}
	return t.Flush()
}
