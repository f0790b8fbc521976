package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/twmb/franz-go/pkg/kfake"

	"connector/internal/apisim"
	"connector/internal/testkafka"
)

// Secrets with what URLs, JSON and HTML write in another way.
const (
	secretKey      = `canary-hq-key:/+="&<é%20`
	secretSecurity = `canary-hq-security\'?#é  x`
	secretAppKey   = `canary-otp-key/+="&<é`
	secretLogin    = `canary-login:/+="@é`
)

// mark is what all secrets of the tests hold: as it is, which percent-encoding and
// JSON leave so, in base64 at each of its places, and in hex. See scripts/canary.sh.
var mark = regexp.MustCompile(`(?i:canary)|Y2FuYXJ5|NhbmFye|jYW5hcn|(?i:63616e617279)`)

// wantNone searches what came out for secrets.
func wantNone(t *testing.T, what, text string) {
	t.Helper()
	for _, at := range mark.FindAllStringIndex(text, 3) {
		around := text[max(0, at[0]-200):min(len(text), at[1]+60)]
		t.Errorf("%s holds a secret: …%s…", what, mark.ReplaceAllString(around, "<HERE>"))
	}
}

// TestSecretsInOutputAreFound wants secrets found in whichever file they are, and each log that a script of CI keeps searched.
func TestSecretsInOutputAreFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, leak, hidden, empty := file("good.log", "ok\n"), file("leak.log", "ok\nkey="+secretKey+"\n"), file("hidden.log", base64.StdEncoding.EncodeToString([]byte("a:"+secretKey))), file("empty.log", "")
	for _, tt := range []struct {
		files []string
		want  string // of the output; "": it passes
	}{
		{[]string{good}, ""},
		{[]string{good, good}, ""},
		{[]string{leak, good}, "leak.log:2:"},
		{[]string{good, leak}, "leak.log:2:"},
		{[]string{good, hidden}, "hidden.log:1:"},
		{[]string{good, empty}, "empty.log is empty"},
		{[]string{good, filepath.Join(dir, "none.log")}, "none.log is empty, or not there"},
	} {
		out, err := exec.CommandContext(t.Context(), "../../scripts/canary.sh", tt.files...).CombinedOutput()
		if (err == nil) != (tt.want == "") || !strings.Contains(string(out), tt.want) {
			t.Errorf("%q: got %v, %d bytes, want %q", tt.files, err, len(out), tt.want)
		}
	}

	_, searched, _ := strings.Cut(read(t, ".ci/run"), "scripts/canary.sh ")
	for _, script := range []string{"scripts/validate.sh", "scripts/examples.sh"} {
		log := regexp.MustCompile(`>(bin/[a-z]+\.log)`).FindStringSubmatch(read(t, script))
		if log == nil || !strings.Contains(searched, log[1]) {
			t.Errorf("%s writes %q, which .ci/run does not search for secrets", script, log)
		}
	}
}

// wantNoneIn searches the names and contents of all files below dir.
func wantNoneIn(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		files++
		wantNone(t, "file "+filepath.Base(path), path+"\n"+string(content))
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("searching %d files of %s: %v", files, dir, err)
	}
}

// secretVars returns variables of both accounts that hold secrets; the sink's come
// with more.
func secretVars(t *testing.T, hq, otp string, more ...string) []string {
	t.Helper()
	return with([]string{
		"CONNECTOR_SOURCES=hq=ekuaibao,otp=submail", "CONNECTOR_START=1h", "CONNECTOR_HTTP_ADDR=127.0.0.1:0", "CONNECTOR_LOG_LEVEL=debug",
		"CONNECTOR_SINK=file", "CONNECTOR_DATA_DIR=" + t.TempDir(), "FILE_PATH=" + filepath.Join(t.TempDir(), "events.ndjson"),
		"HQ_BASE_URL=" + hq, "HQ_APP_KEY=" + secretKey, "HQ_APP_SECURITY=" + secretSecurity,
		"HQ_MESSAGE_TYPES=flow", "HQ_POLL_INTERVAL=200ms", "HQ_RATE=1000", "HQ_LAG=0s",
		"OTP_BASE_URL=" + otp, "OTP_APP_ID=10000", "OTP_APP_KEY=" + secretAppKey,
		"OTP_POLL_INTERVAL=200ms", "OTP_MIN_INTERVAL=1ms", "OTP_LAG=0s",
	}, more...)
}

