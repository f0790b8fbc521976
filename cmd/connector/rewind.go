package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"connector/checkpoint"
	"connector/internal/config"
	"connector/pipeline"
	"connector/sources"
)

func rewindCommand(env environment) *cobra.Command {
	var flags spanFlags
	var yes bool
	c := &cobra.Command{
		Use:   "rewind --to T",
		Short: "Go back to the latest savepoint at or before a time",
		Long: `Go back to the latest savepoint at or before a time: what was read since is to be read again,
by the next "connector run". What was published is remembered, so that it publishes only what
is new; what is given up stays so. It says what it would do, asks, makes a savepoint of the
present state, and does it. Savepoints are made once an hour; "checkpoint show" lists them.

It takes the checkpoint over. A connector that runs on the same data folder, or holds the same
file, must be stopped before. One that runs elsewhere and publishes into the same NATS stream or
Kafka topics is fenced: it stops with an error that names this process, and may be started again.

T is ` + timeForms + `.`,
		Example: `  connector checkpoint rewind --to 24h
  connector checkpoint rewind --to 2026-01-31T08:00:00Z --account hq --yes`,
		RunE: func(c *cobra.Command, _ []string) error {
			return rewind(c.Context(), env, flags, yes)
		},
	}
	c.Flags().StringVar(&flags.to, "to", "", "time to go back to, `T` as above")
	flags.addChoice(c)
	addOutput(c, &flags.output, "text", "json")
	c.Flags().BoolVar(&yes, "yes", false, "do it without asking")
	return c
}

func rewind(ctx context.Context, env environment, flags spanFlags, yes bool) error {
	now := time.Now().Truncate(time.Second)
	to, err := parsePast(flags.to, now)
	var faults []string
	if err != nil {
		faults = append(faults, "--to: "+err.Error())
	}
	cfg, opts, err := flags.load(&env, faults)
	if err != nil {
		return err
	}
	plan, err := previewRewind(ctx, cfg, env, opts, flags, to)
	if err != nil {
		return err
	}
	if !reopens(plan) {
		return showRewound(env, plan, "nothing to go back to: nothing was read since the savepoint at or before "+second(to)+", or there is none")
	}
	opts.Sink, err = openSink(ctx, cfg, env, sinkOptions(cfg, env.log))
	if err != nil {
		return owned(cfg, "checkpoint rewind", err)
	}
	ok := yes
	if !yes {
		if err = showRewound(env, plan, ""); err == nil {
			ok, err = confirm(ctx, env, "Read this again? A connector that publishes into the same sink is stopped by it.")
		}
	}
	if ok && err == nil {
		err = applyRewind(ctx, env, opts, flags, rewinding{to, now, !yes})
	}
	return errors.Join(err, opts.Sink.Close())
}

// previewRewind says what going back means, and takes nothing over.
func previewRewind(ctx context.Context, cfg *config.Config, env environment, opts pipeline.Options, flags spanFlags, to time.Time) ([]rewound, error) {
	state, err := viewState(ctx, cfg, env)
	if err != nil {
		return nil, missing(cfg, owned(cfg, "checkpoint rewind", err))
	}
	streams, err := loadConfigured(ctx, state, opts, flags)
	var plan []rewound
	for i := 0; i < len(streams) && err == nil; i++ {
		var p rewound
		p, err = planRewind(ctx, streams[i], to)
		plan = append(plan, p)
	}
	return plan, errors.Join(err, state.Close())
}

func reopens(plan []rewound) bool {
	return slices.ContainsFunc(plan, func(p rewound) bool { return len(p.Reopens) > 0 })
}

// loadConfigured loads the chosen streams that are configured: the others are read by nothing.
func loadConfigured(ctx context.Context, store checkpoint.Reader, opts pipeline.Options, flags spanFlags) ([]stored, error) {
	state, err := checkpoint.Read(ctx, store.Load)
	if err != nil {
		return nil, fmt.Errorf("reading checkpoint: %w", err)
	}
	pages := checkpoint.NewPages(store.Get, checkpoint.DefaultPageBytes)
	var streams []stored
	for _, a := range opts.Accounts {
		for _, s := range a.Source.Streams() {
			entries := state[checkpoint.Prefix(a.Name, s)]
			if len(entries) == 0 || !flags.chooses(a.Name, s.Name) {
				continue
			}
			l, err := checkpoint.Load(a.Name, s, entries, pages)
			if err != nil {
				return nil, err
			}
			streams = append(streams, stored{a.Name, s.Name, s.Filters, l})
		}
	}
	return streams, nil
}

// rewinding is what is asked for.
type rewinding struct {
	to, now time.Time
	shown   bool // whether the plan was shown
}

