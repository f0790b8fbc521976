package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"connector/internal/config"
	"connector/schema"
	"connector/sinks"
)

func deadLetterCommand(env environment) *cobra.Command {
	c := &cobra.Command{
		Use:   "deadletter",
		Short: "List, show and retry rows that could become no event",
		Long: `List, show and retry dead letters: rows that could become no event. What a class means and what to
do about it is in docs/dead-letters.md.`,
		Example: `  connector deadletter list
  connector deadletter show 3f2c9a
  connector deadletter retry --dry-run`,
	}
	c.AddCommand(deadLetterListCommand(env), deadLetterShowCommand(env), deadLetterRetryCommand(env))
	return c
}

// addLetterChoice adds --account, --stream and --class.
func (f *deadLetterFlags) addLetterChoice(c *cobra.Command) {
	c.Flags().StringVar(&f.account, "account", "", "only dead letters of the account `NAME`")
	c.Flags().StringVar(&f.stream, "stream", "", "only those of streams of the name `S`")
	c.Flags().StringVar(&f.class, "class", "", "only those of the class `C`, such as decode or too_large")
}

func deadLetterListCommand(env environment) *cobra.Command {
	var flags deadLetterFlags
	var all bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the dead letters that no event of their record followed",
		Long: `List the dead letters that no event of their record followed: the unresolved ones. It reads the dead
letters of the sink from their beginning, takes nothing over, and may run beside a connector.
Repetitions, which a replay makes, are one line.`,
		Example: `  connector deadletter list
  connector deadletter list --class too_large --output json | jq -r .id
  connector deadletter list --all --account hq`,
		RunE: func(c *cobra.Command, _ []string) error {
			return listDeadLetters(c.Context(), env, flags, all)
		},
	}
	flags.addLetterChoice(c)
	outputFlag(c, &flags.output, "text", "json")
	c.Flags().BoolVar(&all, "all", false, "list resolved ones, too")
	return c
}

