package main

import (
	"fmt"
	"testing"

	"golang.org/x/time/rate"

	"connector/internal/config"
)

// TestLimitersFollowCredentials: accounts with one credential share a budget,
// the smaller of theirs (invariant 7).
func TestLimitersFollowCredentials(t *testing.T) {
	cfg, err := config.Load([]string{
		"CONNECTOR_SOURCES=a=submail,b=submail,c=submail,d=ekuaibao,e=ekuaibao",
		"A_APP_ID=1", "A_APP_KEY=canary", "A_MIN_INTERVAL=10s", "B_APP_ID=1", "B_APP_KEY=canary", "B_MIN_INTERVAL=30s", "C_APP_ID=2", "C_APP_KEY=canary",
		"D_APP_KEY=canary", "D_APP_SECURITY=s", "D_RATE=2", "E_ACCESS_TOKEN=canary",
	}, configCatalog())
	if err != nil {
		t.Fatal(err)
	}
	limiters := newLimiters(cfg.Accounts)
	of := map[string]*rate.Limiter{}
	for _, a := range cfg.Accounts {
		of[a.Name] = limiters[a.Config.Budget().Credential]
	}
	if of["a"] != of["b"] || of["a"] == of["c"] || of["d"] == of["e"] || len(limiters) != 4 {
		t.Errorf("got %d limiters %v, want one of a and b, and one of each other", len(limiters), of)
	}
	for name, want := range map[string]rate.Limit{"a": 1. / 30, "c": 1. / 60, "d": 2, "e": 5} {
		if got := of[name].Limit(); fmt.Sprintf("%.6f", got) != fmt.Sprintf("%.6f", want) {
			t.Errorf("account %s: got %v requests a second, want %v", name, got, want)
		}
	}
}
