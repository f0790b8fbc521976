package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"connector/internal/apisim"
	"connector/internal/config"
	"connector/pipeline"
	"connector/sinks"
	"connector/sources/httpx"
)

// The accounts of a process: some whose provider is in order, some whose is not.
var (
	healthy = []string{"hq=ekuaibao", "shop=ekuaibao", "otp=submail", "bulk=submail"}
	broken  = []string{
		"key1=ekuaibao", "busy1=ekuaibao", "down1=ekuaibao", "noise1=ekuaibao", "slow1=ekuaibao",
		"key2=submail", "busy2=submail", "down2=submail", "noise2=submail", "slow2=submail",
	}
)

// neighbours are simulated providers, one for each account.
type neighbours struct {
	vars  []string
	hosts map[string]*apisim.PipeListener // by account
	log   buffer
	reg   *prometheus.Registry

	mu    sync.Mutex
	asked map[string][]time.Time // when each account's provider was asked for rows
}

// house serves accounts, whose events go to dir. To be called in a bubble; each account has its own
// history, the same in each bubble.
func house(t *testing.T, dir string, accounts []string) *neighbours {
	t.Helper()
	n := &neighbours{hosts: map[string]*apisim.PipeListener{}, reg: prometheus.NewRegistry(), asked: map[string][]time.Time{}}
	n.vars = []string{
		"CONNECTOR_SOURCES=" + strings.Join(accounts, ","), "CONNECTOR_START=1h", "CONNECTOR_SINK=file",
		"CONNECTOR_DATA_DIR=" + dir, "FILE_PATH=" + filepath.Join(dir, "events.ndjson"),
	}
	for i, a := range append(slices.Clone(healthy), broken...) {
		if !slices.Contains(accounts, a) {
			continue
		}
		name, kind, _ := strings.Cut(a, "=")
		n.hosts[name] = apisim.NewPipeListener()
		p := apisim.Population{Seed: uint64(i), Start: time.Now().Add(-time.Hour), Every: 7 * time.Second, Change: 0.5, MaxChange: 10 * time.Minute, Late: 0.1, MaxLate: time.Minute}
		n.vars = append(n.vars, n.move(t, name, kind, p)...)
	}
	return n
}

// move opens the provider of an account and returns the account's variables.
func (n *neighbours) move(t *testing.T, name, kind string, p apisim.Population) []string {
	t.Helper()
	key, upper := "canary-"+name, strings.ToUpper(name)
	given := key
	if strings.HasPrefix(name, "key") {
		given = "canary-wrong"
	}
	var faults *apisim.Faults
	var served io.Closer
	var vars []string
	if kind == "ekuaibao" {
		sim := apisim.NewEkuaibao(apisim.EkuaibaoConfig{Population: p, AppKey: key, AppSecurity: key, CorporationID: "corp-" + name})
		faults, served = &sim.Faults, sim
		sim.Serve(n.hosts[name])
		vars = []string{"_APP_KEY=" + given, "_APP_SECURITY=" + given, "_MESSAGE_TYPES=flow"}
	} else {
		sim := apisim.NewSubmail(apisim.SubmailConfig{Population: p, AppID: "app-" + name, AppKey: key})
		faults, served = &sim.Faults, sim
		sim.Serve(n.hosts[name])
		vars = []string{"_APP_ID=app-" + name, "_APP_KEY=" + given}
	}
	t.Cleanup(func() { _ = served.Close() })
	faults.Hook(n.trouble(name))
	if strings.HasPrefix(name, "down") {
		_ = n.hosts[name].Close()
	}
	for i := range vars {
		vars[i] = upper + vars[i]
	}
	return append(vars, upper+"_BASE_URL=http://"+name)
}

// trouble returns what goes wrong with the provider of an account, and notes when
// it is asked for rows.
func (n *neighbours) trouble(account string) func(*http.Request) apisim.Fault {
	return func(r *http.Request) apisim.Fault {
		if r.URL.Path == apisim.EkuaibaoLogPath || strings.HasPrefix(r.URL.Path, apisim.SubmailLogPath) {
			n.mu.Lock()
			n.asked[account] = append(n.asked[account], time.Now())
			n.mu.Unlock()
		}
		switch strings.TrimRight(account, "12") {
		case "busy":
			return apisim.Fault{Kind: apisim.HTTPStatus, Status: http.StatusTooManyRequests, RetryAfter: "120"}
		case "noise":
			return apisim.Fault{Kind: apisim.HTTPStatus, Status: http.StatusOK, Body: "\x1f\x8b{[<" + strings.Repeat("noise", 1<<15)}
		case "slow":
			return apisim.Fault{Kind: apisim.Slow, Delay: 2 * time.Second, After: 1 << 20}
		}
		return apisim.Fault{}
	}
}

