// Package pipeline moves records from sources to a sink: it plans windows,
// asks the ledger what is new, and commits events with the state that
// remembers them.
package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"connector/checkpoint"
	"connector/internal/budget"
	"connector/internal/privacy"
	"connector/schema"
	"connector/sinks"
	"connector/sources"
)

// Unit names the only unit of a checkpoint.
const Unit = "u0"

// Account is one configured account and how to read it.
type Account struct {
	System, Name string
	Source       sources.Source
	Budget       *budget.Budget  // of the credential's requests; nil: unlimited
	Poll         time.Duration   // time from one reading of the head to the next
	Lag          time.Duration   // how close to the provider's now a read may go
	Lateness     time.Duration   // how late a row may appear
	GiveUp       time.Duration   // how long a record that is not terminal is read again
	Digest       string          // of the configuration, so that a change is noticed; holds no secret
	Privacy      *privacy.Policy // what is hidden before anything is written; nil: nothing
}

// Options configure a pipeline.
type Options struct {
	Accounts []Account
	Sink     sinks.Sink
	Format   schema.Format                 // of the messages
	Validate Validate                      // which events are checked before they are published
	Start    func(now time.Time) time.Time // where a stream without state begins, given the provider's now
	Once     bool                          // read up to the provider's now at the start, then end
	Backfill *Backfill                     // read a past range, then end; nil: none
	Log      *slog.Logger
	Metrics  *Metrics

	PageBytes int // memory for pages of the ledgers; 0 = checkpoint.DefaultPageBytes
}

// Pipeline runs all streams of all accounts into one sink.
type Pipeline struct {
	opts    Options
	runners []*runner
	open    atomic.Bool // whether the sink is open and the ledgers are loaded
}

// New prepares a pipeline; nothing is started.
func New(opts Options) *Pipeline {
	p := &Pipeline{opts: opts}
	for _, a := range opts.Accounts {
		account := &shared{said: map[string]bool{}}
		if a.Budget == nil {
			a.Budget = budget.New(0)
		}
		for _, s := range a.Source.Streams() {
			from := schema.Source{System: a.System, Account: a.Name, Stream: s.Name}
			markOnly := opts.Backfill != nil && opts.Backfill.MarkOnly
			if markOnly && !opts.Backfill.chooses(from) {
				continue
			}
			p.runners = append(p.runners, &runner{
				account: a, stream: s, from: from, format: opts.Format, validate: sampler{Validate: opts.Validate}, shared: account, start: opts.Start, once: opts.Once,
				log:     opts.Log.With("account", a.Name, "stream", s.Name),
				metrics: opts.Metrics.stream(from), status: &status{patience: patience + time.Duration(len(a.Source.Streams())*patientRequests)*a.Budget.Every()},
				retry: newRetry(), prefix: checkpoint.Prefix(a.Name, s), want: opts.Backfill.span(from, s.Tick), markOnly: markOnly,
			})
		}
	}
	return p
}

// Run reads until ctx ends, which is not an error; with Once, until every
// stream has read up to its provider's now; with Backfill, until every chosen
// stream has read what it marked. A stream that meets a fatal error
// stops and the others go on; Run returns the errors once none is left, or at
// once when the sink fails fatally.
func (p *Pipeline) Run(ctx context.Context) error { return p.each(ctx, (*runner).run) }

// each opens the sink, loads the ledgers, and runs every stream.
func (p *Pipeline) each(ctx context.Context, run func(*runner, context.Context) error) error {
	return p.prepared(ctx, func(context.Context) error { return nil }, run)
}

// prepared is each, with what is to be done between taking over and running.
func (p *Pipeline) prepared(ctx context.Context, prepare func(context.Context) error, run func(*runner, context.Context) error) error {
	session, err := p.opts.Sink.Open(ctx, Unit)
	if err != nil {
		return err
	}
	shared := newCommitter(session, p.opts.Sink.Guarantee(), p.opts.Log, p.opts.Metrics)
	if err := p.recover(ctx, shared); err != nil {
		return errors.Join(err, session.Close())
	}
	if err := prepare(ctx); err != nil {
		return errors.Join(err, session.Close())
	}
	p.open.Store(true)
	defer p.open.Store(false)
	err = p.runAll(ctx, shared, run)
	if ctx.Err() != nil && !isSinkFailure(err) {
		err = nil // stopped from outside; what ended single streams is in the log
	}
	return errors.Join(err, session.Close())
}

func (p *Pipeline) runAll(ctx context.Context, shared *committer, run func(*runner, context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	errs := make([]error, len(p.runners))
	p.awaitBackfill(cancel)
	for i, r := range p.runners {
		r.commits = shared
		if r.ledger != nil {
			r.show()
		}
		group.Go(func() {
			errs[i] = run(r, ctx)
			r.status.end(errs[i])
			r.filled()
			if isSinkFailure(errs[i]) {
				cancel()
			}
		})
	}
	group.Wait()
	return distinct(errs)
}

// recover loads the ledgers, which share the memory for pages, and restores
// what an earlier process did not save. Other state of streams that are not
// configured is left alone.
func (p *Pipeline) recover(ctx context.Context, commits *committer) error {
	session := commits.session
	state, err := checkpoint.Read(ctx, session.Recover)
	if err != nil {
		return fmt.Errorf("reading checkpoint: %w", err)
	}
	pages := checkpoint.NewPages(session.Get, cmp.Or(p.opts.PageBytes, checkpoint.DefaultPageBytes))
	for _, r := range p.runners {
		r.pages = pages
		if len(state[r.prefix]) == 0 {
			continue
		}
		if r.ledger, err = checkpoint.Load(r.account.Name, r.stream, state[r.prefix], pages); err != nil {
			return err
		}
		if err := commits.restore(ctx, r.ledger); err != nil {
			return err
		}
		delete(state, r.prefix)
	}
	for prefix, entries := range state {
		if !checkpoint.HasMarks(entries) {
			continue
		}
		l, err := checkpoint.Inspect(prefix, entries, pages)
		if err != nil {
			return err
		}
		if err := commits.restore(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// distinct joins errors that say different things.
func distinct(errs []error) error {
	var out []error
	said := map[string]bool{}
	for _, err := range errs {
		if err != nil && !said[err.Error()] {
			said[err.Error()] = true
			out = append(out, err)
		}
	}
	return errors.Join(out...)
}