// secretSims serves both APIs to the secrets.
func secretSims(t *testing.T) (hq, otp string) {
	t.Helper()
	p := apisim.Population{Seed: 5, Start: time.Now().Add(-10 * time.Minute), Every: time.Second, Limit: 50, Poison: 0.1, PoisonBytes: 5000}
	e := apisim.NewEkuaibao(apisim.EkuaibaoConfig{Population: p, AppKey: secretKey, AppSecurity: secretSecurity})
	s := apisim.NewSubmail(apisim.SubmailConfig{Population: p, AppKey: secretAppKey})
	t.Cleanup(func() { _, _ = e.Close(), s.Close() })
	return e.Serve(listener(t)), s.Serve(listener(t))
}

// guardedNATS starts a server that asks for a login.
func guardedNATS(t *testing.T, opts *server.Options) []string {
	t.Helper()
	opts.Host, opts.Port, opts.NoSigs, opts.NoLog, opts.JetStream, opts.StoreDir = "127.0.0.1", server.RANDOM_PORT, true, true, true, t.TempDir()
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the NATS server is not ready")
	}
	return []string{"CONNECTOR_SINK=nats", "NATS_URL=nats://" + s.Addr().String()}
}

// TestSecretsStayInside runs every verb with every secret there is, against a good
// provider, and searches all that comes out.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	kafka := testkafka.Faulty(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "ann", secretLogin)).ListenAddrs()
	for name, sink := range map[string][]string{
		"file":          {"CONNECTOR_LOG_FORMAT=json"},
		"NATS password": append(guardedNATS(t, &server.Options{Username: "ann", Password: secretLogin}), "NATS_USER=ann", "NATS_PASSWORD="+secretLogin),
		"NATS token":    append(guardedNATS(t, &server.Options{Authorization: secretLogin}), "NATS_TOKEN="+secretLogin, "CONNECTOR_LOG_FORMAT=json"),
		"Kafka": {
			"CONNECTOR_SINK=kafka", "KAFKA_BROKERS=" + strings.Join(kafka, ","), "KAFKA_PARTITIONS=1",
			"KAFKA_SASL_MECHANISM=PLAIN", "KAFKA_SASL_USERNAME=ann", "KAFKA_SASL_PASSWORD=" + secretLogin,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hq, otp := secretSims(t)
			vars := secretVars(t, hq, otp, sink...)
			everyVerb(t, vars)
			whileRunning(t, vars, `"ready":true`)
			for _, dir := range []string{value(vars, "CONNECTOR_DATA_DIR"), filepath.Dir(value(vars, "FILE_PATH"))} {
				if value(vars, "CONNECTOR_SINK") == "file" {
					wantNoneIn(t, dir)
				}
			}
		})
	}
}

// everyVerb runs the verbs, each of which must do its work.
func everyVerb(t *testing.T, vars []string) {
	t.Helper()
	for _, line := range []string{
		"check", "check --output json", "run --once", "backfill --from 3h --to 2h", "replay --from 1h --to 0s", "replay --from 1h --to 0s --output json",
		"checkpoint list", "checkpoint list --output json", "checkpoint show", "checkpoint show --output json",
		"checkpoint rewind --to 0s --yes", "checkpoint rewind --to 0s --yes --output json", "run --once",
		"tail --from-start --follow=false", "tail --from-start --follow=false --output json",
		"config", "config --output json", "config --output markdown", "config --reference", "version", "version --output json",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		code, stdout, stderr := command(ctx, vars, strings.Fields(line)...)
		cancel()
		if code != exitOK || stdout+stderr == "" {
			t.Errorf("%s: got code %d, want 0; stderr:\n%s", line, code, mark.ReplaceAllString(stderr, "<HERE>"))
		}
		wantNone(t, line+", stdout", stdout)
		wantNone(t, line+", stderr", stderr)
	}
}

// whileRunning asks the endpoints of a connector in a process of its own, once
// they say what is to be seen.
func whileRunning(t *testing.T, vars []string, state string) {
	t.Helper()
	c := start(t, vars, "run")
	at := regexp.MustCompile(`http"?[=:]"?(127[0-9.:]+)`)
	c.until(t, "its address", func() bool { return at.MatchString(c.stderr.String()) })
	base := "http://" + at.FindStringSubmatch(c.stderr.String())[1]
	c.until(t, "requests in the log", func() bool { return strings.Contains(c.stderr.String(), apisim.EkuaibaoLogPath) })
	c.until(t, state, func() bool { _, body := get(base + "/readyz"); return strings.Contains(body, state) })
	for _, path := range []string{"/metrics", "/readyz", "/healthz", "/", "/debug/pprof/"} {
		_, body := get(base + path)
		wantNone(t, path, body)
	}
	c.interrupt(t)
	wantNone(t, "run, stderr", c.stderr.String())
	wantNone(t, "run, stdout", c.stdout.String())
}