// rewound is what going back means for one stream.
type rewound struct {
	storedID
	Savepoint time.Time  `json:"savepoint,omitzero"` // missing when there is none at or before the time
	Reopens   []timeSpan `json:"reopens"`
	Seconds   int64      `json:"seconds"` // of all that is reopened
	Done      bool       `json:"done"`

	name  string
	saved []time.Time
	batch *checkpoint.Batch
}

// applyRewind takes the checkpoint over and goes back in it.
func applyRewind(ctx context.Context, env environment, opts pipeline.Options, flags spanFlags, r rewinding) error {
	var mu sync.Mutex
	var done []rewound
	opts.Metrics = pipeline.NewMetrics(prometheus.NewRegistry())
	err := pipeline.New(opts).Change(ctx, func(ctx context.Context, a pipeline.Account, s sources.Stream, l *checkpoint.Ledger) (*checkpoint.Batch, error) {
		if !flags.chooses(a.Name, s.Name) {
			return nil, nil
		}
		p, err := planRewind(ctx, stored{a.Name, s.Name, s.Filters, l}, r.to)
		if err != nil {
			return nil, err
		}
		p.Done = len(p.Reopens) > 0
		mu.Lock()
		done = append(done, p)
		mu.Unlock()
		if !p.Done {
			return nil, nil
		}
		p.batch.Save(unused(r.now, p.saved))
		return p.batch, nil
	})
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("going back: %w", err)
	}
	slices.SortFunc(done, func(a, b rewound) int { return strings.Compare(a.name, b.name) })
	if r.shown && env.output != "json" {
		done = nil
	}
	return showRewound(env, done, "done; \"connector run\" reads it again and publishes what is new")
}

// planRewind stages going back to the latest savepoint at or before a time.
func planRewind(ctx context.Context, s stored, to time.Time) (rewound, error) {
	p := rewound{storedID: s.id(), Reopens: []timeSpan{}, name: s.name(), saved: s.ledger.Savepoints()}
	for _, at := range p.saved {
		if !at.After(to) {
			p.Savepoint = at
		}
	}
	if p.Savepoint.IsZero() {
		return p, nil
	}
	ranges, err := s.ledger.Savepoint(ctx, p.Savepoint)
	if err != nil {
		return p, err
	}
	p.batch = s.ledger.Begin()
	for _, span := range p.batch.Rewind(ranges) {
		p.Reopens = append(p.Reopens, timeSpan{span.From.UTC(), span.To.UTC()})
		p.Seconds += int64(span.To.Sub(span.From).Seconds())
	}
	return p, nil
}

// unused returns the first second from at on without a savepoint, so that none is replaced.
func unused(at time.Time, saved []time.Time) time.Time {
	for slices.ContainsFunc(saved, at.Equal) {
		at = at.Add(time.Second)
	}
	return at
}

// showRewound prints what is, or was, reopened of each stream, and what to say of it.
func showRewound(env environment, plan []rewound, say string) error {
	if env.output == "json" {
		for _, p := range plan {
			if err := json.NewEncoder(env.stdout).Encode(p); err != nil {
				return err
			}
		}
		return nil
	}
	var b strings.Builder
	for _, p := range plan {
		switch {
		case p.Savepoint.IsZero():
			fmt.Fprintf(&b, "%s: no savepoint that old\n", p.name)
		case len(p.Reopens) == 0:
			fmt.Fprintf(&b, "%s: nothing was read since the savepoint of %s\n", p.name, second(p.Savepoint))
		default:
			fmt.Fprintf(&b, "%s: to the savepoint of %s, which reopens %s:\n", p.name, second(p.Savepoint), days(time.Duration(p.Seconds)*time.Second))
			for _, r := range p.Reopens {
				fmt.Fprintf(&b, "  %s\n", sources.Span(r))
			}
		}
	}
	if say != "" {
		fmt.Fprintln(&b, say)
	}
	_, err := io.WriteString(env.stdout, b.String())
	return err
}

// confirm asks on the terminal, until ctx ends; without a terminal it refuses.
func confirm(ctx context.Context, env environment, question string) (bool, error) {
	f, ok := env.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return false, usageError{errors.New("not confirmed, nothing was changed: standard input is no terminal to ask on; add --yes")}
	}
	if _, err := fmt.Fprintf(env.stderr, "%s [y/N] ", question); err != nil {
		return false, err
	}
	answers := make(chan string, 1)
	go func() { // ends with the process at the latest: a terminal cannot be interrupted
		answer, _ := bufio.NewReader(f).ReadString('\n') // what is no yes is no
		answers <- strings.ToLower(strings.TrimSpace(answer))
	}()
	select {
	case answer := <-answers:
		if answer == "y" || answer == "yes" {
			return true, nil
		}
	case <-ctx.Done():
	}
	_, err := fmt.Fprintln(env.stderr, "nothing was changed")
	return false, err
}
