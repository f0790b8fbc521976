package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"connector/internal/config"
	"connector/pipeline"
	"connector/sources"
)

func backfillCommand(env environment) *cobra.Command {
	var flags spanFlags
	var markOnly bool
	c := &cobra.Command{
		Use:   "backfill --from T --to T",
		Short: "Read a past range that lies before the start of the streams",
		Long: `Mark a past range, both ends included, and read it: what lies before the time from which on
a stream is read (at first CONNECTOR_START) and was neither read nor asked for. What lies after
that time is read anyway. The new rows go on being read meanwhile, and before all else; when
nothing marked is left, a summary is printed and the process ends.

The marks are kept in the checkpoint. After an interruption, kill -9 included, the same command
or "connector run" goes on where it stood.

Stop other connectors first: backfill takes the checkpoint over. One that holds the same data folder
or file makes it refuse to start. One that publishes to the same NATS stream or Kafka topics is
fenced: it stops, and if something starts it again, it fences the backfill in turn.

T is ` + timeForms + `.`,
		Example: `  connector backfill --from 2026-01-01 --to 2026-02-01
  connector backfill --from 720h --to 24h --account hq --stream flow
  connector backfill --from 2026-01-01 --to 2026-02-01 --mark-only && connector run`,
		RunE: func(c *cobra.Command, _ []string) error {
			return backfill(c.Context(), env, flags, markOnly)
		},
	}
	flags.addRange(c)
	flags.addChoice(c)
	addOutput(c, &flags.output, "text", "json")
	c.Flags().BoolVar(&markOnly, "mark-only", false, `mark the range and exit; a later "connector run" reads it when it has nothing else to read`)
	return c
}

// backfill checks everything before it starts anything.
func backfill(ctx context.Context, env environment, flags spanFlags, markOnly bool) error {
	span, faults := flags.span(time.Now().Truncate(time.Second))
	cfg, opts, err := flags.load(&env, faults)
	if err != nil {
		return err
	}
	if err := unowned(cfg, "backfill"); err != nil {
		return err
	}
	opts.Backfill = &pipeline.Backfill{Account: flags.account, Stream: flags.stream, Span: span, MarkOnly: markOnly}
	return runBackfill(ctx, cfg, env, opts)
}

// runBackfill runs the pipeline until nothing marked is left, and sums up.
func runBackfill(ctx context.Context, cfg *config.Config, env environment, opts pipeline.Options) error {
	var p *pipeline.Pipeline
	stop, began, shown := func() {}, time.Now(), env.apart(cfg)
	err := serve(ctx, cfg, env, opts, func(made *pipeline.Pipeline) {
		p = made
		if !opts.Backfill.MarkOnly {
			stop = watchProgress(ctx, shown, "backfill", p.Progress)
		}
	})
	stop()
	if p == nil { // it did not come to a start
		return owned(cfg, "backfill", err)
	}
	s := summary{report: newReport("backfill", newMeter(p.Progress).measure(time.Now())), Summary: true, From: opts.Backfill.Span.From.UTC(), To: opts.Backfill.Span.To.UTC()}
	s.RowsPerSecond = float64(s.Rows) / time.Since(began).Seconds()
	s.Complete = err == nil && ctx.Err() == nil
	if !s.Complete {
		s.ETASeconds = nil
	}
	s.markOnly = opts.Backfill.MarkOnly
	return errors.Join(err, s.write(shown))
}

// summary is the last line of a backfill.
type summary struct {
	report
	Summary  bool      `json:"summary"` // true, and missing in lines of progress
	Complete bool      `json:"complete"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`

	markOnly bool
}

func (s *summary) write(env environment) error {
	if env.output == "json" {
		return json.NewEncoder(env.stdout).Encode(s)
	}
	if _, err := fmt.Fprintf(env.stdout, "backfill of %s: %s\n", sources.Span{From: s.From, To: s.To}, s.verdict()); err != nil {
		return err
	}
	if s.TotalSeconds == 0 || s.markOnly {
		return nil
	}
	return s.table(env.stdout)
}

func (s *summary) verdict() string {
	total := time.Duration(s.TotalSeconds) * time.Second
	switch {
	case s.markOnly && s.Complete && total > 0:
		return fmt.Sprintf("%s of time marked in %d stream(s); \"connector run\" reads it when it has nothing else to read", days(total), len(s.Streams))
	case s.Complete && total == 0:
		return "nothing to read: it was read or given up before, or lies after the start of the streams, from where \"connector run\" reads on"
	case s.Complete:
		return "done"
	default:
		return "not finished; the same command or \"connector run\" goes on where it stood"
	}
}

func (s *summary) table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "stream\tread\tof\trows read\tevents\tdead letters\tgaps") // the writer keeps its error for Flush
	row := func(name string, a amounts) {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%d\t%d\n", name, days(time.Duration(a.DoneSeconds)*time.Second), days(time.Duration(a.TotalSeconds)*time.Second), a.Rows, a.Events, a.DeadLetters, a.Gaps)
	}
	for _, stream := range s.Streams {
		row(stream.Source.Account+"/"+stream.Source.Stream, stream.amounts)
	}
	if len(s.Streams) > 1 {
		row("all", s.amounts)
	}
	return t.Flush()
}
