package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connector/internal/apisim"
	"connector/internal/budget"
	"connector/internal/wait"
)

var update = flag.Bool("update", false, "rewrite the outputs in docs/troubleshooting.md")

const troubleshooting = "docs/troubleshooting.md"

// checkSims serves both APIs with ten rows a minute, by a clock that is off, and
// returns variables that lead to them.
func checkSims(t *testing.T, off time.Duration) (e *apisim.Ekuaibao, s *apisim.Submail, hq, otp []string) {
	t.Helper()
	clock := func() time.Time { return time.Now().Add(off) }
	p := apisim.Population{Seed: 7, Start: clock().Add(-10 * time.Minute), Every: 6 * time.Second, Limit: 200}
	e = apisim.NewEkuaibao(apisim.EkuaibaoConfig{Population: p, Clock: clock})
	s = apisim.NewSubmail(apisim.SubmailConfig{Population: p, Clock: clock})
	t.Cleanup(func() { _, _ = e.Close(), s.Close() })
	hq = []string{
		"CONNECTOR_SOURCES=hq=ekuaibao", "HQ_BASE_URL=" + e.Serve(listener(t)),
		"HQ_APP_KEY=" + apisim.DefaultEkuaibaoKey, "HQ_APP_SECURITY=" + apisim.DefaultEkuaibaoSecurity, "HQ_MESSAGE_TYPES=flow,message",
	}
	otp = []string{
		"CONNECTOR_SOURCES=otp=submail", "OTP_BASE_URL=" + s.Serve(listener(t)),
		"OTP_APP_ID=" + apisim.DefaultSubmailID, "OTP_APP_KEY=" + apisim.DefaultSubmailKey, "OTP_MIN_INTERVAL=1s",
	}
	return e, s, hq, otp
}

// answering serves an API whose queries of the log go wrong, and returns variables
// that lead to it.
func answering(t *testing.T, f apisim.Fault) (hq, otp []string) {
	t.Helper()
	e, s, hq, otp := checkSims(t, 0)
	logs := func(r *http.Request) apisim.Fault {
		if strings.HasPrefix(r.URL.Path, apisim.SubmailLogPath) || r.URL.Path == apisim.EkuaibaoLogPath || f.Kind == apisim.HTMLPage {
			return f
		}
		return apisim.Fault{}
	}
	e.Faults.Hook(logs)
	s.Faults.Hook(logs)
	return hq, otp
}

func refusing(t *testing.T, code, msg string) []string {
	t.Helper()
	_, otp := answering(t, apisim.Fault{Kind: apisim.APIError, Code: code, Body: msg})
	return otp
}

// wrongDates serves SUBMAIL behind a server whose Date is an hour ahead.
func wrongDates(t *testing.T, stamps bool) []string {
	t.Helper()
	_, s, _, otp := checkSims(t, 0)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		date := http.TimeFormat
		if !stamps && strings.HasPrefix(r.URL.Path, apisim.SubmailTimestampPath) {
			w.Header().Set("Date", time.Now().Add(time.Hour).UTC().Format(date))
			http.NotFound(w, r)
			return
		}
		inner := httptest.NewRecorder()
		s.ServeHTTP(inner, r)
		for name, values := range inner.Header() {
			w.Header()[name] = values
		}
		w.Header().Set("Date", time.Now().Add(time.Hour).UTC().Format(date))
		w.WriteHeader(inner.Code)
		_, _ = w.Write(inner.Body.Bytes())
	}))
	t.Cleanup(srv.Close)
	return with(otp, "OTP_BASE_URL="+srv.URL)
}

// checkCase is a situation of accounts that docs/troubleshooting.md shows.
type checkCase struct {
	name string
	vars func(t *testing.T) []string
	code int
	json bool
}

