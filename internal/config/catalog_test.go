package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"connector/internal/config"
	"connector/sinks/file"
	"connector/sinks/kafka"
	"connector/sinks/nats"
	"connector/sources/ekuaibao"
	"connector/sources/submail"
)

var catalog = config.Catalog{
	Sources: map[string]config.Source{
		"ekuaibao": {Doc: "Reads failed calls.", New: ekuaibao.NewConfig},
		"submail":  {Doc: "Reads messages.", New: submail.NewConfig},
	},
	Sinks: map[string]config.Sink{
		"nats":   {Doc: "Publishes to JetStream.", New: nats.NewConfig},
		"kafka":  {Doc: "Publishes to Kafka.", New: kafka.NewConfig},
		"file":   {Doc: "Appends to a file.", New: file.NewConfig},
		"stdout": {Doc: "Prints."},
	},
}

// base is the least valid configuration of every section.
var base = []string{
	"CONNECTOR_SOURCES=hq=ekuaibao,otp=submail",
	"HQ_APP_KEY=key-canary", "HQ_APP_SECURITY=security-canary",
	"OTP_APP_ID=10000", "OTP_APP_KEY=appkey-canary",
	"KAFKA_BROKERS=b:9092", "FILE_PATH=events.ndjson",
}

// with returns base with variables replaced; "X=" removes X.
func with(items ...string) []string {
	environ := slices.Clone(base)
	for _, item := range items {
		name, _, _ := strings.Cut(item, "=")
		environ = slices.DeleteFunc(environ, func(e string) bool { return strings.HasPrefix(e, name+"=") })
		environ = append(environ, item)
	}
	return environ
}

