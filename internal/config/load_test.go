package config

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connector/internal/secret"
	"connector/sources"
)

// toy is a kind with a variable of each built-in type.
type toy struct {
	Key      secret.String `split_words:"true" desc:"Required."`
	Level    string        `split_words:"true" desc:"Text."`
	MailRate float64       `split_words:"true" default:"1" desc:"Number."`
	Rows     int           `split_words:"true" default:"10" desc:"Rows."`
	Deep     bool          `split_words:"true" default:"false" desc:"Flag."`
	Common
}

func newToy() AccountConfig {
	return &toy{Common: Common{PollInterval: time.Second, Lag: time.Second, Lateness: time.Minute, GiveUp: time.Hour, MaxRowBytes: MiB}}
}

func (c *toy) Secret() secret.String { return c.Key }

func (*toy) Budget() Budget { return Budget{Credential: "toy", Every: time.Second} }

func (c *toy) Validate(v *Faults) {
	v.Check(!c.Key.IsZero(), "KEY", "is required")
	v.Check(c.Rows > 1, "ROWS", "must be more than 1, for %s", "MAIL_RATE")
}

type toySink struct {
	URL    URL    `split_words:"true" default:"http://localhost" desc:"Address."`
	Stream string `split_words:"true" desc:"Stream."`
}

func newToySink() Section { return &toySink{} }

func (*toySink) Validate(*Faults) {}

var toys = Catalog{
	Sources: map[string]Source{"toy": {New: newToy, Fields: sources.Fields{"body": {Path: "sms.text"}, "id": {}}}, "game": {New: newToy}},
	Sinks:   map[string]Sink{"nats": {New: newToySink}, "kafka": {New: newToySink}, "stdout": {}},
}

// toyEnv is the least valid configuration and more.
func toyEnv(more ...string) []string {
	return append([]string{"CONNECTOR_SOURCES=toy", "TOY_KEY=k-canary"}, more...)
}

// outcome loads environ and returns the faults as "VARIABLE: message" lines.
func outcome(t *testing.T, environ []string, catalog Catalog) (*Config, []string) {
	t.Helper()
	cfg, err := Load(environ, catalog)
	if err == nil {
		return cfg, nil
	}
	if strings.Contains(err.Error(), "-canary") {
		t.Errorf("%q: the error holds a secret: %v", environ, err)
	}
	all, ok := errors.AsType[*Error](err)
	if !ok || cfg != nil {
		t.Fatalf("got %v, %T, want no configuration and an *Error", cfg, err)
	}
	var lines []string
	for _, f := range all.Faults {
		lines = append(lines, f.Variable+": "+f.Message)
		if !strings.Contains(err.Error(), "\n  "+f.Variable+": "+f.Message) {
			t.Errorf("the error lacks %v: %v", f, err)
		}
	}
	return cfg, lines
}

