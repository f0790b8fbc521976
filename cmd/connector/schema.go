package main

import "github.com/spf13/cobra"

func schemaCommand(env environment) *cobra.Command {
	c := &cobra.Command{
		Use:     "schema",
		Short:   "Describe what is published",
		Long:    "Describe what is published.",
		Example: "  connector schema asyncapi > asyncapi.json",
	}
	c.AddCommand(schemaAsyncAPICommand(env))
	return c
}
