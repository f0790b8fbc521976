package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"connector/internal/budget"
	"connector/internal/config"
	"connector/internal/fault"
	"connector/sources"
	"connector/sources/httpx"
)

// openAccount is an account to check.
type openAccount struct {
	config.Account
	source sources.Source
	err    error        // why there is no source
	other  *openAccount // the same, with another call that reads the same log; nil: there is none
	choose string       // of other: the setting that chooses it
	budget *budget.Budget
	demand *demand // of its credential
	notes  notes
}

// openAccounts opens the sources, which sends nothing yet.
func openAccounts(cfg *config.Config, env environment) []openAccount {
	budgets, demands := newBudgets(cfg.Accounts), map[string]*demand{}
	var list []openAccount
	for _, a := range cfg.Accounts {
		credential := a.Config.Budget().Credential
		if demands[credential] == nil {
			demands[credential] = new(demand)
		}
		open := openAccount{Account: a, budget: budgets[credential], demand: demands[credential], notes: newNotes(env.stderr)}
		if open.source, open.err = openSource(a, budgets, env); open.err == nil {
			open.demand.add(a, open.source.Streams())
			open.other = openOther(open, budgets, env)
		}
		list = append(list, open)
	}
	return list
}

// openOther opens the account with the other call, if there is one.
func openOther(a openAccount, budgets map[string]*budget.Budget, env environment) *openAccount {
	other := sourceKinds[a.Kind].other
	if other == nil {
		return nil
	}
	section, setting, ok := other(a.Config)
	if !ok {
		return nil
	}
	a.Config, a.choose = section, strings.ToUpper(a.Name)+"_"+setting
	a.source, a.err = openSource(a.Account, budgets, env)
	return &a
}

// capacity says what the account's budget can carry.
func (a *openAccount) capacity() string {
	return a.demand.capacity(a.budget.Every(), a.Config.Budget().Rows)
}

// call makes one call of the provider. It may take checkTimeout, after every
// stream of the credential had its turn.
func (a *openAccount) call(ctx context.Context, subject string, do func(context.Context) error) error {
	most := checkTimeout + time.Duration(a.demand.streams)*a.budget.Every()
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	defer a.notes.start(ctx, subject, a.budget)()
	err := do(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %v: %w", most, err)
	}
	return err
}

// checkAccount tries the configured call, and the other one where that may tell more.
func checkAccount(ctx context.Context, a openAccount, findings chan<- finding) {
	if a.err != nil {
		findings <- finding{a.Name, failed, a.err.Error()}
		return
	}
	err := checkCall(ctx, a, findings)
	if a.other != nil && (err == nil || errors.Is(err, sources.ErrNoCall) || httpx.Misdirected(err)) {
		findings <- checkOther(ctx, *a.other, err == nil)
	}
}

// checkCall asks for the provider's time, then reads every stream until one
// fails for a reason that the others share. It returns the last failure.
func checkCall(ctx context.Context, a openAccount, findings chan<- finding) error {
	now, err := a.now(ctx)
	if err != nil {
		findings <- finding{a.Name, failed, err.Error()}
		return err
	}
	findings <- finding{a.Name, works, "answers; " + ownClock(time.Since(now)) + a.capacity()}
	return checkStreams(ctx, a, now.Add(-a.Common.Lag), findings)
}

// now asks for the provider's time.
func (a *openAccount) now(ctx context.Context) (now time.Time, err error) {
	err = a.call(ctx, a.Name, func(ctx context.Context) (err error) {
		now, err = a.source.Now(ctx)
		return err
	})
	return now, err
}

// checkStreams is checkCall for all streams, up to a time.
func checkStreams(ctx context.Context, a openAccount, to time.Time, findings chan<- finding) (last error) {
	streams := a.source.Streams()
	for i, s := range streams {
		detail, err := checkStream(ctx, a, s, to, checkSpan)
		f := finding{a.Name + "/" + s.Name, works, detail}
		if err != nil {
			f.Result, f.Detail, last = failed, err.Error(), err
		}
		left := len(streams) - i - 1
		if shared(err) && left > 0 {
			f.Detail += fmt.Sprintf(" (%d other stream(s) of %s not tried)", left, a.Name)
		}
		if findings <- f; shared(err) {
			break
		}
	}
	return last
}

// checkOther asks by the other call for one moment, and says whether it could
// take the place of the one that is configured and is answered, or is not. As nothing
// depends on it, it never fails.
func checkOther(ctx context.Context, a openAccount, answered bool) finding {
	f := finding{Subject: a.Name + " " + a.choose, Result: works}
	if a.err != nil {
		f.Result, f.Detail = notTried, a.err.Error()
		return f
	}
	now, err := a.now(ctx)
	if err == nil {
		_, err = checkStream(ctx, a, a.source.Streams()[0], now.Add(-a.Common.Lag), 0)
	}
	switch {
	case err != nil && answered:
		f.Result, f.Detail = notAnswered, "is not answered: "+err.Error()
	case err != nil:
		f.Result, f.Detail = notAnswered, "is not answered either"
	case answered:
		f.Detail = "would be answered, too"
	default:
		f.Detail = "is answered: set it"
	}
	f.Detail += " (this took one more request)"
	return f
}

// shared reports whether the other streams of an account fail like the one
// that failed with err, which may be nil.
func shared(err error) bool {
	_, throttled := fault.RetryAfter(err)
	return throttled || fault.IsFatal(err) || httpx.Misdirected(err) || errors.Is(err, context.DeadlineExceeded)
}

// clockTolerance is by how much this machine's clock may differ from a
// provider's before that is worth a word.
const clockTolerance = time.Minute

// ownClock says that this machine's clock is ahead of the provider's by a time,
// or behind it; nothing when that is little.
func ownClock(ahead time.Duration) string {
	where := "ahead of"
	if ahead < 0 {
		where = "behind"
	}
	if ahead.Abs() <= clockTolerance {
		return ""
	}
	return fmt.Sprintf("this machine's clock is %v %s the provider's: rows are read by the provider's, logs and observedAt show this one, set it if it is wrong; ", ahead.Abs().Round(time.Minute), where)
}

// checkStream reads the rows of a stream of a time before to.
func checkStream(ctx context.Context, a openAccount, s sources.Stream, to time.Time, before time.Duration) (detail string, err error) {
	to = to.Truncate(s.Tick)
	faulty := map[string]bool{} // by id of the row: an answer may hold it several times
	err = a.call(ctx, a.Name+"/"+s.Name, func(ctx context.Context) error {
		for chunk, err := range a.source.Scan(ctx, s, sources.Span{From: to.Add(-before), To: to}) {
			if err != nil {
				return err
			}
			for _, r := range chunk.Records {
				faulty[r.ID] = r.Fault != nil
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return rowsFound(faulty), nil
}

// rowsFound says what a stream showed.
func rowsFound(faulty map[string]bool) string {
	bad := 0
	for _, is := range faulty {
		if is {
			bad++
		}
	}
	switch {
	case len(faulty) == 0:
		return "no rows in the latest minute: there were none, or this is not the log you mean (message type, filter, account); the answers look alike"
	case bad > 0:
		return fmt.Sprintf("%d row(s) in the latest minute, %d of them unreadable: they become dead letters", len(faulty), bad)
	default:
		return fmt.Sprintf("%d row(s) in the latest minute", len(faulty))
	}
}