// The names and defaults that users rely on.
func TestNamesAndDefaults(t *testing.T) {
	want := map[string]string{
		"CONNECTOR_SOURCES": "hq=ekuaibao,otp=submail", "CONNECTOR_SINK": "?", "CONNECTOR_CLOUDEVENTS": "binary", "CONNECTOR_SCHEMA_VERSION": "newest", "CONNECTOR_VALIDATE": "sample", "CONNECTOR_START": "24h", "CONNECTOR_DATA_DIR": "data",
		"CONNECTOR_REQUIRE_EXACTLY_ONCE": "false", "CONNECTOR_HTTP_ADDR": "127.0.0.1:8080", "CONNECTOR_LOG_LEVEL": "INFO", "CONNECTOR_LOG_FORMAT": "text",
		"CONNECTOR_PRIVACY": "standard", "CONNECTOR_PRIVACY_RULES": "", "CONNECTOR_PRIVACY_KEY": "", "CONNECTOR_INCLUDE_RAW": "false",

		"HQ_BASE_URL": "", "HQ_CORP_ID": "", "HQ_LOCATION_URL": "https://app.ekuaibao.com", "HQ_APP_KEY": "****", "HQ_APP_SECURITY": "****", "HQ_ACCESS_TOKEN": "",
		"HQ_MESSAGE_TYPES": "message,dataLink,message_center,repayment,flow,InternalMessage", "HQ_POLL_INTERVAL": "30s", "HQ_RATE": "5",
		"HQ_LAG": "5s", "HQ_LATENESS": "30m", "HQ_GIVE_UP": "72h", "HQ_MAX_ROW_BYTES": "4MiB", "HQ_PROXY_URL": "", "HQ_CA": "",

		"OTP_API": "log/message", "OTP_BASE_URL": "", "OTP_BACKUP_URL": "", "OTP_APP_ID": "10000", "OTP_APP_KEY": "****",
		"OTP_SIGN_TYPE": "sha1", "OTP_FORMAT": "json", "OTP_CONTENT_TYPE": "form", "OTP_ROWS": "1000", "OTP_MIN_INTERVAL": "1m",
		"OTP_POLL_INTERVAL": "2m", "OTP_TIME_ZONE": "Asia/Shanghai", "OTP_RECIPIENT": "", "OTP_PROJECT": "", "OTP_RESULT_STATUS": "",
		"OTP_LAG": "10s", "OTP_LATENESS": "30m", "OTP_GIVE_UP": "72h", "OTP_MAX_ROW_BYTES": "4MiB", "OTP_PROXY_URL": "", "OTP_CA": "",
	}
	sinks := map[string]map[string]string{
		"nats": {
			"NATS_URL": "embedded", "NATS_STREAM": "DELIVERY", "NATS_SUBJECT_PREFIX": "delivery", "NATS_CREDS": "", "NATS_NKEY": "", "NATS_TOKEN": "",
			"NATS_USER": "", "NATS_PASSWORD": "", "NATS_CA": "", "NATS_CERT": "", "NATS_KEY": "",
		},
		"kafka": {
			"KAFKA_BROKERS": "b:9092", "KAFKA_TOPIC": "delivery.events", "KAFKA_DEADLETTER_TOPIC": "delivery.deadletters",
			"KAFKA_CHECKPOINT_TOPIC": "delivery.checkpoints", "KAFKA_DELIVERY": "idempotent", "KAFKA_TRANSACTIONAL_ID": "", "KAFKA_COMPRESSION": "lz4",
			"KAFKA_SASL_MECHANISM": "", "KAFKA_SASL_USERNAME": "", "KAFKA_SASL_PASSWORD": "", "KAFKA_TLS": "false", "KAFKA_TLS_CA": "", "KAFKA_TLS_CERT": "",
			"KAFKA_TLS_KEY": "", "KAFKA_CREATE_TOPICS": "true", "KAFKA_PARTITIONS": "0", "KAFKA_REPLICATION_FACTOR": "0",
		},
		"file":   {"FILE_PATH": "events.ndjson", "FILE_ROTATE_BYTES": "0"},
		"stdout": {},
	}
	for sink, more := range sinks {
		cfg, err := config.Load(with("CONNECTOR_SINK="+sink), catalog)
		if err != nil {
			t.Fatal(err)
		}
		want["CONNECTOR_SINK"] = sink
		got := cfg.Effective()
		for _, s := range got {
			w, ok := want[s.Variable]
			if !ok {
				w, ok = more[s.Variable]
			}
			if !ok || s.Value != w {
				t.Errorf("sink %s: got %s=%s, want %q (known: %v)", sink, s.Variable, s.Value, w, ok)
			}
			if s.Meaning == "" || strings.HasSuffix(s.Variable, "_FILE") {
				t.Errorf("%s: no desc, or a name that X_FILE makes ambiguous", s.Variable)
			}
		}
		if len(got) != len(want)+len(more) {
			t.Errorf("sink %s: got %d variables, want %d", sink, len(got), len(want)+len(more))
		}
	}
}

func TestTypedValues(t *testing.T) {
	cfg, err := config.Load(with("CONNECTOR_SOURCES=otp=submail,hq=ekuaibao", "CONNECTOR_SINK=kafka", "HQ_MESSAGE_TYPES=flow, datalink", "HQ_LAG=7s", "KAFKA_BROKERS=a:1, b:2"), catalog)
	if err != nil {
		t.Fatal(err)
	}
	if got := cfg.Accounts; len(got) != 2 || got[0].Name != "otp" || got[0].Kind != "submail" || got[1].Name != "hq" || got[1].Kind != "ekuaibao" {
		t.Fatalf("got accounts %v", got)
	}
	if got := cfg.Accounts[0].Config.(*submail.Config); got.AppKey.Reveal() != "appkey-canary" || got.Rows != 1000 {
		t.Errorf("got %+v", got)
	}
	hq := cfg.Accounts[1].Config.(*ekuaibao.Config)
	if got := hq.MessageTypes; !slices.Equal(got, ekuaibao.MessageTypes{"flow", "dataLink"}) {
		t.Errorf("got message types %v", got)
	}
	if got := cfg.Accounts[1].Common; got != hq.Common || got.Lag.Seconds() != 7 {
		t.Errorf("got common %v", got)
	}
	if got := cfg.Sink.(*kafka.Config).Brokers; !slices.Equal(got, config.HostPorts{"a:1", "b:2"}) {
		t.Errorf("got brokers %v", got)
	}
}

