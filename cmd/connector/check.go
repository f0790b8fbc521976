package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/spf13/cobra"

	checkpointfile "connector/checkpoint/file"
	"connector/internal/budget"
	"connector/internal/config"
	"connector/internal/filelock"
	"connector/pipeline"
	"connector/sources"
)

// checkTimeout bounds one call of a provider or the sink. SUBMAIL's default
// rate, one request a minute, fits into it.
const checkTimeout = 90 * time.Second

// checkSpan is how much of each log a check reads.
const checkSpan = time.Minute

func checkCommand(env environment) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration, then call every provider and the sink",
		Long: `Check the configuration, then really call every provider, open the sink and the checkpoint,
and say of each what works or what to fix. What "run" would create is created: a missing
topic or stream in the sink, the data directory. What a running connector holds is said to be
in use, and not tried. Each stream costs one request that counts against the provider's rate
limit. Exits with 0 when all is well, with 2 when the configuration has faults, else with 1.`,
		Example: "  connector check\n  connector check --output json",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := config.Load(env.vars, configCatalog())
			if err != nil {
				return err
			}
			warn(env, cfg)
			show := newView(env).finding
			if output == "json" {
				show = func(f finding) error { return json.NewEncoder(env.stdout).Encode(f) }
			}
			return check(c.Context(), cfg, show)
		},
	}
	outputFlag(c, &output, "text", "json")
	return c
}

// finding is the result of one check.
type finding struct {
	Subject string `json:"subject"` // sink/<name>, checkpoint, <account> or <account>/<stream>
	OK      bool   `json:"ok"`
	Detail  string `json:"detail"` // what works, or what is wrong and what to do
}

func (v *view) finding(f finding) error {
	mark := v.paint(green, "ok  ")
	if !f.OK {
		mark = v.paint(red, "FAIL")
	}
	_, err := fmt.Fprintf(v.w, "%s  %-28s  %s\n", mark, f.Subject, f.Detail)
	return err
}

// check shows findings as they come, those of one account in order.
func check(ctx context.Context, cfg *config.Config, show func(finding) error) error {
	findings := make(chan finding)
	var group sync.WaitGroup
	group.Go(func() { findings <- checkSink(ctx, cfg) })
	group.Go(func() { findings <- checkCheckpoint(cfg) })
	budgets := newBudgets(cfg.Accounts)
	for _, a := range cfg.Accounts {
		group.Go(func() { checkAccount(ctx, a, budgets, findings) })
	}
	go func() { group.Wait(); close(findings) }()
	failed := 0
	var broken error
	for f := range findings {
		if !f.OK {
			failed++
		}
		broken = errors.Join(broken, show(f))
	}
	if failed > 0 {
		return errors.Join(fmt.Errorf("%d check(s) failed", failed), broken)
	}
	return broken
}

// opened makes the finding about what this process would hold alone.
func opened(subject, detail string, err error) finding {
	switch {
	case err == nil:
		return finding{Subject: subject, OK: true, Detail: detail}
	case errors.Is(err, filelock.ErrHeld):
		return finding{Subject: subject, OK: true, Detail: "in use by a running connector, not tried"}
	default:
		return finding{Subject: subject, Detail: err.Error()}
	}
}

func checkSink(ctx context.Context, cfg *config.Config) finding {
	subject := "sink/" + cfg.Connector.Sink
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	at := place{dataDir: cfg.Connector.DataDir, stdout: io.Discard, log: slog.New(slog.DiscardHandler)}
	publisher, err := sinkKinds[cfg.Connector.Sink].open(ctx, cfg.Sink, at)
	if err != nil {
		return opened(subject, "", err)
	}
	return opened(subject, "writable; "+string(publisher.Guarantee()), publisher.Close())
}

func checkCheckpoint(cfg *config.Config) finding {
	store, err := checkpointfile.Open(checkpointDir(cfg), pipeline.Unit)
	if err != nil {
		return opened("checkpoint", "", err)
	}
	return opened("checkpoint", "writable, in "+checkpointDir(cfg), store.Close())
}

func checkAccount(ctx context.Context, a config.Account, budgets map[string]*budget.Budget, findings chan<- finding) {
	source, err := openSource(a, budgets, slog.New(slog.DiscardHandler))
	if err != nil {
		findings <- finding{Subject: a.Name, Detail: err.Error()}
		return
	}
	now, err := clock(ctx, source)
	if err != nil {
		findings <- finding{Subject: a.Name, Detail: err.Error()}
		return
	}
	for _, s := range source.Streams() {
		f := finding{Subject: a.Name + "/" + s.Name, OK: true}
		if f.Detail, err = checkStream(ctx, source, s, now.Add(-a.Common.Lag)); err != nil {
			f.OK, f.Detail = false, err.Error()
		}
		findings <- f
	}
}

// clock asks for the provider's time: the first call that can fail.
func clock(ctx context.Context, source sources.Source) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	return source.Now(ctx)
}

// checkStream reads the newest rows of a stream, up to a time.
func checkStream(ctx context.Context, source sources.Source, s sources.Stream, to time.Time) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	to = to.Truncate(s.Tick)
	rows, faulty := 0, 0
	for chunk, err := range source.Scan(ctx, s, sources.Span{From: to.Add(-checkSpan), To: to}) {
		if err != nil {
			return "", err
		}
		rows += len(chunk.Records)
		for _, r := range chunk.Records {
			if r.Fault != nil {
				faulty++
			}
		}
	}
	detail := fmt.Sprintf("%d row(s) in the latest minute", rows)
	if faulty > 0 {
		detail += fmt.Sprintf(", %d of them unreadable", faulty)
	}
	return detail, nil
}
