package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"connector/internal/config"
	"connector/pipeline"
	"connector/schema"
	"connector/sources"
)

func deadLetterRetryCommand(env environment) *cobra.Command {
	var flags deadLetterFlags
	var dry, yes bool
	c := &cobra.Command{
		Use:   "retry [ID…]",
		Short: "Read the rows of dead letters again and publish what can be an event now",
		Long: `Read the rows of unresolved dead letters from the providers again, once the cause is mended: a limit is
larger, a newer connector is installed, or the provider corrected the row. A row of which an event can be made
now is published, once, and its dead letter is resolved in the same commit; a later "connector run" does not
publish it again. If the provider shows a later version, that one is. A row that fails still stays a
dead letter; no second one is written. Nothing but the windows in which the rows were read is read.

Without ID all unresolved dead letters are tried, or those that the flags choose. The beginning of an id is
enough. It says what it would read, asks, and takes the checkpoint over.

Stop other connectors first. One that holds the same data folder or file makes it refuse to start. One that
publishes to the same NATS stream or Kafka topics is fenced: it stops, and if something starts it again, it
fences the retry in turn. Interrupted or not, the same command again publishes nothing twice.

--dry-run reads the rows and says what would become of them. It takes nothing over and publishes nothing; what the sink
would refuse for its size is not known then.

Exits with 1 when it was stopped before the end, or could not look for all rows.`,
		Example: `  connector deadletter retry --dry-run
  connector deadletter retry 3f2c9a 77b0e1 --yes
  OTP_MAX_ROW_BYTES=16MiB connector deadletter retry --class too_large`,
		Args: func(*cobra.Command, []string) error { return nil },
		RunE: func(c *cobra.Command, args []string) error {
			return retryDeadLetters(c.Context(), env, retryFlags{flags, args, dry, yes})
		},
	}
	flags.addLetterChoice(c)
	addOutput(c, &flags.output, "text", "json")
	c.Flags().BoolVar(&dry, "dry-run", false, "read the rows and say what would become of them, and change nothing")
	c.Flags().BoolVar(&yes, "yes", false, "do it without asking")
	return c
}

// retryFlags are those of verb retry, and its ids.
type retryFlags struct {
	deadLetterFlags
	ids      []string
	dry, yes bool
}

// retryDeadLetters checks everything and asks before it takes anything over.
func retryDeadLetters(ctx context.Context, env environment, flags retryFlags) error {
	cfg, opts, err := flags.load(&env, nil)
	if err != nil {
		return err
	}
	for _, w := range cfg.Warnings {
		env.log.Warn(w)
	}
	if err := unowned(cfg, "deadletter retry"); err != nil {
		return err
	}
	chosen, none, err := flags.choose(ctx, cfg, env)
	if err != nil {
		return err
	}
	env = env.apart(cfg)
	if len(chosen) == 0 {
		return emptyRetry(env, none)
	}
	if !flags.dry && !flags.yes {
		if err := planOfRetry(env.stderr, chosen); err != nil {
			return err
		}
		if ok, err := confirm(ctx, env, "Retry these? A connector that publishes into the same sink is stopped by it."); !ok || err != nil {
			return err
		}
	}
	return runRetry(ctx, cfg, env, opts, flags, chosen)
}

// choose reads which unresolved dead letters are meant; none says why if there
// are none.
func (f retryFlags) choose(ctx context.Context, cfg *config.Config, env environment) (chosen []*deadLetter, none string, err error) {
	all := newFold(f.deadLetterFlags, len(f.ids) > 0)
	if len(f.ids) > 0 { // there may be more of others than are held
		all.begin = f.ids
	}
	if err := readDeadLetters(ctx, cfg, env, all.add); err != nil {
		return nil, "", err
	}
	if more := all.overflow(); more != "" {
		env.log.Warn(more)
	}
	list := all.list()
	if len(f.ids) == 0 {
		return list, all.none(), nil
	}
	var faults []string
	for _, id := range f.ids {
		begins := slices.DeleteFunc(slices.Clone(list), func(l *deadLetter) bool { return id == "" || !strings.HasPrefix(l.ID, id) })
		switch {
		case len(begins) == 0:
			faults = append(faults, fmt.Sprintf("%q is no dead letter that the flags choose: connector deadletter list --all shows those there are", id))
		case len(begins) > 1:
			faults = append(faults, chosenByPrefix(id, begins).Error())
		case begins[0].State == resolvedAs:
			env.log.Info("resolved already", "deadLetter", begins[0].ID, "outcome", begins[0].Outcome, "at", begins[0].ResolvedAt)
		case !slices.Contains(chosen, begins[0]):
			chosen = append(chosen, begins[0])
		}
	}
	return chosen, "all of these are resolved", usage(faults)
}

func emptyRetry(env environment, none string) error {
	if env.output == "json" {
		return jsonLines(env.stdout, []retrySummary{{Verb: "deadletter retry", Summary: true, Complete: true}})
	}
	_, err := fmt.Fprintln(env.stdout, "nothing to retry: "+none)
	return err
}

