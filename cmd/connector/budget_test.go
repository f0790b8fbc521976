package main

import (
	"testing"
	"time"

	"connector/internal/budget"
	"connector/internal/config"
)

// TestBudgetsFollowCredentials: accounts with one credential share a budget,
// the smaller of theirs (invariant 7).
func TestBudgetsFollowCredentials(t *testing.T) {
	cfg, err := config.Load([]string{
		"CONNECTOR_SOURCES=a=submail,b=submail,c=submail,d=ekuaibao,e=ekuaibao,f=ekuaibao",
		"A_APP_ID=1", "A_APP_KEY=canary", "A_MIN_INTERVAL=10s", "B_APP_ID=1", "B_APP_KEY=canary", "B_MIN_INTERVAL=30s", "C_APP_ID=2", "C_APP_KEY=canary",
		"D_APP_KEY=canary", "D_APP_SECURITY=canary", "D_RATE=2", "E_ACCESS_TOKEN=canary", "E_RATE=1e-12",
		"F_APP_KEY=canary", "F_APP_SECURITY=canary", "F_CORP_ID=x",
	}, configCatalog())
	if err != nil {
		t.Fatal(err)
	}
	budgets := newBudgets(cfg.Accounts)
	of := map[string]*budget.Budget{}
	for _, a := range cfg.Accounts {
		of[a.Name] = budgets[a.Config.Budget().Credential]
	}
	if of["a"] != of["b"] || of["a"] == of["c"] || of["d"] == of["e"] || of["d"] != of["f"] || len(budgets) != 4 {
		t.Errorf("got %d budgets %v, want one of a and b, one of d and f, and one of each other", len(budgets), of)
	}
	for name, want := range map[string]time.Duration{"a": 30 * time.Second, "c": time.Minute, "d": time.Second / 2, "e": 365 * 24 * time.Hour} {
		if got := of[name].Every(); got != want {
			t.Errorf("account %s: got a request every %v, want %v", name, got, want)
		}
	}
}
