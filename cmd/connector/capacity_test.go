package main

import (
	"log/slog"
	"testing"

	"connector/internal/config"
)

// TestCapacity checks what is said of the default budgets, and of shared and
// exhausted ones.
func TestCapacity(t *testing.T) {
	hq, otp := []string{"HQ_APP_KEY=canary", "HQ_APP_SECURITY=canary"}, []string{"OTP_APP_ID=1", "OTP_APP_KEY=canary", "BULK_APP_ID=1", "BULK_APP_KEY=canary"}
	tests := []struct {
		name, sources string
		vars          []string
		want          string // of the first account
	}{
		{"SUBMAIL", "otp=submail", otp[:2], "1440 requests a day, 720 of them polls; the others read at most 720000 rows a day, those read again included"},
		{"small pages", "otp=submail", with(otp[:2], "OTP_ROWS=100", "OTP_POLL_INTERVAL=1h"), "1440 requests a day, 24 of them polls; the others read at most 141600 rows a day, those read again included"},
		{"nothing left", "otp=submail", with(otp[:2], "OTP_POLL_INTERVAL=1m"), "1440 requests a day, 1440 polls want them all: rows come late, older ones are not read again; raise POLL_INTERVAL of each account"},
		{"shared", "otp=submail,bulk=submail", with(otp, "BULK_POLL_INTERVAL=10m", "BULK_MIN_INTERVAL=90s"), "960 requests a day shared by otp, bulk, 864 of them polls; the others read at most 96000 rows a day, those read again included"},
		{"ekuaibao", "hq=ekuaibao", hq, "432000 requests a day, 17280 of them polls; the rows of an answer have no known limit"},
	}
	for _, tt := range tests {
		cfg, err := config.Load(append([]string{"CONNECTOR_SOURCES=" + tt.sources}, tt.vars...), configCatalog())
		if err != nil {
			t.Fatal(err)
		}
		first := openAccounts(cfg, environment{log: slog.New(slog.DiscardHandler), connections: new(connections)})[0]
		if first.err != nil {
			t.Fatal(first.err)
		}
		if got := first.capacity(); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
