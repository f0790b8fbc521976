package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	checkpointfile "connector/checkpoint/file"
	"connector/internal/config"
	"connector/internal/filelock"
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
limit, and one more tells whether SUBMAIL's other call (_API) is answered: a minute later, with
the default limit. Of each account the check says what the limit can carry a day, and by how
much this machine's clock is off. What keeps the sink from promising more is logged, with what
to do. On a terminal it says what it waits for. Exits with 0 when all is well, with 2 when the
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

// finding is what one check found.
type finding struct {
	Subject string `json:"subject"` // sink/<name>, checkpoint, <account>, <account>/<stream>, or <account> <variable>=<value> for another call
	Result  result `json:"result"`
	Detail  string `json:"detail"` // what works, or what is wrong and what to do
}

// result is a finding in short.
type result string

// The results. Only failed ones count as faults.
const (
	works       result = "ok"
	failed      result = "failed"
	notAnswered result = "not answered" // a call that nothing depends on
	notTried    result = "not tried"
)

func (v *view) finding(f finding) error {
	var mark string
	switch f.Result {
	case works:
		mark = v.paint(green, "ok  ")
	case failed:
		mark = v.paint(red, "FAIL")
	case notAnswered, notTried:
		mark = "-   "
	}
	detail := strings.ReplaceAll(f.Detail, "\n", "\n"+strings.Repeat(" ", 36))
	_, err := fmt.Fprintf(v.w, "%s  %-28s  %s\n", mark, f.Subject, detail)
	return err
}

// check shows findings as they come, those of one account in order.
func check(ctx context.Context, cfg *config.Config, env environment, show func(finding) error) error {
	findings := make(chan finding)
	var group sync.WaitGroup
	env.log = slog.New(slog.NewTextHandler(env.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	group.Go(func() { checkSink(ctx, cfg, env, findings) })
	for _, a := range openAccounts(cfg, env) {
		group.Go(func() { checkAccount(ctx, a, findings) })
	}
	go func() { group.Wait(); close(findings) }()
	faults := 0
	var broken error
	for f := range findings {
		if f.Result == failed {
			faults++
		}
		broken = errors.Join(broken, show(f))
	}
	if faults > 0 {
		return errors.Join(fmt.Errorf("%d check(s) failed", faults), broken)
	}
	return broken
}

// opened makes the finding about what this process would hold alone.
func opened(subject, detail string, err error) finding {
	switch {
	case err == nil:
		return finding{subject, works, detail}
	case errors.Is(err, filelock.ErrHeld):
		return finding{subject, notTried, "in use by a running connector, not tried"}
	default:
		return finding{subject, failed, err.Error()}
	}
}

// checkSink opens the sink, and looks at its checkpoint while it is open. What keeps
// the sink from promising more is logged.
func checkSink(ctx context.Context, cfg *config.Config, env environment, findings chan<- finding) {
	subject := "sink/" + cfg.Connector.Sink
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	sink, err := openSink(ctx, cfg, environment{stdout: io.Discard}, sinkOptions(cfg, env.log))
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

// checkCheckpoint takes nothing over. Where there is none yet, and it will lie
// in the data folder, that is made.
func checkCheckpoint(ctx context.Context, cfg *config.Config) finding {
	state, err := viewState(ctx, cfg, environment{})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
		if sinkKinds[cfg.Connector.Sink].beside {
			err = checkpointfile.Prepare(checkpointDir(cfg))
		}
		return opened("checkpoint", "none yet; run begins one, unless the sink holds events", err)
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