func TestFaults(t *testing.T) {
	tests := []struct {
		name    string
		environ []string
		want    []string
	}{
		{"valid", toyEnv(), nil},
		{"no sources", nil, []string{"CONNECTOR_SOURCES: is required: name the accounts to read, for example CONNECTOR_SOURCES=game,toy"}},
		{"no kind", []string{"CONNECTOR_SOURCES=hq"}, []string{`CONNECTOR_SOURCES: "hq" is no kind of account; write hq=kind, where kind is game or toy`}},
		{"bad kind", []string{"CONNECTOR_SOURCES=hq=tyo", "HQ_X=1"}, []string{`CONNECTOR_SOURCES: "tyo" is no kind of account; write hq=kind, where kind is game or toy`}},
		{"reserved", []string{"CONNECTOR_SOURCES=connector=toy,nats=toy,kafka=toy"}, []string{
			`CONNECTOR_SOURCES: account name "connector" is reserved; choose another`,
			`CONNECTOR_SOURCES: account name "nats" is reserved; choose another`,
			`CONNECTOR_SOURCES: account name "kafka" is reserved; choose another`,
		}},
		{"bad names, good ones examined", []string{"CONNECTOR_SOURCES=Hq=toy,,a-b=toy,toy,toy=game", "TOY_ROWS=x"}, []string{
			`CONNECTOR_SOURCES: "Hq" is no account name; use a lower-case letter and then at most 62 lower-case letters, digits or _; ` +
				`has an empty item; separate items with one comma; ` +
				`"a-b" is no account name; use a lower-case letter and then at most 62 lower-case letters, digits or _; names account "toy" twice`,
			"TOY_ROWS: use a whole number",
			"TOY_KEY: is required",
		}},
		{"long name", []string{"CONNECTOR_SOURCES=" + strings.Repeat("a", 64) + "=toy"}, []string{
			`CONNECTOR_SOURCES: "` + strings.Repeat("a", 64) + `" is no account name; use a lower-case letter and then at most 62 lower-case letters, digits or _`,
		}},
		{"accounts that read one variable", []string{"CONNECTOR_SOURCES=connector_log=toy", "CONNECTOR_LOG_KEY=k"}, []string{
			`CONNECTOR_SOURCES: account "connector_log" would read CONNECTOR_LOG_LEVEL, which another part reads already; rename the account`,
		}},
		{"sink", toyEnv("CONNECTOR_SINK=mqtt"), []string{"CONNECTOR_SINK: use kafka, nats or stdout"}},
		{"privacy", toyEnv("CONNECTOR_PRIVACY=Strict", "CONNECTOR_PRIVACY_RULES=sms.text=keep, toy.x=drop,Phone=HASH", "CONNECTOR_PRIVACY_KEY=k-canary-0123456789"), nil},
		{"bad privacy rules", toyEnv("CONNECTOR_PRIVACY=high", "CONNECTOR_PRIVACY_KEY=k-canary", "CONNECTOR_PRIVACY_RULES=sms.body=drop,phone,,phone=hide,a=keep,A_=keep,x.y.z=drop"), []string{
			"CONNECTOR_PRIVACY: use standard, strict or off",
			`CONNECTOR_PRIVACY_RULES: "sms.body" is no field; use one of sms.carrier, sms.carrierStatus, sms.failureReason, sms.recipient, sms.region, sms.signature, sms.template, sms.text, ` +
				`webhook.configurationId, webhook.configurationName, webhook.nodeId, webhook.nodeName, webhook.request, webhook.response, a field of a provider's section such as submail.ip_address, or a bare key; ` +
				`"phone" is no field=action; has an empty item; separate items with one comma; "phone=hide": use keep, mask, hash or drop; names "A_" twice; ` +
				`"x.y.z" is no field; within bodies and sections name members by their bare keys`,
			"CONNECTOR_PRIVACY_KEY: is shorter than 16 bytes; use a random one",
		}},
		{"privacy rules that do nothing", toyEnv("CONNECTOR_PRIVACY=off", "CONNECTOR_PRIVACY_RULES=phone=mask,tyo.x=drop"), []string{
			"CONNECTOR_PRIVACY_RULES: has no effect with CONNECTOR_PRIVACY=off; unset it, or use standard and field=keep",
			`CONNECTOR_PRIVACY_RULES: there is no section "tyo" in an event; use sms, webhook, game or toy`,
		}},
		{"privacy rules for what an event has elsewhere", toyEnv("CONNECTOR_PRIVACY_RULES=toy.body=drop,toy.id=mask,toy.new=drop"), []string{
			"CONNECTOR_PRIVACY_RULES: an event has toy.body as sms.text; name it so",
		}},
		{"all at once", []string{
			"CONNECTOR_SOURCES=a=toy,b=game", "CONNECTOR_START=yesterday", "CONNECTOR_LOG_LEVEL=loud", "CONNECTOR_LOG_FORMAT=xml", "CONNECTOR_SCHEMA_VERSION=0.9", "CONNECTOR_VALIDATE=some", "CONNECTOR_HTTP_ADDR=8080",
			"NATS_URL=x", "A_KEY=k-canary\nx", "A_ROWS=1", "A_LAG=5", "A_DEEP=yes", "A_MAIL_RATE=fast", "A_MAX_ROW_BYTES=4MB", "B_ROWS=1", "B_LATENESS=1s", "B_ROW=1", "CONNECTOR_LOGLEVEL=info",
		}, []string{
			"CONNECTOR_SCHEMA_VERSION: use newest or 1.0",
			"CONNECTOR_VALIDATE: use off, sample or all",
			"CONNECTOR_START: use a duration back from now such as 24h, or a time such as 2026-01-31T00:00:00Z",
			"CONNECTOR_HTTP_ADDR: use host:port such as 127.0.0.1:8080 or :8080",
			"CONNECTOR_LOG_LEVEL: use debug, info, warn or error",
			"CONNECTOR_LOG_FORMAT: use text or json",
			"NATS_URL: use a URL that begins with https:// or http://",
			"A_KEY: holds a line break or another control character; remove it",
			"A_MAIL_RATE: use a number",
			"A_DEEP: use true or false",
			"A_LAG: use a duration such as 30s, 5m or 72h",
			"A_MAX_ROW_BYTES: use a size such as 4MiB, 256KiB or 4194304",
			"B_LATENESS: must be longer than B_LAG",
			"B_KEY: is required",
			"B_ROWS: must be more than 1, for B_MAIL_RATE",
			"B_ROW: is not a variable of the connector; did you mean B_ROWS?",
			"CONNECTOR_LOGLEVEL: is not a variable of the connector; did you mean CONNECTOR_LOG_LEVEL?",
		}},
		{"bare names", []string{"CONNECTOR_SOURCES=toy", "KEY=k-canary"}, []string{"TOY_KEY: is required"}},
		{"empty is unset", toyEnv("TOY_ROWS=", "CONNECTOR_SINK=", "TOY_LEVEL_FILE="), nil},
		{"empty hides no typo", toyEnv("TOY_ROW="), []string{"TOY_ROW: is not a variable of the connector; did you mean TOY_ROWS?"}},
		{"NUL byte", toyEnv("TOY_LEVEL=a\x00b"), []string{"TOY_LEVEL: holds a NUL byte"}},
	}
	for _, tt := range tests {
		if _, got := outcome(t, tt.environ, toys); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got\n%s\nwant\n%s", tt.name, strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
		}
	}
}

