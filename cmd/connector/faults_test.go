package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestMistakes makes the mistakes users make: each must give one clear line
// that names the fix, and the right exit code.
func TestMistakes(t *testing.T) {
	_, _, good := simulators(t, 5)
	taken := listener(t)
	t.Cleanup(func() { _ = taken.Close() })
	silent := listener(t)
	unused := silent.Addr().String()
	_ = silent.Close()
	only := func(account string) []string { return with(good, "CONNECTOR_SOURCES="+account) }
	hq, otp := drop(only("hq=ekuaibao"), "OTP_"), drop(only("otp=submail"), "HQ_")
	tests := []struct {
		name string
		vars []string
		args string
		code int
		want []string
	}{
		{"nothing set", nil, "run", exitUsage, []string{"CONNECTOR_SOURCES", "ekuaibao,submail"}},
		{"a typo", with(hq, "HQ_APP_SECURTY=x"), "run", exitUsage, []string{"HQ_APP_SECURTY", "did you mean HQ_APP_SECURITY"}},
		{"several faults", with(hq, "HQ_APP_KEY=", "HQ_LAG=soon", "CONNECTOR_SINK=kafka"), "run", exitUsage, []string{"HQ_APP_KEY", "HQ_LAG", "KAFKA_BROKERS"}},
		{"wrong ekuaibao key", with(hq, "HQ_APP_SECURITY=canary"), "run", exitFailed, []string{"HQ_APP_KEY", "HQ_APP_SECURITY"}},
		{"wrong SUBMAIL key", with(otp, "OTP_APP_KEY=canary"), "run", exitFailed, []string{"OTP_APP_KEY"}},
		{"wrong URL path", with(otp, "OTP_BASE_URL="+value(hq, "HQ_BASE_URL")), "check", exitFailed, []string{"OTP_BASE_URL"}},
		{"unreachable provider", with(hq, "HQ_BASE_URL=http://"+unused), "check", exitFailed, []string{"HQ_BASE_URL", unused}},
		{"unreachable SUBMAIL", with(otp, "OTP_BASE_URL=http://"+unused), "check", exitFailed, []string{"OTP_BASE_URL", unused}},
		{"unreachable NATS", with(hq, "NATS_URL=nats://"+unused), "run", exitFailed, []string{"NATS_URL", unused}},
		{"unreachable Kafka", with(hq, "CONNECTOR_SINK=kafka", "KAFKA_BROKERS="+unused), "run", exitFailed, []string{"KAFKA_BROKERS", unused}},
		{"port taken", with(hq, "CONNECTOR_HTTP_ADDR="+taken.Addr().String()), "run", exitFailed, []string{"CONNECTOR_HTTP_ADDR", taken.Addr().String()}},
		{"tail of stdout", []string{"CONNECTOR_SINK=stdout"}, "tail", exitUsage, []string{"cannot be read", "CONNECTOR_SINK"}},
		{"tail without a server", []string{"CONNECTOR_DATA_DIR=" + t.TempDir()}, "tail", exitFailed, []string{"CONNECTOR_DATA_DIR"}},
		{"unknown verb", nil, "runn", exitUsage, []string{"runn", "--help"}},
		{"unknown flag", nil, "run --twice", exitUsage, []string{"--twice", "connector run --help"}},
		{"unknown format", nil, "version --output yaml", exitUsage, []string{`--output "yaml": use text or json`}},
		{"unknown format of three", nil, "config --output yaml", exitUsage, []string{"use env, json or markdown"}},
		{"negative time", nil, "demo --for -5s", exitUsage, []string{"--for -5s", "until Ctrl-C"}},
		{"key in place of its file", with(hq, "HQ_APP_KEY=", "HQ_APP_KEY_FILE=canary"), "check", exitUsage, []string{"HQ_APP_KEY_FILE: cannot be read: no such file"}},
		{"data directory that is a file", with(hq, "CONNECTOR_SINK=stdout", "CONNECTOR_DATA_DIR="+os.Args[0]), "check", exitFailed, []string{"FAIL  checkpoint", "CONNECTOR_DATA_DIR"}},
		{"variable of another sink", with(hq, "KAFKA_TOPIC=x"), "config", exitOK, []string{"connector: warning: KAFKA_TOPIC is ignored"}},
		{"variable of another sink, checked", with(hq, "KAFKA_TOPIC=x"), "check", exitOK, []string{"connector: warning: KAFKA_TOPIC is ignored"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			code, stdout, stderr := command(ctx, with(tt.vars, dataDir(t, tt.vars)...), strings.Fields(tt.args)...)
			if code != tt.code {
				t.Errorf("got code %d, want %d; stdout:\n%s\nstderr:\n%s", code, tt.code, stdout, stderr)
			}
			if ctx.Err() != nil {
				t.Error("did not end by itself")
			}
			wantLines(t, "output", stdout+stderr, tt.want...)
			if strings.Contains(stdout+stderr, "canary") {
				t.Error("the output holds a secret")
			}
			t.Log(stdout + stderr)
		})
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	_, _, vars := simulators(t, 5)
	code, stdout, stderr := command(t.Context(), vars, "check")
	if code != exitOK {
		t.Errorf("got code %d, want 0; stderr:\n%s", code, stderr)
	}
	wantLines(t, "check", stdout, "ok    sink/nats", "ok    checkpoint", "ok    hq/flow", "ok    otp/sms", "ok    hq  ", "ok    otp  ", "requests a day")
	_, stdout, _ = command(t.Context(), vars, "check", "--output", "json")
	wantLines(t, "check --output json", stdout, `{"subject":"sink/nats","result":"ok"`)
}

// TestCheckBesideRun must not call faulty what a running connector holds.
func TestCheckBesideRun(t *testing.T) {
	t.Parallel()
	for _, sink := range []string{"nats", "file"} {
		t.Run(sink, func(t *testing.T) {
			t.Parallel()
			_, _, vars := simulators(t, 5)
			vars = with(vars, "CONNECTOR_SINK="+sink)
			if sink == "file" {
				vars = with(vars, "FILE_PATH="+filepath.Join(t.TempDir(), "events.ndjson"))
			}
			c := start(t, vars, "run")
			c.ready(t)
			code, stdout, stderr := command(t.Context(), vars, "check")
			if code != exitOK {
				t.Errorf("got code %d, want 0; stderr:\n%s", code, stderr)
			}
			inUse := "- +%s +in use by a running connector"
			checkpoint := map[string]string{"nats": `ok +%s +readable; owner .* pid \d+`, "file": inUse}[sink] // NATS can be asked
			for line, want := range map[string]string{"sink/" + sink: inUse, "checkpoint": checkpoint} {
				if want = fmt.Sprintf(want, line); !regexp.MustCompile(`(?m)^` + want).MatchString(stdout) {
					t.Errorf("got\n%s\nwant %s", stdout, want)
				}
			}
		})
	}
}

// drop returns vars without those of a prefix.
func drop(vars []string, prefix string) []string {
	var list []string
	for _, v := range vars {
		if !strings.HasPrefix(v, prefix) {
			list = append(list, v)
		}
	}
	return list
}

func value(vars []string, name string) string {
	for _, v := range vars {
		if rest, ok := strings.CutPrefix(v, name+"="); ok {
			return rest
		}
	}
	return ""
}

// dataDir gives each parallel case with a configuration a folder of its own.
func dataDir(t *testing.T, vars []string) []string {
	if value(vars, "CONNECTOR_SOURCES") == "" || value(vars, "CONNECTOR_DATA_DIR") == os.Args[0] {
		return nil
	}
	return []string{"CONNECTOR_DATA_DIR=" + t.TempDir()}
}