func TestSectionRules(t *testing.T) {
	dir := t.TempDir()
	pem := filepath.Join(dir, "pem")
	if err := os.WriteFile(pem, []byte("-----BEGIN CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing")
	const server, seed = "NATS_URL=nats://n:4222", "NATS_NKEY=SUAMK2FG4MI6UE3ACF3FK3OIQBCEIEZV7NSWFFEW63UXMRLFM2XLAXK4GY"
	tests := []struct {
		sink    string
		environ []string
		want    string // the variables at fault, in order
		says    string // part of the first message
	}{
		{"nats", nil, "", ""},

		{"nats", []string{"HQ_APP_SECURITY="}, "HQ_APP_SECURITY", "is required with HQ_APP_KEY"},
		{"nats", []string{"HQ_APP_KEY="}, "HQ_APP_KEY", "is required with HQ_APP_SECURITY"},
		{"nats", []string{"HQ_APP_KEY=", "HQ_APP_SECURITY="}, "HQ_APP_KEY", "together with HQ_APP_SECURITY; or set HQ_ACCESS_TOKEN"},
		{"nats", []string{"HQ_APP_KEY=", "HQ_APP_SECURITY=", "HQ_ACCESS_TOKEN=token-canary"}, "", ""},
		{"nats", []string{"HQ_ACCESS_TOKEN=token-canary"}, "HQ_ACCESS_TOKEN", "either this, or HQ_APP_KEY"},
		{"nats", []string{"HQ_APP_KEY=", "HQ_ACCESS_TOKEN=token-canary"}, "HQ_ACCESS_TOKEN", "HQ_APP_KEY and HQ_APP_SECURITY"},
		{"nats", []string{"HQ_APP_KEY=", "HQ_APP_SECURITY=", "HQ_ACCESS_TOKEN_FILE=" + missing}, "HQ_ACCESS_TOKEN_FILE", "no such file"},
		{"nats", []string{"HQ_APP_SECURITY=", "HQ_APP_SECURITY_FILE=" + missing}, "HQ_APP_SECURITY_FILE", "no such file"},
		{"nats", []string{"HQ_BASE_URL=https://u:p-canary@h"}, "HQ_BASE_URL", "user or password"},
		{"nats", []string{"HQ_MESSAGE_TYPES=flow,flows"}, "HQ_MESSAGE_TYPES", "InternalMessage"},
		{"nats", []string{"HQ_MESSAGE_TYPES=flow,Flow"}, "HQ_MESSAGE_TYPES", "twice"},
		{"nats", []string{"HQ_MESSAGE_TYPES=flow,,message"}, "HQ_MESSAGE_TYPES", "empty item"},
		{"nats", []string{"HQ_POLL_INTERVAL=0s"}, "HQ_POLL_INTERVAL", "more than 0"},
		{"nats", []string{"HQ_RATE=0"}, "HQ_RATE", "more than 0"},
		{"nats", []string{"HQ_RATE=NaN"}, "HQ_RATE", "more than 0"},
		{"nats", []string{"HQ_RATE=1001"}, "HQ_RATE", "at most 1000"},
		{"nats", []string{"HQ_RATE=0.5"}, "", ""},
		{"nats", []string{"HQ_LAG=-1s"}, "HQ_LAG", "negative"},
		{"nats", []string{"HQ_LAG=0s"}, "", ""},
		{"nats", []string{"HQ_LAG=30m"}, "HQ_LATENESS", "longer than HQ_LAG"},
		{"nats", []string{"HQ_LATENESS=73h"}, "HQ_GIVE_UP", "at least HQ_LATENESS"},
		{"nats", []string{"HQ_LATENESS=72h"}, "", ""},
		{"nats", []string{"HQ_MAX_ROW_BYTES=1023"}, "HQ_MAX_ROW_BYTES", "1KiB"},
		{"nats", []string{"HQ_MAX_ROW_BYTES=1025MiB"}, "HQ_MAX_ROW_BYTES", "1GiB"},
		{"nats", []string{"HQ_PROXY_URL=http://u:p-canary@proxy:3128"}, "", ""},
		{"nats", []string{"HQ_PROXY_URL=http://u:p-canary@proxy:x", "OTP_PROXY_URL=none"}, "HQ_PROXY_URL", "none, or a URL such as http://proxy:3128"},
		{"nats", []string{"HQ_CA=" + missing, "OTP_CA=" + pem}, "HQ_CA OTP_CA", "no such file"},
		{"nats", []string{"HQ_CA=-----BEGIN -canary", "HQ_PROXY_URL=ftp://p"}, "HQ_PROXY_URL HQ_CA", "use none"},
		{"nats", []string{"OTP_CA=-----BEGIN -canary"}, "OTP_CA", "no PEM certificate"},

		{"nats", []string{"OTP_APP_ID="}, "OTP_APP_ID", "is required"},
		{"nats", []string{"OTP_APP_KEY="}, "OTP_APP_KEY", "is required"},
		{"nats", []string{"OTP_ROWS=9"}, "OTP_ROWS", "10 to 1000"},
		{"nats", []string{"OTP_ROWS=1001"}, "OTP_ROWS", "10 to 1000"},
		{"nats", []string{"OTP_ROWS=10"}, "", ""},
		{"nats", []string{"OTP_ROWS=ten"}, "OTP_ROWS", "whole number"},
		{"nats", []string{"OTP_MIN_INTERVAL=0s"}, "OTP_MIN_INTERVAL", "more than 0"},
		{"nats", []string{"OTP_POLL_INTERVAL=59s"}, "OTP_POLL_INTERVAL", "at least OTP_MIN_INTERVAL"},
		{"nats", []string{"OTP_POLL_INTERVAL=59s", "OTP_MIN_INTERVAL=x"}, "OTP_MIN_INTERVAL", "duration"},
		{"nats", []string{"OTP_TIME_ZONE=Asia/Peking"}, "OTP_TIME_ZONE", "IANA"},
		{"nats", []string{"OTP_SIGN_TYPE=sha256"}, "OTP_SIGN_TYPE", "normal, md5 or sha1"},
		{"nats", []string{"OTP_FORMAT=yaml"}, "OTP_FORMAT", "json or xml"},
		{"nats", []string{"OTP_CONTENT_TYPE=text"}, "OTP_CONTENT_TYPE", "form, multipart or json"},
		{"nats", []string{"OTP_RESULT_STATUS=sent"}, "OTP_RESULT_STATUS", "delivered or dropped"},
		{"nats", []string{"OTP_API=sms"}, "OTP_API", "use log/message or sms/log"},
		{"nats", []string{"HQ_CORP_ID=corp "}, "HQ_CORP_ID", "white space"},
		{"nats", []string{"OTP_APP_ID=\t1"}, "OTP_APP_ID", "white space"},
		{"nats", []string{"OTP_API=sms/log", "OTP_PROJECT=x"}, "OTP_PROJECT", "OTP_API=sms/log has no such filter"},
		{"nats", []string{"OTP_BACKUP_URL=ftp://h"}, "OTP_BACKUP_URL", "https://"},

		{"nats", []string{server}, "", ""},
		{"nats", []string{"NATS_URL=nats://a:1, tls://b:2,ws://c,wss://d/path"}, "", ""},
		{"nats", []string{"NATS_URL=localhost:4222"}, "NATS_URL", "embedded, or"},
		{"nats", []string{"NATS_URL=embedded,nats://a:1"}, "NATS_URL", "embedded, or"},
		{"nats", []string{"NATS_URL=nats://"}, "NATS_URL", "nats://host"},
		{"nats", []string{"NATS_URL=nats://u:p-canary@a:1"}, "NATS_URL", "variables of their own"},
		{"nats", []string{"NATS_STREAM=a.b"}, "NATS_STREAM", "letters"},
		{"nats", []string{"NATS_SUBJECT_PREFIX=a.*"}, "NATS_SUBJECT_PREFIX", "dots"},
		{"nats", []string{"NATS_SUBJECT_PREFIX=a..b"}, "NATS_SUBJECT_PREFIX", "dots"},
		{"nats", []string{"NATS_SUBJECT_PREFIX=prod.delivery"}, "", ""},
		{"nats", []string{server, "NATS_USER=u"}, "NATS_PASSWORD", "required with NATS_USER"},
		{"nats", []string{server, "NATS_PASSWORD=p-canary"}, "NATS_USER", "required with NATS_PASSWORD"},
		{"nats", []string{server, "NATS_USER=u", "NATS_PASSWORD=p-canary"}, "", ""},
		{"nats", []string{server, "NATS_CERT=" + pem}, "NATS_KEY", "required with NATS_CERT"},
		{"nats", []string{server, "NATS_KEY=" + pem}, "NATS_CERT", "required with NATS_KEY"},
		{"nats", []string{server, "NATS_CERT=" + pem, "NATS_KEY=" + pem, "NATS_CA=" + pem}, "", ""},
		{"nats", []string{server, "NATS_CREDS=" + missing}, "NATS_CREDS", "no such file"},
		{"nats", []string{server, seed[:len(seed)-1]}, "NATS_NKEY", "not a whole seed"},
		{"nats", []string{server, "NATS_NKEY_FILE=" + missing}, "NATS_NKEY_FILE", "no such file"},
		{"nats", []string{"HQ_APP_KEY=", "HQ_APP_KEY_FILE=hq-canary"}, "HQ_APP_KEY_FILE", "cannot be read: no such file or directory"},
		{"nats", []string{server, "NATS_NKEY=" + missing}, "NATS_NKEY", "no such file"},
		{"nats", []string{server, "NATS_CA=" + missing}, "NATS_CA", "no such file"},
		{"nats", []string{server, "NATS_CERT=" + missing, "NATS_KEY=" + missing}, "NATS_CERT NATS_KEY", "no such file"},
		{"nats", []string{server, seed}, "", ""},
		{"nats", []string{server, seed, "NATS_TOKEN=t-canary"}, "NATS_TOKEN", "either this or NATS_NKEY"},
		{"nats", []string{server, "NATS_CREDS_FILE=" + pem, "NATS_TOKEN=t-canary", "NATS_USER=u", "NATS_PASSWORD=p"}, "NATS_TOKEN NATS_USER", "either this or NATS_CREDS"},
		{"nats", []string{"NATS_TOKEN=t-canary"}, "NATS_TOKEN", "set NATS_URL"},
		{"nats", []string{"NATS_TOKEN=t-canary", "NATS_URL=x"}, "NATS_URL", "embedded"},
		{"nats", []string{"NATS_CA=" + pem}, "NATS_CA", "set NATS_URL"},
		{"nats", []string{"NATS_CERT=" + pem, "NATS_KEY=" + pem}, "NATS_CERT", "set NATS_URL"},

		{"kafka", nil, "", ""},
		{"kafka", []string{"KAFKA_BROKERS="}, "KAFKA_BROKERS", "is required"},
		{"kafka", []string{"KAFKA_BROKERS=b"}, "KAFKA_BROKERS", "broker-1:9092"},
		{"kafka", []string{"KAFKA_TOPIC=a b"}, "KAFKA_TOPIC", "letters"},
		{"kafka", []string{"KAFKA_DEADLETTER_TOPIC=.."}, "KAFKA_DEADLETTER_TOPIC", "letters"},
		{"kafka", []string{"KAFKA_DEADLETTER_TOPIC=delivery.events"}, "KAFKA_DEADLETTER_TOPIC", "differ from KAFKA_TOPIC"},
		{"kafka", []string{"KAFKA_COMPRESSION=brotli"}, "KAFKA_COMPRESSION", "none, gzip, snappy, lz4 or zstd"},
		{"kafka", []string{"KAFKA_SASL_MECHANISM=plain", "KAFKA_SASL_USERNAME=u", "KAFKA_SASL_PASSWORD=p"}, "", ""},
		{"kafka", []string{"KAFKA_SASL_MECHANISM=PLAIN"}, "KAFKA_SASL_USERNAME KAFKA_SASL_PASSWORD", "required with KAFKA_SASL_MECHANISM"},
		{"kafka", []string{"KAFKA_SASL_USERNAME=u", "KAFKA_SASL_PASSWORD=p-canary"}, "KAFKA_SASL_USERNAME KAFKA_SASL_PASSWORD", "needs KAFKA_SASL_MECHANISM"},
		{"kafka", []string{"KAFKA_SASL_MECHANISM=GSSAPI", "KAFKA_SASL_USERNAME=u"}, "KAFKA_SASL_MECHANISM", "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"},
		{"kafka", []string{"KAFKA_TLS=yes"}, "KAFKA_TLS", "true or false"},
		{"kafka", []string{"KAFKA_TLS_CA=" + pem}, "KAFKA_TLS_CA", "needs KAFKA_TLS=true"},
		{"kafka", []string{"KAFKA_TLS_CERT=" + pem, "KAFKA_TLS_KEY=" + pem}, "KAFKA_TLS_CERT KAFKA_TLS_KEY", "needs KAFKA_TLS=true"},
		{"kafka", []string{"KAFKA_TLS=true", "KAFKA_TLS_CERT=" + pem}, "KAFKA_TLS_KEY", "required with KAFKA_TLS_CERT"},
		{"kafka", []string{"KAFKA_TLS=true", "KAFKA_TLS_KEY=" + pem}, "KAFKA_TLS_CERT", "required with KAFKA_TLS_KEY"},
		{"kafka", []string{"KAFKA_TLS=true", "KAFKA_TLS_CA=" + missing, "KAFKA_TLS_CERT=" + missing, "KAFKA_TLS_KEY=" + missing}, "KAFKA_TLS_CA KAFKA_TLS_CERT KAFKA_TLS_KEY", "no such file"},
		{"kafka", []string{"KAFKA_TLS=true", "KAFKA_TLS_CA=" + pem, "KAFKA_TLS_CERT=" + pem, "KAFKA_TLS_KEY=" + pem}, "", ""},
		{"kafka", []string{"KAFKA_PARTITIONS=-1"}, "KAFKA_PARTITIONS", "negative"},
		{"kafka", []string{"KAFKA_REPLICATION_FACTOR=40000"}, "KAFKA_REPLICATION_FACTOR", "0 to 32767"},
		{"kafka", []string{"KAFKA_CREATE_TOPICS=maybe"}, "KAFKA_CREATE_TOPICS", "true or false"},

		{"file", nil, "", ""},
		{"file", []string{"FILE_PATH="}, "FILE_PATH", "is required"},
		{"stdout", []string{"FILE_PATH="}, "", ""},
		{"nats", []string{"FILE_PATH=", "KAFKA_BROKERS=nonsense"}, "", ""}, // not the chosen sink
	}
	for _, tt := range tests {
		_, err := config.Load(with(append(tt.environ, "CONNECTOR_SINK="+tt.sink)...), catalog)
		faults := faultsOf(t, err)
		if got := variables(faults); got != tt.want {
			t.Errorf("%s %v: got faults of %q, want %q: %v", tt.sink, tt.environ, got, tt.want, err)
		} else if tt.want != "" && !strings.Contains(faults[0].Message, tt.says) {
			t.Errorf("%s %v: got %q, want %q in it", tt.sink, tt.environ, faults[0].Message, tt.says)
		}
		if err != nil && strings.Contains(err.Error(), "-canary") {
			t.Errorf("%s %v: the error holds a secret: %v", tt.sink, tt.environ, err)
		}
	}
}

func TestSubmailBaseURLs(t *testing.T) {
	tests := []struct {
		environ []string
		want    []config.URL
	}{
		{nil, []config.URL{"https://api.mysubmail.com", "https://api.submail.cn"}},
		{[]string{"OTP_BASE_URL=http://sim:1/"}, []config.URL{"http://sim:1"}},
		{[]string{"OTP_BASE_URL=http://sim:1", "OTP_BACKUP_URL=http://sim:2"}, []config.URL{"http://sim:1", "http://sim:2"}},
		{[]string{"OTP_BACKUP_URL=https://api.mysubmail.com/"}, []config.URL{"https://api.mysubmail.com"}},
		{[]string{"OTP_BASE_URL=https://api.mysubmail.com/"}, []config.URL{"https://api.mysubmail.com", "https://api.submail.cn"}},
		{[]string{"OTP_BASE_URL=https://api.submail.cn"}, []config.URL{"https://api.submail.cn"}},
		{[]string{"OTP_API=sms/log"}, []config.URL{"https://api-v4.mysubmail.com"}},
		{[]string{"OTP_API=sms/log", "OTP_BACKUP_URL=http://sim:2"}, []config.URL{"https://api-v4.mysubmail.com", "http://sim:2"}},
		{[]string{"OTP_API=sms/log", "OTP_BASE_URL=http://sim:1"}, []config.URL{"http://sim:1"}},
		{[]string{"OTP_API=sms/log", "OTP_BASE_URL=https://api.mysubmail.com"}, []config.URL{"https://api.mysubmail.com"}},
	}
	for _, tt := range tests {
		cfg, err := config.Load(with(tt.environ...), catalog)
		if err != nil {
			t.Fatal(err)
		}
		if got := cfg.Accounts[1].Config.(*submail.Config).BaseURLs(); !slices.Equal(got, tt.want) {
			t.Errorf("%v: got %v, want %v", tt.environ, got, tt.want)
		}
	}
}

func TestRender(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte("appkey-canary\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := with("CONNECTOR_SINK=nats", "CONNECTOR_START=2026-01-31T08:00:00+08:00", "OTP_APP_KEY=", "OTP_APP_KEY_FILE="+path,
		"OTP_PROJECT=it's $HOME", "OTP_APP_ID=****", "NATS_URL=tls://a:1,tls://b:1", "NATS_CREDS=-----BEGIN x\ny-canary", "HQ_LATENESS=1h30m",
		"HQ_PROXY_URL=http://u-canary:p-canary@proxy:3128", "OTP_PROXY_URL=socks5://proxy:1080")
	cfg, err := config.Load(environ, catalog)
	if err != nil {
		t.Fatal(err)
	}
	outputs := map[string]string{}
	for _, format := range []string{"env", "json", "markdown"} {
		var b bytes.Buffer
		if err := config.Render(&b, format, cfg.Effective()); err != nil {
			t.Fatal(err)
		}
		outputs[format] = b.String()
		if strings.Contains(outputs[format], "-canary") {
			t.Errorf("%s holds a secret:\n%s", format, &b)
		}
	}
	for _, want := range []string{"\n# HQ_APP_KEY=**** (secret)\n", "\nOTP_APP_KEY_FILE=" + path + "\n", "\n# HQ_PROXY_URL=http://****@proxy:3128 (secret)\n", "\nOTP_PROXY_URL=socks5://proxy:1080\n", "\nOTP_PROJECT='it'\\''s $HOME'\n", "\n# OTP_RECIPIENT=\n", "\nNATS_SUBJECT_PREFIX=delivery\n"} {
		if !strings.Contains(outputs["env"], want) {
			t.Errorf("env: want %q in\n%s", want, outputs["env"])
		}
	}
	for _, want := range []string{"| `OTP_APP_KEY` | `****` | file |\n", "| `OTP_PROJECT` | `it's $HOME` | env |\n", "| `OTP_ROWS` | `1000` | default |\n"} {
		if !strings.Contains(outputs["markdown"], want) {
			t.Errorf("markdown: want %q in\n%s", want, outputs["markdown"])
		}
	}
	var settings []config.Setting
	if err := json.Unmarshal([]byte(outputs["json"]), &settings); err != nil || !slices.Equal(settings, cfg.Effective()) {
		t.Errorf("json: got %v, %v", settings, err)
	}
	if i := slices.IndexFunc(settings, func(s config.Setting) bool { return s.Variable == "HQ_LATENESS" }); settings[i].Value != "1h30m" || settings[i].Default != "30m" || settings[i].Origin != "env" {
		t.Errorf("got %+v", settings[i])
	}
	if err := config.Render(&bytes.Buffer{}, "yaml", settings); err == nil || !strings.Contains(err.Error(), "env, json or markdown") {
		t.Errorf("yaml: got %v", err)
	}

	again, err := config.Load(append(sourced(t, outputs["env"]), "HQ_APP_KEY=k", "HQ_APP_SECURITY=s", "OTP_APP_ID=****", "NATS_CREDS=-----BEGIN", "HQ_PROXY_URL=http://p@proxy:3128"), catalog)
	if err != nil {
		t.Fatal(err)
	}
	for i, got := range again.Effective() {
		if want := cfg.Effective()[i]; got.Variable != want.Variable || got.Value != want.Value || got.File != want.File {
			t.Errorf("loaded again: got %+v, want %+v", got, want)
		}
	}
}

// sourced returns the environment after a shell has run assignments.
func sourced(t *testing.T, assignments string) []string {
	t.Helper()
	script := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(script, []byte(assignments), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `set -eua; . "$1"; exec env -0`, "sh", script)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimRight(string(out), "\x00"), "\x00")
}