func listDeadLetters(ctx context.Context, env environment, flags deadLetterFlags, all bool) error {
	cfg, err := config.LoadSink(env.vars, configCatalog())
	if err != nil {
		return err
	}
	f := newFold(flags, all)
	if err := readDeadLetters(ctx, cfg, env, f.add); err != nil {
		return err
	}
	if more := f.overflow(); more != "" {
		_, _ = fmt.Fprintln(env.stderr, "connector: warning: "+more)
	}
	list := f.list()
	if flags.output == "json" {
		return jsonLines(env.stdout, list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(env.stdout, f.none())
		return err
	}
	return showDeadLetters(newView(env), list)
}

// jsonLines prints each of a list as one line of JSON.
func jsonLines[T any](w io.Writer, list []T) error {
	for _, l := range list {
		line, err := json.Marshal(l, json.Deterministic(true))
		if err != nil {
			return err
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// shortLetterID is as much of an id as people need.
const shortLetterID = 12

func showDeadLetters(v *view, list []*deadLetter) error {
	t := tabwriter.NewWriter(v.w, 0, 0, 2, ' ', 0)
	// Each cell of a column is painted, or none: the writer counts colours as text.
	_, _ = fmt.Fprintf(t, "id\tstream\trecord\tclass\tfirst seen\tlast seen\t%s\treason\n", v.paint(grey, "state"))
	count := map[string]int{}
	for _, l := range list {
		count[l.State]++
		colour, state := red, l.State
		if l.State == resolvedAs {
			colour, state = green, string(l.Outcome)
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.ID[:min(len(l.ID), shortLetterID)], l.stream(), shorten(l.RecordID, 24), l.Class,
			second(l.FirstSeen), second(l.LastSeen), v.paint(colour, state), shorten(l.Reason, 80))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(v.w, "%d unresolved", count[unresolved])
	if n := count[resolvedAs]; n > 0 && err == nil {
		_, err = fmt.Fprintf(v.w, ", %d resolved", n)
	}
	_, _ = fmt.Fprintln(v.w)
	return err
}

// oneLine takes out of a text what would break a line, or what a terminal would obey.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// shorten cuts a text to n runes on one line.
func shorten(s string, n int) string {
	s = oneLine(s)
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return s
}

func deadLetterShowCommand(env environment) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Show all of one dead letter, its row included",
		Long: `Show all of one dead letter, its row included. The beginning of an id is enough where no other begins
so. A row holds personal data unless CONNECTOR_PRIVACY masks it.`,
		Example: `  connector deadletter show 3f2c9a
  connector deadletter show 3f2c9a --output json | jq -r .data.raw`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return usageError{fmt.Errorf("name one dead letter by its id or the beginning of it; see %s --help", c.CommandPath())}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			return showDeadLetter(c.Context(), env, args[0], output)
		},
	}
	outputFlag(c, &output, "text", "json")
	return c
}

// shownLetter is all that is known of one dead letter.
type shownLetter struct {
	*deadLetter
	Data jsontext.Value `json:"data"` // its latest body
}

func showDeadLetter(ctx context.Context, env environment, prefix, output string) error {
	cfg, err := config.LoadSink(env.vars, configCatalog())
	if err != nil {
		return err
	}
	f := newFold(deadLetterFlags{}, true)
	bodies := map[string][]byte{}
	f.seen = func(r sinks.Received, id string) {
		if bodies[id] != nil || len(bodies) == 0 { // of several, none is shown
			bodies[id] = bytes.Clone(r.Body)
		}
	}
	f.begin = []string{prefix}
	if err := readDeadLetters(ctx, cfg, env, f.add); err != nil {
		return err
	}
	list := f.list()
	if len(list) != 1 {
		return chosenByPrefix(prefix, list)
	}
	shown := shownLetter{list[0], bodies[list[0].ID]}
	if output == "json" {
		return jsonLines(env.stdout, []shownLetter{shown})
	}
	return shown.print(newView(env))
}

// chosenByPrefix says that an id names no dead letter, or several.
func chosenByPrefix(prefix string, list []*deadLetter) error {
	if len(list) == 0 {
		return usageError{fmt.Errorf("there is no dead letter %s: connector deadletter list --all shows those there are", prefix)}
	}
	var ids []string
	for _, l := range list[:min(len(list), 5)] {
		ids = append(ids, l.ID[:min(len(l.ID), max(shortLetterID, len(prefix)+6))])
	}
	return usageError{fmt.Errorf("%d dead letters begin with %s: write more of the id, such as %s", len(list), prefix, strings.Join(ids, ", "))}
}

func (s shownLetter) print(v *view) error {
	var d schema.DeadLetter
	if err := json.Unmarshal(s.Data, &d); err != nil {
		return fmt.Errorf("dead letter %s is not of this schema: %w", s.ID, err)
	}
	t := tabwriter.NewWriter(v.w, 0, 0, 2, ' ', 0)
	row := func(name string, value any) { _, _ = fmt.Fprintf(t, "%s\t%v\n", name, value) } // the writer keeps its error for Flush
	row("id", s.ID)
	row("stream", s.Source.String())
	row("record", oneLine(s.RecordID))
	row("class", v.paint(red, s.Class))
	row("reason", oneLine(s.Reason))
	if !d.CreatedAt.IsZero() {
		row("created", d.CreatedAt.Format(time.RFC3339Nano))
	}
	row("position", d.Position.From.Format(time.RFC3339Nano)+" to "+d.Position.To.Format(time.RFC3339Nano))
	row("first seen", s.FirstSeen.Format(time.RFC3339))
	row("last seen", fmt.Sprintf("%s, written %d time(s)", s.LastSeen.Format(time.RFC3339), s.Times))
	if s.State == unresolved {
		row("state", v.paint(red, unresolved))
	} else {
		row("state", fmt.Sprintf("%s %s, by event %s", v.paint(green, string(s.Outcome)), s.ResolvedAt.Format(time.RFC3339), s.EventID))
	}
	size := fmt.Sprintf("%d bytes", d.RawBytes)
	if d.Truncated {
		size += ", cut"
	}
	row("row", size+", digest "+s.Digest)
	raw := []byte(d.Raw)
	if d.RawBase64 != "" {
		raw, _ = base64.StdEncoding.DecodeString(d.RawBase64) // what is not base64 is shown as nothing
	}
	return errors.Join(t.Flush(), v.raw(raw))
}

// raw prints a row, indented when it is JSON, and without what a terminal would obey.
func (v *view) raw(raw []byte) error {
	if pretty := jsontext.Value(slices.Clone(raw)); pretty.Indent() == nil {
		raw = pretty
	}
	text := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return '\ufffd'
		}
		return r
	}, strings.ToValidUTF8(string(raw), "\ufffd"))
	_, err := fmt.Fprintf(v.w, "\n%s\n", text)
	return err
}