// echo is a provider in trouble, which tells the client all it was told.
type echo struct {
	answer func(w http.ResponseWriter, told string)
	token  bool // whether it issues access tokens first
	asked  atomic.Int32
}

func (e *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if strings.HasPrefix(r.URL.Path, apisim.SubmailTimestampPath) {
		fmt.Fprintf(w, `{"timestamp":%d}`, time.Now().Unix())
		return
	}
	if e.token && r.URL.Path == apisim.EkuaibaoTokenPath {
		fmt.Fprintf(w, `{"value":{"accessToken":"canary:access/token_%d","refreshToken":"canary-refresh"}}`, e.asked.Load())
		return
	}
	e.asked.Add(1)
	token := r.URL.Query().Get("accessToken")
	_ = r.ParseForm()
	form, _ := url.ParseQuery(string(body))
	var login struct{ AppKey, AppSecurity string }
	_ = json.Unmarshal(body, &login)
	e.answer(w, strings.Join([]string{r.URL.String(), token, string(body), form.Get("signature"), login.AppKey, login.AppSecurity}, " "))
}

// echoes are the ways to be in trouble.
func echoes() map[string]func(w http.ResponseWriter, told string) {
	status := func(code int, begin, end string) func(http.ResponseWriter, string) {
		return func(w http.ResponseWriter, told string) {
			w.WriteHeader(code)
			fmt.Fprint(w, begin, told, end)
		}
	}
	quoted := func(told string) string {
		b, _ := json.Marshal(told) // with <, > and & as \u003c and so on
		return string(b)
	}
	all := map[string]func(http.ResponseWriter, string){
		"page 500": status(500, "<html><title>Error</title>", "</html>"),
		"page 200": status(200, "<html>", "</html>"),
		"429":      status(429, "", ""),
		"503":      status(503, "", ""),
		"400":      status(400, "", ""),
		"401":      status(401, "", ""),
		"403 JSON": func(w http.ResponseWriter, told string) {
			w.WriteHeader(403)
			fmt.Fprintf(w, `{"errorCode":403,"errorMessage":%s}`, quoted(told))
		},
		"500 JSON": func(w http.ResponseWriter, told string) {
			w.WriteHeader(500)
			fmt.Fprintf(w, `{"errorMessage":%s}`, quoted(told))
		},
		"500 PHP": func(w http.ResponseWriter, told string) {
			w.WriteHeader(500)
			fmt.Fprint(w, strings.ReplaceAll(quoted(told), "/", `\/`))
		},
		"500 percent": func(w http.ResponseWriter, told string) {
			w.WriteHeader(500)
			fmt.Fprint(w, strings.ToLower(url.QueryEscape(told)))
		},
		"errorCode": func(w http.ResponseWriter, told string) {
			fmt.Fprintf(w, `{"errorCode":500,"errorMessage":%s}`, quoted(told))
		},
		"code": func(w http.ResponseWriter, told string) { fmt.Fprintf(w, `{"code":%s,"msg":"x"}`, quoted(told)) },
		"error 101": func(w http.ResponseWriter, told string) {
			fmt.Fprintf(w, `{"status":"error","code":"101","msg":%s}`, quoted(told))
		},
		"error 999": func(w http.ResponseWriter, told string) {
			fmt.Fprintf(w, `{"status":"error","code":"999","msg":%s}`, quoted(told))
		},
		"odd status": func(w http.ResponseWriter, told string) { fmt.Fprintf(w, `{"status":%s}`, quoted(told)) },
		"appid": func(w http.ResponseWriter, told string) {
			fmt.Fprintf(w, `{"status":"success","appid":%s}`, quoted(told))
		},
		"no JSON": func(w http.ResponseWriter, told string) { fmt.Fprint(w, `{"items":[`, told) },
		"other type": func(w http.ResponseWriter, told string) {
			fmt.Fprintf(w, `{"items":%s,"results":%[1]s,"value":%[1]s}`, quoted(told))
		},
		"redirect": func(w http.ResponseWriter, told string) {
			w.Header().Set("Location", "https://elsewhere.example/?to="+url.QueryEscape(told))
			w.WriteHeader(http.StatusFound)
		},
		"redirect here": func(w http.ResponseWriter, told string) {
			w.Header().Set("Location", "/?accessToken="+url.QueryEscape(told))
			w.WriteHeader(http.StatusFound)
		},
		"odd redirect": func(w http.ResponseWriter, told string) {
			w.Header().Set("Location", "https://"+url.PathEscape(told)+"%zz/")
			w.WriteHeader(http.StatusFound)
		},
	}
	for _, cut := range []int{470, 490, 505, 4070, 4090} { // where a client reads no further
		all[fmt.Sprintf("page cut at %d", cut)] = status(200+300*(cut/1000%2), "<html>"+strings.Repeat(" ", cut-100)+"of", "</html>")
	}
	return all
}