// run is the verb, in a bubble and for a time; look is called a second before its end.
func (n *neighbours) run(t *testing.T, d time.Duration, look func(*endpoints)) error {
	t.Helper()
	cfg, err := config.Load(n.vars, configCatalog())
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(&n.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	opts, err := pipelineOptions(cfg, environment{log: log, connections: new(connections)})
	if err != nil {
		t.Fatal(err)
	}
	budgets := newBudgets(cfg.Accounts)
	for i, a := range cfg.Accounts { // as openSource does, in memory
		tr := httpx.NewTransport(n.hosts[a.Name].DialContext)
		defer tr.CloseIdleConnections()
		b := budgets[a.Config.Budget().Credential]
		opts.Accounts[i].Budget = b
		opts.Accounts[i].Source, err = sourceKinds[a.Kind].open(a.Name, a.Config, httpx.Options{Transport: tr, Logger: log.With("account", a.Name), Budget: b})
		if err != nil {
			t.Fatal(err)
		}
	}
	sink, err := openSink(t.Context(), cfg, environment{}, sinkOptions(cfg, log))
	if err != nil {
		t.Fatal(err)
	}
	opts.Sink, opts.Metrics = sink, pipeline.NewMetrics(n.reg)
	p := pipeline.New(opts)
	e := &endpoints{}
	e.show(p, sink.Guarantee())
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	select {
	case err = <-ended:
	case <-time.After(d - time.Second):
		look(e)
		err = <-ended
	}
	return errors.Join(err, sink.Close())
}

// arrived returns when each event was read, by account and event id.
func (n *neighbours) arrived(t *testing.T) map[string]map[string]time.Time {
	t.Helper()
	code, stdout, stderr := command(context.Background(), n.vars, "tail", "--from-start", "--follow=false", "--output=json")
	if code != exitOK {
		t.Fatalf("tail: got code %d; stderr:\n%s", code, stderr)
	}
	at, known := map[string]map[string]time.Time{}, map[string]bool{}
	for line := range strings.Lines(stdout) {
		var m told
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(m.Data, &m.event); err != nil {
			t.Fatal(err)
		}
		account := m.event.Source.Account
		if known[m.ID] {
			t.Errorf("account %s: event %s was published twice", account, m.ID)
		}
		known[m.ID] = true
		if at[account] == nil {
			at[account] = map[string]time.Time{}
		}
		at[account][m.ID] = m.event.ObservedAt
	}
	return at
}

// logged returns the log lines of an account, sorted, without its random waits.
func (n *neighbours) logged(account string) string {
	var lines []string
	for line := range strings.Lines(n.log.String()) {
		if strings.Contains(line, "account="+account+" ") {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// measured returns the metrics of an account.
func (n *neighbours) measured(t *testing.T, account string) string {
	t.Helper()
	families, err := n.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&all, f); err != nil {
			t.Fatal(err)
		}
	}
	var lines []string
	for line := range strings.Lines(all.String()) {
		if strings.Contains(line, fmt.Sprintf("account=%q", account)) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// TestAccountsAreIsolated runs four accounts alone, then beside ten whose
// providers refuse the key, throttle, are down, answer noise or very slowly: the four
// must read, say and count the same, at the same moments.
func TestAccountsAreIsolated(t *testing.T) {
	t.Parallel()
	const long = 15*time.Minute + 7*time.Second // no poll is due just then
	dirs := []string{t.TempDir(), t.TempDir()}
	var alone, beside *neighbours
	synctest.Test(t, func(t *testing.T) {
		alone = house(t, dirs[0], healthy)
		if err := alone.run(t, long, func(*endpoints) {}); err != nil {
			t.Error(err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		beside = house(t, dirs[1], append(slices.Clone(broken), healthy...))
		if err := beside.run(t, long, func(e *endpoints) { wantStates(t, e) }); err != nil {
			t.Error(err)
		}
	})
	allWas, allIs := alone.arrived(t), beside.arrived(t)
	for _, a := range healthy {
		name, _, _ := strings.Cut(a, "=")
		was, is := allWas[name], allIs[name]
		if !maps.Equal(was, is) || len(was) < 300 {
			t.Errorf("account %s: %d events alone, %d beside others, at other moments: %v", name, len(was), len(is), delays(was, is))
		}
		if was, is := alone.measured(t, name), beside.measured(t, name); was != is || was == "" {
			t.Errorf("metrics of account %s: got\n%s\nwant those alone\n%s", name, is, was)
		}
		if was, is := alone.logged(name), beside.logged(name); was != is || was == "" {
			t.Errorf("log of account %s: got %d bytes, want the %d alone", name, len(is), len(was))
		}
	}
}

// delays says by how much events came later.
func delays(was, is map[string]time.Time) []time.Duration {
	var list []time.Duration
	for id, at := range was {
		if other, ok := is[id]; ok && !other.Equal(at) {
			list = append(list, other.Sub(at))
		}
	}
	slices.Sort(list)
	return list
}

// wantStates compares /readyz with what is known of each account.
func wantStates(t *testing.T, e *endpoints) {
	code, state := readyz(t, e)
	if code != http.StatusOK || !state.Ready {
		t.Errorf("readyz: got %d, ready %v, want 200 while some accounts work", code, state.Ready)
	}
	kinds := map[string]string{"key": "_KEY", "busy": "HTTP 429", "down": "check ", "noise": "reading", "slow": ""}
	for _, s := range state.Streams {
		want, isBroken := kinds[strings.TrimRight(s.Source.Account, "12")]
		if (s.Error != "") != (isBroken && want != "") || !strings.Contains(s.Error, want) || s.Stopped != strings.HasPrefix(s.Source.Account, "key") {
			t.Errorf("stream %s of %s: got stopped %v, error %q, want %q", s.Source.Stream, s.Source.Account, s.Stopped, s.Error, want)
		}
	}
}

type readiness struct {
	Ready     bool
	Guarantee sinks.Guarantee
	Streams   []pipeline.StreamStatus
}

func readyz(t *testing.T, e *endpoints) (code int, state readiness) {
	t.Helper()
	w := httptest.NewRecorder()
	e.readyz(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	if err := json.Unmarshal(w.Body.Bytes(), &state); err != nil {
		t.Errorf("readyz: %v: %s", err, w.Body)
	}
	return w.Code, state
}

// TestNotReadyWhenNoAccountWorks has providers none of which answers.
func TestNotReadyWhenNoAccountWorks(t *testing.T) {
	t.Parallel()
	for _, a := range broken[:4] {
		t.Run(a, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := house(t, t.TempDir(), []string{a, "key2=submail"})
				code := 0
				var state readiness
				err := n.run(t, 5*time.Minute, func(e *endpoints) { code, state = readyz(t, e) })
				if stops := strings.HasPrefix(a, "key"); (err != nil) != stops {
					t.Errorf("got %v, want an error only when every stream stopped", err)
				}
				if ended := err != nil; !ended && (code != http.StatusServiceUnavailable || state.Ready) {
					t.Errorf("readyz: got %d, ready %v, want 503: %+v", code, state.Ready, state.Streams)
				}
			})
		})
	}
}

// TestAccountsOfOneCredentialShareItsBudget has two accounts with one appid, and one
// with another.
func TestAccountsOfOneCredentialShareItsBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		n := house(t, t.TempDir(), []string{"otp=submail", "bulk=submail"})
		n.vars = with(n.vars, "CONNECTOR_SOURCES=otp=submail,twin=submail,bulk=submail", "TWIN_BASE_URL=http://otp", "TWIN_APP_ID=app-otp", "TWIN_APP_KEY=canary-otp")
		n.hosts["twin"] = n.hosts["otp"]
		if err := n.run(t, 30*time.Minute, func(*endpoints) {}); err != nil {
			t.Error(err)
		}
		for host, least := range map[string]int{"otp": 28, "bulk": 14} {
			asked := n.asked[host]
			for i := 1; i < len(asked); i++ {
				if apart := asked[i].Sub(asked[i-1]); apart < time.Minute {
					t.Errorf("%s: requests at %v and %v", host, asked[i-1].Sub(began), asked[i].Sub(began))
				}
			}
			if len(asked) < least {
				t.Errorf("%s: got %d requests, want %d at least", host, len(asked), least)
			}
		}
		all := n.arrived(t)
		for _, account := range []string{"otp", "twin", "bulk"} {
			if got := len(all[account]); got < 200 {
				t.Errorf("account %s: got %d events", account, got)
			}
		}
	})
}
