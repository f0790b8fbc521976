package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"connector/internal/config"
)

// The exit codes, also in the README.
const (
	exitOK     = 0
	exitFailed = 1 // something went wrong while running
	exitUsage  = 2 // wrong configuration or command line; nothing was started
)

// environment is what a command line gets from outside.
type environment struct {
	vars           []string // as os.Environ returns them
	stdin          io.Reader
	stdout, stderr io.Writer

	log    *slog.Logger // nil until the configuration is known
	output string       // format that --output asks for, where a verb has it

	connections *connections // of the sources, closed when the verb has ended
}

// usageError marks a wrong command line.
type usageError struct{ error }

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, env environment) int {
	env.connections = new(connections)
	defer env.connections.close()
	root := newRoot(env) //nolint:contextcheck // cobra hands ctx to the verb
	root.SetArgs(args)
	root.SetOut(env.stdout)
	root.SetErr(env.stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	_, _ = fmt.Fprintln(env.stderr, "connector: "+err.Error())
	_, isConfig := errors.AsType[*config.Error](err)
	_, isUsage := errors.AsType[usageError](err)
	if isConfig || isUsage {
		return exitUsage
	}
	return exitFailed
}

func newRoot(env environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "connector",
		Short: "Delivery logs of SaaS providers as events in NATS or Kafka, once per row version",
		Long: `connector polls delivery logs (ekuaibao's failed outbound messages, SUBMAIL's SMS log),
turns every row version into an event of one JSON schema, and publishes it to NATS,
Kafka, a file or stdout. It is configured by environment variables: "connector config --reference"
lists them, "connector check" tries them out.`,
		Example: `  connector demo
  CONNECTOR_SOURCES=submail SUBMAIL_APP_ID=… SUBMAIL_APP_KEY_FILE=/run/key connector run
  CONNECTOR_SINK=kafka KAFKA_BROKERS=kafka:9092 connector tail --from-start`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %s --help", err, c.CommandPath())}
	})
	root.AddCommand(runCommand(env), backfillCommand(env), replayCommand(env), deadLetterCommand(env), checkpointCommand(env), demoCommand(env), checkCommand(env), tailCommand(env), schemaCommand(env), configCommand(env), versionCommand(env))
	refuseArgs(root)
	return root
}

// refuseArgs makes a command and those below it take flags only, unless they say what
// else they take; one that has others below it shows its help.
func refuseArgs(c *cobra.Command) {
	if c.Args == nil {
		c.Args = noArgs
	}
	if c.HasSubCommands() {
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
	for _, sub := range c.Commands() {
		refuseArgs(sub)
	}
}

func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		what := "argument"
		if c.HasSubCommands() {
			what = "verb"
		}
		return usageError{fmt.Errorf("unknown %s %q; see %s --help", what, args[0], c.CommandPath())}
	}
	return nil
}

// outputFlag adds --output with its formats, the first being the default, and refuses others.
func outputFlag(c *cobra.Command, into *string, formats ...string) {
	addOutput(c, into, formats...)
	c.PreRunE = func(*cobra.Command, []string) error { return usage(outputFaults(*into, formats...)) }
}

func addOutput(c *cobra.Command, into *string, formats ...string) {
	c.Flags().StringVarP(into, "output", "o", formats[0], "output format: "+strings.Join(formats, ", "))
}

// outputFaults says what is wrong with the value of --output.
func outputFaults(value string, formats ...string) []string {
	if err := config.OneOf(&value, value, formats); err != nil {
		return []string{fmt.Sprintf("--output %q: %v", value, err)}
	}
	return nil
}

// apart returns env with a standard output for people and programs to look at what
// a verb does: the standard error when the sink prints events on the other.
func (env environment) apart(cfg *config.Config) environment {
	if cfg.Connector.Sink == "stdout" {
		env.stdout = env.stderr
	}
	return env
}

// warn prints the warnings of a configuration; verb run logs them instead.
func warn(env environment, cfg *config.Config) {
	for _, w := range cfg.Warnings {
		_, _ = fmt.Fprintln(env.stderr, "connector: warning: "+w)
	}
}

// newLogger returns the logger that the configuration asks for.
func newLogger(cfg *config.Config, w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.Connector.LogLevel}
	if cfg.Connector.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