// TestSecretsStayInsideInTrouble reads providers that tell all they know.
func TestSecretsStayInsideInTrouble(t *testing.T) {
	t.Parallel()
	for name, answer := range echoes() {
		for _, token := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, token %v", name, token), func(t *testing.T) {
				t.Parallel()
				e := &echo{answer: answer, token: token}
				srv := httptest.NewServer(e)
				t.Cleanup(srv.Close)
				vars := secretVars(t, srv.URL, srv.URL, "OTP_SIGN_TYPE=normal")
				inTrouble(t, vars, "check")
				inTrouble(t, vars, "run")
				inTrouble(t, with(vars, "CONNECTOR_LOG_FORMAT=json", "OTP_FORMAT=xml", "OTP_CONTENT_TYPE=json", "HQ_APP_KEY=", "HQ_APP_SECURITY=", "HQ_ACCESS_TOKEN="+secretKey), "run --once")
				wantNoneIn(t, value(vars, "CONNECTOR_DATA_DIR"))
				if e.asked.Load() == 0 {
					t.Error("nobody asked")
				}
			})
		}
	}
}

// TestSecretsStayInsideOfEndpoints looks at what is said of a provider in trouble.
func TestSecretsStayInsideOfEndpoints(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(&echo{answer: echoes()["500 JSON"], token: true})
	t.Cleanup(srv.Close)
	whileRunning(t, secretVars(t, srv.URL, srv.URL, "OTP_SIGN_TYPE=normal"), `"error":`)
}

