package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"connector/schema"
)

func schemaCommand(env environment) *cobra.Command {
	c := &cobra.Command{
		Use:   "schema",
		Short: "Show the schemas of events and dead letters, check documents, compare versions",
		Long: `Show the JSON Schemas of events and dead letters as they were released, check events
against them, compare two versions, and describe what is published as an AsyncAPI document. No sink and
no provider is asked. What a version promises is in docs/schema.md.`,
		Example: `  connector schema show > event.json
  connector tail --from-start --follow=false --output json | connector schema validate
  connector schema diff 1.0 new.json
  connector schema asyncapi > asyncapi.json`,
	}
	c.AddCommand(schemaShowCommand(env), schemaValidateCommand(env), schemaDiffCommand(env), schemaAsyncAPICommand(env))
	return c
}

// The schemas by the names that verbs take.
const (
	eventSchema      = "event"
	deadLetterSchema = "deadletter"
	resolutionSchema = "resolution"
)

var schemaNames = []string{eventSchema, deadLetterSchema, resolutionSchema}

// schemaFile returns the file of a release that a name means, by default the event's.
func schemaFile(release *schema.Release, name string) schema.File {
	switch name {
	case deadLetterSchema:
		return release.DeadLetter
	case resolutionSchema:
		return release.Resolution
	}
	return release.Event
}

func schemaShowCommand(env environment) *cobra.Command {
	var version string
	c := &cobra.Command{
		Use:   "show [event|deadletter|resolution]",
		Short: "Print a JSON Schema as it was released",
		Long: `Print the JSON Schema (2020-12) of events, of dead letters or of the resolutions of dead letters, byte for
byte as it was released.`,
		Example: `  connector schema show
  connector schema show deadletter --version 1.0 > deadletter.json`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && !slices.Contains(schemaNames, args[0]) {
				return usageError{fmt.Errorf("there is no schema %q: use one of %s; see %s --help", strings.Join(args, " "), strings.Join(schemaNames, ", "), c.CommandPath())}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			release, err := releaseOf(version)
			if err != nil {
				return err
			}
			_, err = env.stdout.Write(schemaFile(release, strings.Join(args, "")).JSON)
			return err
		},
	}
	schemaVersionFlag(c, &version, "schema version to print")
	return c
}

func schemaVersionFlag(c *cobra.Command, into *string, usage string) {
	c.Flags().StringVar(into, "version", "", usage+": "+strings.Join(schema.Released().Versions(), ", ")+" (default the newest)")
}

// releaseOf finds the version that --version asks for, by default the newest.
func releaseOf(version string) (*schema.Release, error) {
	if version == "" {
		return schema.Released().Newest(), nil
	}
	release, err := schema.Released().Find(version)
	if err != nil {
		return nil, usageError{fmt.Errorf("--version: %w", err)}
	}
	return release, nil
}
