package main

import (
	"io"

	"github.com/spf13/cobra"

	"connector/internal/config"
)

func configCommand(env environment) *cobra.Command {
	var output string
	var reference bool
	c := &cobra.Command{
		Use:   "config",
		Short: "Print the configuration in effect, secrets masked",
		Long: `Print every variable with the value in effect, secrets masked. With faults in the
configuration it lists all of them and exits with 2.`,
		Example: `  CONNECTOR_SOURCES=submail SUBMAIL_APP_ID=1 SUBMAIL_APP_KEY=k connector config
  connector config --reference > docs/configuration.md`,
		RunE: func(*cobra.Command, []string) error {
			if reference {
				_, err := io.WriteString(env.stdout, config.Reference(configCatalog()))
				return err
			}
			cfg, err := config.Load(env.vars, configCatalog())
			if err != nil {
				return err
			}
			warn(env, cfg)
			return config.Render(env.stdout, output, cfg.Effective())
		},
	}
	outputFlag(c, &output, "env", "json", "markdown")
	c.Flags().BoolVar(&reference, "reference", false, "print the reference of all variables instead, as markdown")
	return c
}

//go:generate sh -c "go run . config --reference > ../../docs/configuration.md"
