package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"connector/internal/config"
	"connector/internal/filelock"
	"connector/sources"
)

// checkTimeout bounds one call of a provider or the sink, without the time a
// provider's request waits for its turn.
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
limit; of each account the check says what that limit can carry a day. What keeps the sink from
promising more is logged, with what to do. Exits with 0 when all is well, with 2 when the
configuration has faults, else with 1.`,
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
			return check(c.Context(), cfg, env, show)
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
func check(ctx context.Context, cfg *config.Config, env environment, show func(finding) error) error {
	findings := make(chan finding)
	var group sync.WaitGroup
	group.Go(func() { checkSink(ctx, cfg, env, findings) })
	for _, a := range openAccounts(cfg, env) {
		group.Go(func() { checkAccount(ctx, a, findings) })
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

// checkSink opens the sink, and looks at its checkpoint while it is open. What keeps
// the sink from promising more is logged.
func checkSink(ctx context.Context, cfg *config.Config, env environment, findings chan<- finding) {
	subject := "sink/" + cfg.Connector.Sink
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	log := slog.New(slog.NewTextHandler(env.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	sink, err := openSink(ctx, cfg, environment{stdout: io.Discard}, sinkOptions(cfg, log))
	if err != nil {
		findings <- opened(subject, "", err)
		if errors.Is(err, filelock.ErrHeld) {
			findings <- checkCheckpoint(ctx, cfg)
		}
		return
	}
	state := checkCheckpoint(ctx, cfg)
	findings <- opened(subject, "opened; "+string(sink.Guarantee()), sink.Close())
	findings <- state
}

// checkCheckpoint takes nothing over.
func checkCheckpoint(ctx context.Context, cfg *config.Config) finding {
	state, err := viewState(ctx, cfg, environment{})
	if errors.Is(err, fs.ErrNotExist) {
		return finding{Subject: "checkpoint", OK: true, Detail: "none yet; run begins one, unless the sink holds events"}
	}
	if err != nil {
		return opened("checkpoint", "", err)
	}
	fence, err := readFence(ctx, state)
	detail := "readable"
	if fence.Term > 0 {
		detail += "; owner " + fence.String()
	}
	return opened("checkpoint", detail, errors.Join(err, state.Close()))
}

// openAccount is an account to check.
type openAccount struct {
	config.Account
	source sources.Source
	err    error // why there is no source
	every  time.Duration
	demand *demand // of its credential
}

// openAccounts opens the sources, which sends nothing yet.
func openAccounts(cfg *config.Config, env environment) []openAccount {
	env.log = slog.New(slog.DiscardHandler)
	budgets, demands := newBudgets(cfg.Accounts), map[string]*demand{}
	var list []openAccount
	for _, a := range cfg.Accounts {
		credential := a.Config.Budget().Credential
		if demands[credential] == nil {
			demands[credential] = new(demand)
		}
		open := openAccount{Account: a, every: budgets[credential].Every(), demand: demands[credential]}
		if open.source, open.err = openSource(a, budgets, env); open.err == nil {
			open.demand.add(a, open.source.Streams())
		}
		list = append(list, open)
	}
	return list
}

// capacity says what the account's budget can carry.
func (a *openAccount) capacity() string { return a.demand.capacity(a.every, a.Config.Budget().Rows) }

// timeout returns the longest time of one call, when every stream of the
// credential has its turn before.
func (a *openAccount) timeout() time.Duration {
	return checkTimeout + time.Duration(a.demand.streams)*a.every
}

func checkAccount(ctx context.Context, a openAccount, findings chan<- finding) {
	if a.err != nil {
		findings <- finding{Subject: a.Name, Detail: a.err.Error()}
		return
	}
	now, err := clock(ctx, a)
	if err != nil {
		findings <- finding{Subject: a.Name, Detail: err.Error()}
		return
	}
	findings <- finding{Subject: a.Name, OK: true, Detail: a.capacity()}
	for _, s := range a.source.Streams() {
		f := finding{Subject: a.Name + "/" + s.Name, OK: true}
		if f.Detail, err = checkStream(ctx, a, s, now.Add(-a.Common.Lag)); err != nil {
			f.OK, f.Detail = false, err.Error()
		}
		findings <- f
	}
}

// clock asks for the provider's time: the first call that can fail.
func clock(ctx context.Context, a openAccount) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout())
	defer cancel()
	return a.source.Now(ctx)
}

// checkStream reads the newest rows of a stream, up to a time.
func checkStream(ctx context.Context, a openAccount, s sources.Stream, to time.Time) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout())
	defer cancel()
	to = to.Truncate(s.Tick)
	rows, faulty := 0, 0
	for chunk, err := range a.source.Scan(ctx, s, sources.Span{From: to.Add(-checkSpan), To: to}) {
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