func checkCases() []checkCase {
	good := func(t *testing.T) (hq, otp []string) { _, _, hq, otp = checkSims(t, 0); return hq, otp }
	hq := func(more ...string) func(*testing.T) []string {
		return func(t *testing.T) []string { hq, _ := good(t); return with(hq, more...) }
	}
	otp := func(more ...string) func(*testing.T) []string {
		return func(t *testing.T) []string { _, otp := good(t); return with(otp, more...) }
	}
	unused := func(t *testing.T) string {
		l := listener(t)
		defer l.Close()
		return "http://" + l.Addr().String()
	}
	return []checkCase{
		{"good", func(t *testing.T) []string {
			hq, otp := good(t)
			return with(append(hq, otp...), "CONNECTOR_SOURCES=hq=ekuaibao,otp=submail")
		}, exitOK, false},
		{"key ekuaibao", hq("HQ_APP_SECURITY=canary-wrong"), exitFailed, false},
		{"token ekuaibao", hq("HQ_APP_KEY=", "HQ_APP_SECURITY=", "HQ_ACCESS_TOKEN=canary-wrong"), exitFailed, false},
		{"key submail", otp("OTP_APP_KEY=canary-wrong"), exitFailed, false},
		{"key submail normal", otp("OTP_APP_KEY=canary-wrong", "OTP_SIGN_TYPE=normal"), exitFailed, false},
		{"appid submail", otp("OTP_APP_ID=20000"), exitFailed, false},
		{"whitelist submail", func(t *testing.T) []string { return refusing(t, "113", "Request IP is not in the whitelist") }, exitFailed, false},
		{"whitelist submail as JSON", func(t *testing.T) []string { return refusing(t, "113", "Request IP is not in the whitelist") }, exitFailed, true},
		{"expired submail", func(t *testing.T) []string { return refusing(t, "105", "Account has expired") }, exitFailed, false},
		{"unreachable ekuaibao", func(t *testing.T) []string { return hq("HQ_BASE_URL=" + unused(t))(t) }, exitFailed, false},
		{"unreachable submail", func(t *testing.T) []string {
			return otp("OTP_BASE_URL="+unused(t), "OTP_BACKUP_URL="+unused(t)+"/backup")(t)
		}, exitFailed, false},
		{"scheme ekuaibao", func(t *testing.T) []string {
			vars, _ := good(t)
			return with(vars, "HQ_BASE_URL="+strings.Replace(value(vars, "HQ_BASE_URL"), "http:", "https:", 1))
		}, exitFailed, false},
		{"web page ekuaibao", func(t *testing.T) []string { hq, _ := answering(t, apisim.Fault{Kind: apisim.HTMLPage}); return hq }, exitFailed, false},
		{"web page submail", func(t *testing.T) []string { _, otp := answering(t, apisim.Fault{Kind: apisim.HTMLPage}); return otp }, exitFailed, false},
		{"path ekuaibao", func(t *testing.T) []string {
			hq, _ := good(t)
			return with(hq, "HQ_BASE_URL="+value(hq, "HQ_BASE_URL")+"/api")
		}, exitFailed, false},
		{"path submail", func(t *testing.T) []string {
			_, otp := good(t)
			return with(otp, "OTP_BASE_URL="+value(otp, "OTP_BASE_URL")+"/v4")
		}, exitFailed, false},
		{"call submail", func(t *testing.T) []string {
			_, sim, _, otp := checkSims(t, 0)
			sim.Switches.Set(func(s *apisim.SubmailSwitches) { s.UnknownMethod = "/log/message" })
			return otp
		}, exitFailed, false},
		{"other call submail as JSON", func(t *testing.T) []string {
			_, sim, _, otp := checkSims(t, 0)
			sim.Switches.Set(func(s *apisim.SubmailSwitches) { s.UnknownMethod = apisim.SubmailSMSLogPath })
			return otp
		}, exitOK, true},
		{"other api ekuaibao", func(t *testing.T) []string {
			hq, otp := good(t)
			return with(hq, "HQ_BASE_URL="+value(otp, "OTP_BASE_URL"))
		}, exitFailed, false},
		{"other api submail", func(t *testing.T) []string {
			hq, otp := good(t)
			return with(otp, "OTP_BASE_URL="+value(hq, "HQ_BASE_URL"))
		}, exitFailed, false},
		{"throttled ekuaibao", func(t *testing.T) []string {
			hq, _ := answering(t, apisim.Fault{Kind: apisim.HTTPStatus, Status: 429, RetryAfter: "30", Body: "Too Many Requests"})
			return hq
		}, exitFailed, false},
		{"down ekuaibao", func(t *testing.T) []string {
			hq, _ := answering(t, apisim.Fault{Kind: apisim.HTTPStatus, Status: 503, Body: "maintenance"})
			return hq
		}, exitFailed, false},
		{"clock ahead", func(t *testing.T) []string { _, _, hq, _ := checkSims(t, -time.Hour); return hq }, exitOK, false},
		{"clock behind", func(t *testing.T) []string { _, _, _, otp := checkSims(t, time.Hour); return otp }, exitOK, false},
		{"date submail", func(t *testing.T) []string { return wrongDates(t, true) }, exitOK, false},
		{"stamp submail", func(t *testing.T) []string { return wrongDates(t, false) }, exitFailed, false},
		{"type", hq("HQ_MESSAGE_TYPES=flow,approval"), exitUsage, false},
		{"no rows ekuaibao", func(t *testing.T) []string {
			e := apisim.NewEkuaibao(apisim.EkuaibaoConfig{})
			t.Cleanup(func() { _ = e.Close() })
			return hq("HQ_BASE_URL="+e.Serve(listener(t)), "HQ_MESSAGE_TYPES=repayment")(t)
		}, exitOK, false},
		{"no rows submail", otp("OTP_PROJECT=K7cqC2"), exitOK, false},
	}
}