func TestUnknown(t *testing.T) {
	const no = " is not a variable of the connector"
	tests := []struct {
		name     string
		environ  []string
		faults   []string
		warnings []string
	}{
		{"similar", toyEnv("CONNECTOR_SOURCE=x"), []string{"CONNECTOR_SOURCE:" + no + "; did you mean CONNECTOR_SOURCES?"}, nil},
		{"dissimilar", toyEnv("TOY_COLOUR=red"), []string{"TOY_COLOUR:" + no}, nil},
		{"similar file", toyEnv("TOY_KYE_FILE=/x"), []string{"TOY_KYE_FILE:" + no + "; did you mean TOY_KEY_FILE?"}, nil},
		{"just _FILE", toyEnv("TOY_FILE=/x"), []string{"TOY_FILE:" + no}, nil},
		{"sink", toyEnv("NATS_STREM=x", "NATS_CONTEXT=x"), nil, []string{"NATS_CONTEXT" + no, "NATS_STREM" + no + "; did you mean NATS_STREAM?"}},
		{"other sink", toyEnv("KAFKA_URL=nonsense", "KAFKA_HEAP_OPTS=x", "KAFKA_STREAM_FILE=/nowhere"), nil, []string{"KAFKA_URL is ignored because CONNECTOR_SINK is nats", "KAFKA_STREAM is ignored because CONNECTOR_SINK is nats", "KAFKA_HEAP_OPTS" + no}},
		{"elsewhere", toyEnv("TOYS_X=1", "MY_TOY_KEY=1", "connector_sink=1", "STDOUT_X=1"), nil, nil},
		{"service links", toyEnv(
			"NATS_PORT=tcp://10.0.0.1:4222", "NATS_SERVICE_HOST=10.0.0.1", "NATS_SERVICE_PORT=4222", "NATS_SERVICE_PORT_CLIENT=4222", "NATS_PORT_4222_TCP=tcp://10.0.0.1:4222",
			"NATS_PORT_4222_TCP_PROTO=tcp", "NATS_PORT_4222_TCP_PORT=4222", "NATS_PORT_4222_TCP_ADDR=10.0.0.1",
			"CONNECTOR_PORT=tcp://10.0.0.1:80", "CONNECTOR_METRICS_SERVICE_HOST=10.0.0.1", "TOY_SERVICE_PORT=80", "TOY_PORT_53_UDP=udp://10.0.0.1:53"), nil, nil},
		{"almost a service link", toyEnv("NATS_PORT=4222"), nil, []string{"NATS_PORT" + no}},
		{"far from a service link", toyEnv("CONNECTOR_SERVICE=1"), []string{"CONNECTOR_SERVICE:" + no}, nil},
	}
	for _, tt := range tests {
		cfg, faults := outcome(t, tt.environ, toys)
		if !slices.Equal(faults, tt.faults) {
			t.Errorf("%s: got faults %q, want %q", tt.name, faults, tt.faults)
		}
		if cfg != nil && !slices.Equal(cfg.Warnings, tt.warnings) {
			t.Errorf("%s: got warnings %q, want %q", tt.name, cfg.Warnings, tt.warnings)
		}
	}
}

