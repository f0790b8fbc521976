package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
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

// replayFlags are those of verb replay.
type replayFlags struct {
	spanFlags
	id     string
	newIDs bool
}

func replayCommand(env environment) *cobra.Command {
	var flags replayFlags
	c := &cobra.Command{
		Use:   "replay --from T --to T",
		Short: "Publish a range that was read before again",
		Long: `Read a range, both ends included, from the providers again and publish the present version
of every row, marked with the id of the replay. The event ids are those of the first
publication, so that a consumer which has an event drops it and one that lost it gets it;
--new-ids is for consumers that must process all once more.

A version that was never published before is published without the mark. What was never read
is skipped and listed: "connector run" publishes what lies after the start of the streams, and
"connector backfill" what lies before. Nothing else is read meanwhile.

Stop other connectors first: replay takes the checkpoint over. One that holds the same data folder
or file makes it refuse to start. One that publishes to the same NATS stream or Kafka topics is
fenced: it stops, and if something starts it again, it fences the replay in turn.

After an interruption, the same command with --id ID of the interrupted one repeats the
replay: its events have the same ids and the same replay id, by which consumers tell repetitions.
Exits with 1 when it was stopped before the end, or met gaps in which rows may be missing.

T is ` + timeForms + `.`,
		Example: `  connector replay --from 2026-01-31T08:00:00Z --to 2026-01-31T09:00:00Z
  connector replay --from 48h --to 24h --account hq --stream flow --id 20260201T101500Z-k3vq
  connector replay --from 2026-01-31 --to 2026-02-01 --new-ids --output json`,
		RunE: func(c *cobra.Command, _ []string) error {
			return replay(c.Context(), env, flags)
		},
	}
	flags.addRange(c)
	flags.addChoice(c)
	addOutput(c, &flags.output, "text", "json")
	c.Flags().StringVar(&flags.id, "id", "", "`ID` of the replay, up to 64 letters, digits, dots, hyphens and underscores (default a new one each time)")
	c.Flags().BoolVar(&flags.newIDs, "new-ids", false, "give the events ids of the replay's own")
	return c
}

// newReplayID returns an id that no other replay has.
func newReplayID(now time.Time) string {
	return now.UTC().Format("20060102T150405Z") + "-" + strings.ToLower(rand.Text()[:4])
}

// replayID is what every sink takes as part of a header and of a message id.
var replayID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// replay checks everything before it starts anything.
func replay(ctx context.Context, env environment, flags replayFlags) error {
	span, faults := flags.span(time.Now().Truncate(time.Second))
	if flags.id == "" {
		flags.id = newReplayID(time.Now())
	}
	if !replayID.MatchString(flags.id) {
		faults = append(faults, fmt.Sprintf("--id: %q is no id; use up to 64 letters, digits, dots, hyphens and underscores", flags.id))
	}
	cfg, opts, err := flags.load(&env, faults)
	if err != nil {
		return err
	}
	for _, w := range cfg.Warnings {
		env.log.Warn(w)
	}
	if err := unowned(cfg, "replay"); err != nil {
		return err
	}
	return runReplay(ctx, cfg, env, opts, pipeline.Replay{
		ID: flags.id, Span: span, NewIDs: flags.newIDs,
		Only: func(s schema.Source) bool { return flags.chooses(s.Account, s.Stream) },
	})
}

// runReplay replays and sums up.
func runReplay(ctx context.Context, cfg *config.Config, env environment, opts pipeline.Options, what pipeline.Replay) error {
	sink, err := openSink(ctx, cfg, env, sinkOptions(cfg, env.log))
	if err != nil {
		return owned(cfg, "replay", err)
	}
	env = env.apart(cfg)
	opts.Sink, opts.Metrics = sink, pipeline.NewMetrics(prometheus.NewRegistry())
	r := pipeline.New(opts).Replay(what)
	_, _ = fmt.Fprintf(env.stderr, "replay %s of %s\n", what.ID, what.Span)
	stop := watchProgress(ctx, env, "replay", r.Progress)
	err = r.Run(ctx)
	stop()
	s := newReplaySummary(what, r.Results(), err == nil)
	return errors.Join(s.failure(ctx, err), sink.Close(), s.write(env))
}