func TestReference(t *testing.T) {
	got := config.Reference(catalog)
	for _, want := range []string{
		"## Connector\n", "## Account of kind `ekuaibao`\n\nReads failed calls. `<NAME>` is", "## Sink `stdout`\n\nPrints. It has no variables.\n",
		"| `CONNECTOR_START` | a duration back from now", "| `24h` | Where a stream",
		"| `<NAME>_LAG` | a duration such as 30s, 5m or 72h | `10s` | How close",
		"| `<NAME>_APP_KEY` | text, kept secret |  | Required.", "| `<NAME>_MAX_ROW_BYTES` | a size such as 4MiB, 256KiB or 4194304 | `4MiB` |",
		"| `NATS_URL` | embedded, or a list", "| `KAFKA_SASL_MECHANISM` | PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 |  |", "| `FILE_PATH` | text |  | Required.",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("want %q in\n%s", want, got)
		}
	}
	if again := config.Reference(catalog); again != got {
		t.Error("the reference changes from run to run")
	}
}

func faultsOf(t *testing.T, err error) []config.Fault {
	t.Helper()
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*config.Error](err)
	if !ok {
		t.Fatalf("got %T, want *config.Error: %v", err, err)
	}
	return e.Faults
}

func variables(faults []config.Fault) string {
	var names []string
	for _, f := range faults {
		names = append(names, f.Variable)
	}
	return strings.Join(names, " ")
}