// inTrouble runs a verb to its end, or for a while when it has none.
func inTrouble(t *testing.T, vars []string, line string) {
	t.Helper()
	limit := patience
	if strings.HasPrefix(line, "run") || strings.HasPrefix(line, "backfill") || strings.HasPrefix(line, "replay") {
		limit = 300 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	_, stdout, stderr := command(ctx, vars, strings.Fields(line)...)
	wantNone(t, line+", stdout", stdout)
	wantNone(t, line+", stderr", stderr)
}

// TestSecretsStayInsideOfMistakes gives secrets where they do not belong, or wrong ones.
func TestSecretsStayInsideOfMistakes(t *testing.T) {
	t.Parallel()
	hq, otp := secretSims(t)
	good := secretVars(t, hq, otp)
	kafka := testkafka.Faulty(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "ann", "x")).ListenAddrs()
	login := guardedNATS(t, &server.Options{Username: "ann", Password: "x"})
	for name, more := range map[string][]string{
		"user in the URL":         {"HQ_BASE_URL=https://ann:" + url.QueryEscape(secretLogin) + "@host"},
		"query in the URL":        {"OTP_BASE_URL=https://host/?key=" + url.QueryEscape(secretLogin)},
		"no URL":                  {"HQ_BASE_URL=" + secretLogin},
		"user in NATS_URL":        {"CONNECTOR_SINK=nats", "NATS_URL=nats://ann:canary@127.0.0.1:1"},
		"user in KAFKA_BROKERS":   {"CONNECTOR_SINK=kafka", "KAFKA_BROKERS=ann:canary@127.0.0.1:1"},
		"line break":              {"HQ_APP_KEY=" + secretKey + "\nx"},
		"wrong places":            {"HQ_RATE=" + secretKey, "HQ_LAG=" + secretKey, "OTP_SIGN_TYPE=" + secretKey, "OTP_ROWS=" + secretKey, "OTP_TIME_ZONE=" + secretKey, "HQ_MESSAGE_TYPES=" + secretKey},
		"more wrong places":       {"CONNECTOR_START=" + secretKey, "CONNECTOR_LOG_LEVEL=" + secretKey, "CONNECTOR_HTTP_ADDR=" + secretKey, "CONNECTOR_SINK=" + secretKey, "CONNECTOR_POLL=" + secretKey},
		"misspelled":              {"HQ_APP_SECURTY=" + secretSecurity, "OTP_APPKEY=" + secretAppKey},
		"both ways":               {"HQ_ACCESS_TOKEN=" + secretKey},
		"of another sink":         {"NATS_TOKEN=" + secretLogin, "KAFKA_SASL_PASSWORD=" + secretLogin},
		"wrong NATS password":     append(login, "NATS_USER=ann", "NATS_PASSWORD="+secretLogin),
		"wrong NATS token":        append(login, "NATS_TOKEN="+secretLogin),
		"NATS nkey":               append(login, "NATS_NKEY="+secretLogin),
		"NATS creds":              append(login, "NATS_CREDS=-----BEGIN x\n"+secretLogin),
		"NATS key":                append(login, "NATS_CERT=-----BEGIN x\n"+secretLogin, "NATS_KEY=-----BEGIN x\n"+secretLogin),
		"embedded with a token":   {"CONNECTOR_SINK=nats", "NATS_TOKEN=" + secretLogin},
		"password, no mechanism":  {"CONNECTOR_SINK=kafka", "KAFKA_BROKERS=127.0.0.1:1", "KAFKA_SASL_PASSWORD=" + secretLogin},
		"wrong Kafka password":    {"CONNECTOR_SINK=kafka", "KAFKA_BROKERS=" + kafka[0], "KAFKA_SASL_MECHANISM=PLAIN", "KAFKA_SASL_USERNAME=ann", "KAFKA_SASL_PASSWORD=" + secretLogin},
		"no such broker":          {"CONNECTOR_SINK=kafka", "KAFKA_BROKERS=127.0.0.1:1", "KAFKA_SASL_MECHANISM=SCRAM-SHA-512", "KAFKA_SASL_USERNAME=ann", "KAFKA_SASL_PASSWORD=" + secretLogin},
		"wrong key at providers":  {"HQ_APP_KEY=canary-wrong", "OTP_APP_KEY=canary-wrong"},
		"wrong token at provider": {"HQ_APP_KEY=", "HQ_APP_SECURITY=", "HQ_ACCESS_TOKEN=" + secretKey},
		"proxy is down":           {"HQ_PROXY_URL=http://ann:canary%2Fpass@127.0.0.1:1", "OTP_PROXY_URL=socks5://ann:canary-pass@127.0.0.1:1"},
		"no proxy":                {"HQ_PROXY_URL=http://ann:canary-pass@" + strings.TrimPrefix(hq, "http://"), "OTP_PROXY_URL=https://ann:canary-pass@" + strings.TrimPrefix(otp, "http://")},
		"proxy is no URL":         {"HQ_PROXY_URL=ann:canary-pass@proxy"},
		"no such host":            {"HQ_BASE_URL=http://127.0.0.1:1", "OTP_BASE_URL=http://127.0.0.1:1", "OTP_SIGN_TYPE=normal"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vars := with(good, append([]string{"CONNECTOR_DATA_DIR=" + t.TempDir(), "FILE_PATH=" + filepath.Join(t.TempDir(), "events.ndjson")}, more...)...)
			for _, line := range []string{"check", "check --output json", "config", "config --output json", "run", "tail --follow=false", "checkpoint list", "backfill --from 2h --to 1h", "replay --from 1h --to 0s", "checkpoint rewind --to 0s", "checkpoint create --yes"} {
				inTrouble(t, vars, line)
			}
		})
	}
}

// TestSecretsStayInsideOfProxies has a proxy with a password, which is a variable
// of the process.
func TestSecretsStayInsideOfProxies(t *testing.T) {
	t.Parallel()
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	t.Cleanup(refusing.Close)
	for name, host := range map[string]string{"down": "127.0.0.1:1", "refusing": refusing.Listener.Addr().String()} {
		for _, scheme := range []string{"http", "https"} {
			t.Run(name+" "+scheme, func(t *testing.T) {
				t.Parallel()
				proxy := "http://ann:canary%2Fpassword@" + host
				c := start(t, secretVars(t, scheme+"://ekuaibao.example", scheme+"://submail.example", "HTTP_PROXY="+proxy, "HTTPS_PROXY="+proxy), "check")
				select {
				case <-c.ended:
				case <-time.After(patience):
					t.Fatal("the check does not end")
				}
				out := c.stdout.String() + c.stderr.String()
				if !strings.Contains(out, "FAIL  hq") {
					t.Errorf("got no failure of hq: %s", mark.ReplaceAllString(out, "<HERE>"))
				}
				wantNone(t, "check", out)
			})
		}
	}
}