// TestTroubleshooting shows each situation to the check, as text and as JSON, and
// compares with what docs/troubleshooting.md shows.
func TestTroubleshooting(t *testing.T) {
	t.Parallel()
	doc := read(t, troubleshooting)
	shown := shownCases(doc)
	var mu sync.Mutex
	got := map[string]string{}
	t.Run("cases", func(t *testing.T) {
		for _, c := range checkCases() {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				text := transcript(t, c)
				if want := shown[c.name]; text != want && !*update {
					t.Errorf("%s shows something else: run TestTroubleshooting with -update, and read the page again; got\n%s\nwant\n%s", troubleshooting, text, want)
				}
				mu.Lock()
				defer mu.Unlock()
				got[c.name] = text
			})
		}
	})
	for name := range shown {
		if got[name] == "" {
			t.Errorf("%s shows %q, which is no case", troubleshooting, name)
		}
	}
	if *update && !t.Failed() {
		fresh := shownCase.ReplaceAllStringFunc(doc, func(block string) string {
			name := shownCase.FindStringSubmatch(block)[1]
			return "<!-- check: " + name + " -->\n```console\n" + got[name] + "```\n"
		})
		if err := os.WriteFile(filepath.Join(root, troubleshooting), []byte(fresh), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

var shownCase = regexp.MustCompile("(?s)<!-- check: ([^\n]*) -->\n```console\n(.*?)```\n")

func shownCases(doc string) map[string]string {
	cases := map[string]string{}
	for _, m := range shownCase.FindAllStringSubmatch(doc, -1) {
		cases[m[1]] = m[2]
	}
	return cases
}

// transcript is what a terminal shows of a check, without what differs from run
// to run; of the sink only in the good case.
func transcript(t *testing.T, c checkCase) string {
	t.Helper()
	dir := t.TempDir()
	vars := with(c.vars(t), "CONNECTOR_SINK=file", "CONNECTOR_DATA_DIR="+dir, "FILE_PATH="+filepath.Join(dir, "events.ndjson"))
	args := []string{"check"}
	if c.json {
		args = append(args, "--output", "json")
	}
	code, stdout, stderr := command(t.Context(), vars, args...)
	if code != c.code {
		t.Errorf("%s: got code %d, want %d; stdout:\n%s\nstderr:\n%s", c.name, code, c.code, stdout, stderr)
	}
	if !c.json {
		stdout = ordered(stdout)
		wantTenRows(t, stdout)
		if again := asText(t, vars, c.code); steady(vars, again) != steady(vars, stdout) {
			t.Errorf("%s: --output json: got\n%s\nwant what the text says:\n%s", c.name, again, stdout)
		}
	}
	if c.name != "good" {
		stdout = aboutSink.ReplaceAllString(stdout, "")
	}
	return fmt.Sprintf("$ connector %s\n%s$ echo $?\n%d\n", strings.Join(args, " "), steady(vars, stdout+stderr), code)
}

var (
	aboutSink = regexp.MustCompile(`(?m)^(ok    |\{"subject":")(sink/|checkpoint).*\n`)
	rowCount  = regexp.MustCompile(`(\d+) row\(s\)`)
)

// wantTenRows checks that each row of a minute is counted once.
func wantTenRows(t *testing.T, stdout string) {
	t.Helper()
	for _, n := range rowCount.FindAllStringSubmatch(stdout, -1) {
		if n, err := strconv.Atoi(n[1]); err != nil || n < 9 || n > 12 {
			t.Errorf("got %d rows, want about 10; stdout:\n%s", n, stdout)
		}
	}
}

// asText shows the findings that the check gives as JSON the way it shows them as text.
func asText(t *testing.T, vars []string, want int) string {
	t.Helper()
	code, stdout, stderr := command(t.Context(), vars, "check", "--output", "json")
	if code != want {
		t.Errorf("--output json: got code %d, want %d; stderr:\n%s", code, want, stderr)
	}
	var text bytes.Buffer
	for line := range strings.Lines(stdout) {
		var f finding
		dec := json.NewDecoder(strings.NewReader(line))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&f); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if err := (&view{w: &text}).finding(f); err != nil {
			t.Fatal(err)
		}
	}
	return ordered(text.String())
}

// ordered sorts findings by subject: the sink and each account are checked beside
// each other.
func ordered(stdout string) string {
	rank := func(subject string) int {
		return slices.IndexFunc([]string{"sink/", "checkpoint", ""}, func(p string) bool { return strings.HasPrefix(subject, p) })
	}
	var found []string
	for line := range strings.Lines(stdout) {
		if strings.HasPrefix(line, " ") {
			found[len(found)-1] += line
			continue
		}
		found = append(found, line)
	}
	slices.SortStableFunc(found, func(a, b string) int {
		x, y := strings.Fields(a)[1], strings.Fields(b)[1]
		return cmp.Or(rank(x)-rank(y), strings.Compare(strings.SplitN(x, "/", 2)[0], strings.SplitN(y, "/", 2)[0]))
	})
	return strings.Join(found, "")
}

// steady puts names for addresses, folders and times.
func steady(vars []string, text string) string {
	for _, name := range []string{"HQ_BASE_URL", "OTP_BASE_URL", "OTP_BACKUP_URL"} {
		if at := regexp.MustCompile(`^\w+://([^/]+)`).FindStringSubmatch(value(vars, name)); at != nil {
			host := map[string]string{"HQ_BASE_URL": "ekuaibao.example", "OTP_BASE_URL": "submail.example", "OTP_BACKUP_URL": "backup.submail.example"}[name]
			text = strings.ReplaceAll(text, at[1], host)
		}
	}
	text = strings.ReplaceAll(text, value(vars, "CONNECTOR_DATA_DIR"), "data")
	text = regexp.MustCompile(`(Date=)\d+`).ReplaceAllString(text, "${1}…")
	text = regexp.MustCompile(`time=\S+`).ReplaceAllString(text, "time=…")
	return rowCount.ReplaceAllString(text, "10 row(s)")
}

// TestCheckDataDir has a folder that cannot be made: its disk is not there.
func TestCheckDataDir(t *testing.T) {
	t.Parallel()
	_, _, hq, _ := checkSims(t, 0)
	dir := filepath.Join(t.TempDir(), "data")
	for _, sink := range []string{"file", "stdout"} {
		vars := with(hq, "CONNECTOR_SINK="+sink, "CONNECTOR_DATA_DIR="+dir)
		if sink == "file" {
			vars = with(vars, "FILE_PATH="+filepath.Join(t.TempDir(), "events.ndjson"))
		}
		made := filepath.Join(dir, "checkpoint", sink)
		if code, stdout, _ := command(t.Context(), vars, "check"); code != exitOK || !strings.Contains(stdout, "none yet") {
			t.Errorf("%s: got code %d and\n%s, want all well", sink, code, stdout)
		}
		if _, err := os.Stat(made); err != nil {
			t.Errorf("%s: got %v, want the data folder to be made", sink, err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(dir+"-unmounted", dir); err != nil {
			t.Fatal(err)
		}
		for _, verb := range []string{"check", "run"} {
			if code, stdout, stderr := command(t.Context(), vars, verb); code != exitFailed || !strings.Contains(stdout+stderr, "make CONNECTOR_DATA_DIR writable") {
				t.Errorf("%s %s: got code %d and\n%s%s, want what to do", sink, verb, code, stdout, stderr)
			}
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCheckSaysWhatItWaitsFor has two streams of one credential: the second has
// its turn a minute later.
func TestCheckSaysWhatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen buffer
		turns := budget.New(time.Minute)
		a := openAccount{budget: turns, demand: &demand{streams: 2}, notes: notes{&seen}}
		call := func(subject string, answer time.Duration) {
			err := a.call(t.Context(), subject, func(ctx context.Context) error {
				return errors.Join(turns.Wait(ctx), wait.For(ctx, answer))
			})
			if err != nil {
				t.Error(err)
			}
		}
		call("otp/sms", time.Second)
		if got := seen.String(); got != "" {
			t.Errorf("of an answer after a second: got %q, want nothing", got)
		}
		call("bulk/sms", 10*time.Second)
		want := "...   bulk/sms                      waiting for its turn, the next is in 57s: the limit is one request per 1m0s\n" +
			"...   bulk/sms                      waiting for its turn, the next is in 42s: the limit is one request per 1m0s\n" +
			"...   bulk/sms                      waiting for its turn, the next is in 27s: the limit is one request per 1m0s\n" +
			"...   bulk/sms                      waiting for its turn, the next is in 12s: the limit is one request per 1m0s\n" +
			"...   bulk/sms                      waiting for an answer\n"
		if got := seen.String(); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		turns.Hold(time.Hour)
		if err := a.call(t.Context(), "otp/sms", turns.Wait); !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "no answer within 3m30s: ") {
			t.Errorf("got %v, want the end of patience after 90 s and two turns", err)
		}
	})
}