// replaySummary is the last line of a replay.
type replaySummary struct {
	Verb     string    `json:"verb"`
	Summary  bool      `json:"summary"`  // true, and missing in lines of progress
	Complete bool      `json:"complete"` // whether it came to its end without a gap
	ID       string    `json:"id"`
	NewIDs   bool      `json:"newIds"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	replayReport
	Streams []replayStream `json:"streams"`
}

type replayReport struct {
	Rows        int64 `json:"rows"`
	Again       int64 `json:"eventsAgain"`
	News        int64 `json:"eventsNew"` // of versions that were not published before
	DeadLetters int64 `json:"deadLetters"`
	Gaps        int   `json:"gaps"`
}

type replayStream struct {
	Source schema.Source `json:"source"`
	replayReport
	Unread []timeSpan `json:"unread"` // skipped
	Missed []timeSpan `json:"missed"` // the gaps
}

// timeSpan is a range, both ends included.
type timeSpan struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

func timeSpans(list []sources.Span) []timeSpan {
	spans := make([]timeSpan, 0, len(list))
	for _, s := range list {
		spans = append(spans, timeSpan{s.From.UTC(), s.To.UTC()})
	}
	return spans
}

func newReplaySummary(what pipeline.Replay, results []pipeline.Replayed, ended bool) *replaySummary {
	s := &replaySummary{
		Verb: "replay", Summary: true, ID: what.ID, NewIDs: what.NewIDs,
		From: what.Span.From.UTC(), To: what.Span.To.UTC(), Streams: []replayStream{},
	}
	for _, r := range results {
		report := replayReport{r.Rows, r.Again, r.News, r.Dead, len(r.Gaps)}
		s.Streams = append(s.Streams, replayStream{r.Source, report, timeSpans(r.Unread), timeSpans(r.Gaps)})
		s.Rows, s.Again, s.News = s.Rows+r.Rows, s.Again+r.Again, s.News+r.News
		s.DeadLetters, s.Gaps = s.DeadLetters+r.Dead, s.Gaps+len(r.Gaps)
	}
	s.Complete = ended && s.Gaps == 0
	return s
}

// failure returns why a replay that ended with err is not complete.
func (s *replaySummary) failure(ctx context.Context, err error) error {
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("replay %s was stopped before its end: repeat it with --id %s", s.ID, s.ID)
	case err == nil && s.Gaps > 0:
		return fmt.Errorf("replay %s is incomplete: rows may be missing in %d gap(s)", s.ID, s.Gaps)
	}
	return err
}

func (s *replaySummary) write(env environment) error {
	if env.output == "json" {
		return json.NewEncoder(env.stdout).Encode(s)
	}
	verdict := "done"
	if !s.Complete {
		verdict = "incomplete"
	}
	if _, err := fmt.Fprintf(env.stdout, "replay %s of %s: %s\n", s.ID, sources.Span{From: s.From, To: s.To}, verdict); err != nil {
		return err
	}
	return errors.Join(s.table(env.stdout), s.spans(env.stdout))
}

func (s *replaySummary) table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "stream\trows read\tevents again\tnew events\tdead letters\tgaps") // the writer keeps its error for Flush
	row := func(name string, r replayReport) {
		_, _ = fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\n", name, r.Rows, r.Again, r.News, r.DeadLetters, r.Gaps)
	}
	for _, stream := range s.Streams {
		row(stream.Source.Account+"/"+stream.Source.Stream, stream.replayReport)
	}
	if len(s.Streams) > 1 {
		row("all", s.replayReport)
	}
	return t.Flush()
}

// spans lists what was skipped and what may miss rows.
func (s *replaySummary) spans(w io.Writer) error {
	var b strings.Builder
	for _, stream := range s.Streams {
		for _, u := range stream.Unread {
			fmt.Fprintf(&b, "%s/%s: skipped %s: it was never read\n", stream.Source.Account, stream.Source.Stream, sources.Span(u))
		}
		for _, g := range stream.Missed {
			fmt.Fprintf(&b, "%s/%s: rows may be missing in %s\n", stream.Source.Account, stream.Source.Stream, sources.Span(g))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
