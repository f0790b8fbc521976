package main

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"connector/schema"
)

func versionCommand(env environment) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of the program, of the event schema and of Go",
		Example: "  connector version\n  connector version --output json",
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version string `json:"version"`
				Schema  string `json:"schema"`
				Go      string `json:"go"`
			}{version, schema.Version, runtime.Version()}
			if output == "json" {
				return json.NewEncoder(env.stdout).Encode(v)
			}
			_, err := fmt.Fprintf(env.stdout, "connector %s, event schema %s, %s\n", v.Version, v.Schema, v.Go)
			return err
		},
	}
	outputFlag(c, &output, "text", "json")
	return c
}