// An account whose prefix begins another's claims none of its variables.
func TestNestedPrefixes(t *testing.T) {
	environ := []string{"CONNECTOR_SOURCES=sub=toy,sub_mail=toy", "SUB_KEY=a", "SUB_MAIL_KEY=b", "SUB_MAIL_ROWS=20", "SUB_MAIL_RATE=2"}
	cfg, faults := outcome(t, environ, toys)
	if faults != nil {
		t.Fatalf("got faults %q", faults)
	}
	sub, mail := cfg.Accounts[0].Config.(*toy), cfg.Accounts[1].Config.(*toy)
	if sub.Key.Reveal() != "a" || sub.MailRate != 2 || sub.Rows != 10 || mail.Key.Reveal() != "b" || mail.Rows != 20 || mail.MailRate != 1 {
		t.Errorf("got %+v and %+v", sub, mail)
	}
	_, faults = outcome(t, append(environ, "SUB_MAIL_ROW=1", "SUB_MAIL_X_KEY=1", "SUB_RWOS=1"), toys)
	want := []string{
		"SUB_MAIL_ROW: is not a variable of the connector; did you mean SUB_MAIL_ROWS?",
		"SUB_MAIL_X_KEY: is not a variable of the connector; did you mean SUB_MAIL_KEY?",
		"SUB_RWOS: is not a variable of the connector; did you mean SUB_ROWS?",
	}
	if !slices.Equal(faults, want) {
		t.Errorf("got faults %q, want %q", faults, want)
	}
	// sub does not claim the variables of sub_mail, though its kind is not known
	_, faults = outcome(t, []string{"CONNECTOR_SOURCES=sub=toy,sub_mail=x", "SUB_KEY=a", "SUB_MAIL_X=1"}, toys)
	if len(faults) != 1 || !strings.HasPrefix(faults[0], "CONNECTOR_SOURCES: ") {
		t.Errorf("got faults %q, want one of CONNECTOR_SOURCES", faults)
	}
}

func TestFromFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	big := write("big", strings.Repeat("x", maxFile+1))
	missing, empty := filepath.Join(dir, "missing"), write("empty", "\n")
	tests := []struct {
		name    string
		environ []string
		want    string
		fault   string
	}{
		{"newline cut", []string{"TOY_LEVEL_FILE=" + write("lf", "a b\n")}, "a b", ""},
		{"CR LF cut", []string{"TOY_LEVEL_FILE=" + write("crlf", "a b\r\n")}, "a b", ""},
		{"no newline", []string{"TOY_LEVEL_FILE=" + write("none", " a ")}, " a ", ""},
		{"empty variable beside", []string{"TOY_LEVEL=", "TOY_LEVEL_FILE=" + write("beside", "a")}, "a", ""},
		{"empty file variable", []string{"TOY_LEVEL=b", "TOY_LEVEL_FILE="}, "b", ""},
		{"both", []string{"TOY_LEVEL=b", "TOY_LEVEL_FILE=" + missing}, "", "TOY_LEVEL: set either this or TOY_LEVEL_FILE, not both"},
		{"missing", []string{"TOY_LEVEL_FILE=" + missing}, "", "TOY_LEVEL_FILE: cannot be read: no such file or directory"},
		{"folder", []string{"TOY_LEVEL_FILE=" + dir}, "", "TOY_LEVEL_FILE: cannot be read: is a directory"},
		{"empty file", []string{"TOY_LEVEL_FILE=" + empty}, "", "TOY_LEVEL_FILE: cannot be read: the file is empty"},
		{"too large", []string{"TOY_LEVEL_FILE=" + big}, "", "TOY_LEVEL_FILE: cannot be read: the file is larger than 1MiB"},
		{"NUL byte", []string{"TOY_LEVEL_FILE=" + write("nul", "a\x00")}, "", "TOY_LEVEL: holds a NUL byte"},
		{"bad value", []string{"TOY_ROWS_FILE=" + write("rows", "x")}, "", "TOY_ROWS: use a whole number"},
		{"connector", []string{"CONNECTOR_SINK_FILE=" + write("sink", "x")}, "", "CONNECTOR_SINK: use kafka, nats or stdout"},
	}
	for _, tt := range tests {
		cfg, faults := outcome(t, toyEnv(tt.environ...), toys)
		if got := strings.Join(faults, "\n"); got != tt.fault {
			t.Errorf("%s: got fault %q, want %q", tt.name, got, tt.fault)
		}
		if cfg != nil && cfg.Accounts[0].Config.(*toy).Level != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, cfg.Accounts[0].Config.(*toy).Level, tt.want)
		}
	}
	_, faults := outcome(t, []string{"CONNECTOR_SOURCES=toy", "TOY_KEY_FILE=" + missing}, toys)
	if len(faults) != 1 || !strings.HasPrefix(faults[0], "TOY_KEY_FILE: ") {
		t.Errorf("got %q, want no second fault for the missing key", faults)
	}
}

// Load reads its argument only, and leaves the process environment as it was.
func TestEnvironmentUntouched(t *testing.T) {
	t.Setenv("TOY_ROWS", "99")
	t.Setenv("TOY_LEVEL", "")
	t.Setenv("CONNECTOR_SINK", "kafka")
	before := os.Environ()
	for _, environ := range [][]string{toyEnv("TOY_ROWS=20", "TOY_LEVEL=x"), toyEnv("TOY_ROWS=x")} {
		if cfg, _ := outcome(t, environ, toys); cfg != nil && cfg.Accounts[0].Config.(*toy).Rows != 20 {
			t.Errorf("got %+v", cfg.Accounts[0].Config)
		}
	}
	if cfg, _ := outcome(t, toyEnv(), toys); cfg.Connector.Sink != "nats" || cfg.Accounts[0].Config.(*toy).Rows != 10 {
		t.Errorf("got %+v, want defaults", cfg)
	}
	after := os.Environ()
	slices.Sort(before)
	slices.Sort(after)
	if !slices.Equal(before, after) {
		t.Errorf("got %q, want %q", after, before)
	}
}

func TestLoadSink(t *testing.T) {
	cfg, err := LoadSink([]string{"NATS_STREAM=s", "TOY_ROWS=x"}, toys)
	if err != nil || cfg.Sink.(*toySink).Stream != "s" || cfg.Accounts != nil {
		t.Errorf("got %+v, %v", cfg, err)
	}
	if cfg, err = LoadSink([]string{"CONNECTOR_SINK=stdout", "CONNECTOR_SOURCES=toy"}, toys); err != nil || cfg.Sink != nil {
		t.Errorf("got %+v, %v", cfg, err)
	}
	if _, err = LoadSink([]string{"CONNECTOR_SINKS=nats"}, toys); err == nil {
		t.Error("got no error for an unknown variable")
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"abc", "axc", 1}, {"abc", "bc", 1}, {"ab", "ba", 2}, {"kitten", "sitting", 3}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("%q, %q: got %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestSuggestClosest(t *testing.T) {
	known := map[string]bool{"A_ROWS": true, "A_ROWT": true, "B_LOG": true}
	for name, want := range map[string]string{"A_ROW": "A_ROWS", "A_ROWTT": "A_ROWT", "A_XYZ": "", "A_LOX": "", "A_ROWS_FILE": "A_ROWS_FILE"} {
		if got := suggest(name, "A", known); got != want {
			t.Errorf("%s: got %q, want %q of %v", name, got, want, slices.Sorted(maps.Keys(known)))
		}
	}
}