// planOfRetry says what is to be retried, by stream and class.
func planOfRetry(w io.Writer, chosen []*deadLetter) error {
	type kind struct{ stream, class string }
	count := map[kind]int{}
	var kinds []kind
	for _, l := range chosen {
		k := kind{l.stream(), l.Class}
		if count[k]++; count[k] == 1 {
			kinds = append(kinds, k)
		}
	}
	slices.SortFunc(kinds, func(a, b kind) int {
		return cmp.Or(strings.Compare(a.stream, b.stream), strings.Compare(a.class, b.class))
	})
	var b strings.Builder
	for _, k := range kinds {
		fmt.Fprintf(&b, "%s: %d of class %s\n", k.stream, count[k], k.class)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// runRetry retries and sums up.
func runRetry(ctx context.Context, cfg *config.Config, env environment, opts pipeline.Options, flags retryFlags, chosen []*deadLetter) error {
	what := pipeline.Retry{ID: newReplayID(time.Now()), Dry: flags.dry}
	opts.Metrics = pipeline.NewMetrics(prometheus.NewRegistry())
	var err error
	if flags.dry {
		what.Letters = func(context.Context) ([]pipeline.Letter, error) { return lettersOf(chosen), nil }
		opts.Sink, err = viewedSink(ctx, cfg, env)
	} else {
		ids := map[string]bool{}
		for _, l := range chosen {
			ids[l.ID] = true
		}
		// What was resolved before the unit was taken over is left out.
		what.Letters = func(ctx context.Context) ([]pipeline.Letter, error) {
			f := newFold(flags.deadLetterFlags, false)
			f.wanted = ids
			err := readDeadLetters(ctx, cfg, env, f.add)
			return lettersOf(f.list()), err
		}
		opts.Sink, err = openSink(ctx, cfg, env, sinkOptions(cfg, env.log))
	}
	if err != nil {
		return owned(cfg, "deadletter retry", err)
	}
	r := pipeline.New(opts).Retry(what)
	stop := watchProgress(ctx, env, "deadletter retry", r.Progress)
	err = r.Run(ctx)
	stop()
	results := r.Results()
	s := newRetrySummary(flags.dry, results, err == nil)
	return errors.Join(s.failure(ctx, err), opts.Sink.Close(), s.write(env, results))
}

// lettersOf returns what the pipeline needs of dead letters.
func lettersOf(list []*deadLetter) []pipeline.Letter {
	letters := make([]pipeline.Letter, 0, len(list))
	for _, l := range list {
		letters = append(letters, pipeline.Letter{
			ID: l.ID, Source: l.Source, RecordID: l.RecordID, Digest: l.Digest, Replay: l.Replay, Position: sources.Span{From: l.Position.From, To: l.Position.To},
		})
	}
	return letters
}

// retriedLetter is a line of the result of a retry.
type retriedLetter struct {
	ID       string        `json:"id"`
	Source   schema.Source `json:"source"`
	RecordID string        `json:"recordId"`
	Result   pipeline.Fate `json:"result"`
	Reason   string        `json:"reason,omitzero"`
	EventID  string        `json:"eventId,omitzero"`
}

// retrySummary is the last line of a retry.
type retrySummary struct {
	Verb       string `json:"verb"`
	Summary    bool   `json:"summary"`  // true, and missing in other lines
	Complete   bool   `json:"complete"` // whether every row was looked for
	Dry        bool   `json:"dryRun"`
	Published  int    `json:"published"`
	Superseded int    `json:"superseded"`
	Failing    int    `json:"failing"`
	Gone       int    `json:"gone"`
	Stale      int    `json:"stale"`
	Unproven   int    `json:"unproven"`
	Unread     int    `json:"unread"`
}

func newRetrySummary(dry bool, results []pipeline.Retried, ended bool) *retrySummary {
	s := &retrySummary{Verb: "deadletter retry", Summary: true, Dry: dry}
	for _, r := range results {
		*map[pipeline.Fate]*int{
			pipeline.Published: &s.Published, pipeline.Superseded: &s.Superseded, pipeline.Failing: &s.Failing, pipeline.Gone: &s.Gone,
			pipeline.Stale: &s.Stale, pipeline.Unproven: &s.Unproven, pipeline.Unread: &s.Unread,
		}[r.Fate]++
	}
	s.Complete = ended && s.Unproven+s.Unread == 0
	return s
}

// failure returns why a retry that ended with err is not complete.
func (s *retrySummary) failure(ctx context.Context, err error) error {
	switch {
	case err != nil && ctx.Err() != nil:
		return errors.New("the retry was stopped before its end: repeat it")
	case err == nil && !s.Complete:
		return fmt.Errorf("the retry is incomplete: %d row(s) could not be looked for", s.Unproven+s.Unread)
	}
	return err
}

func (s *retrySummary) write(env environment, results []pipeline.Retried) error {
	slices.SortStableFunc(results, func(a, b pipeline.Retried) int { return strings.Compare(a.Source.String(), b.Source.String()) })
	if env.output == "json" {
		lines := make([]retriedLetter, 0, len(results))
		for _, r := range results {
			lines = append(lines, retriedLetter{r.ID, r.Source, r.RecordID, r.Fate, r.Reason, r.EventID})
		}
		return errors.Join(jsonLines(env.stdout, lines), jsonLines(env.stdout, []*retrySummary{s}))
	}
	return s.table(newView(env), results)
}

var fateColours = map[pipeline.Fate]string{
	pipeline.Published: green, pipeline.Superseded: green, pipeline.Failing: red, pipeline.Gone: yellow,
	pipeline.Stale: yellow, pipeline.Unproven: yellow, pipeline.Unread: yellow,
}

func (s *retrySummary) table(v *view, results []pipeline.Retried) error {
	t := tabwriter.NewWriter(v.w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(t, "id\tstream\trecord\t%s\treason\n", v.paint(grey, "result")) // the writer keeps its error for Flush
	for _, r := range results {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", r.ID[:min(len(r.ID), shortLetterID)], r.Source.Account+"/"+r.Source.Stream, shorten(r.RecordID, 24),
			v.paint(fateColours[r.Fate], string(r.Fate)), shorten(r.Reason, 100))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	resolved, say := s.Published+s.Superseded, "resolved"
	if s.Dry {
		say = "would be resolved; nothing was changed"
	}
	_, err := fmt.Fprintf(v.w, "%d of %d dead letter(s) %s\n", resolved, len(results), say)
	return err
}
