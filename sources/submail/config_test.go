package submail

import (
	"slices"
	"testing"

	"connector/internal/config"
)

// TestCredential has accounts with one appid: they share a budget, whichever of the vendor's hosts they read from.
func TestCredential(t *testing.T) {
	credential := func(api API, base config.URL, appID string) string {
		return (&Config{API: api, BaseURL: base, AppID: appID}).Budget().Credential
	}
	want := credential(APILogMessage, "", "1")
	for _, c := range []struct {
		api   API
		base  config.URL
		appID string
		same  bool
	}{
		{APISMSLog, "", "1", true}, {APISMSLog, "https://api-v4.mysubmail.com", "1", true}, {APILogMessage, "https://api.submail.cn", "1", true},
		{APILogMessage, "https://api.mysubmail.com", "1", true}, {APISMSLog, "", "2", false}, {APISMSLog, "https://proxy", "1", false},
	} {
		if got := credential(c.api, c.base, c.appID) == want; got != c.same {
			t.Errorf("%+v: got the same credential %v", c, got)
		}
	}
	if credential(APILogMessage, "https://proxy", "1") != credential(APISMSLog, "https://proxy", "1") {
		t.Error("two calls at one address have two budgets")
	}
}

func TestOther(t *testing.T) {
	tests := []struct {
		name  string
		cfg   Config
		hosts []config.URL
		ok    bool
	}{
		{"the vendor's", Config{API: APILogMessage}, []config.URL{"https://api-v4.mysubmail.com"}, true},
		{"and back", Config{API: APISMSLog}, []config.URL{"https://api.mysubmail.com", "https://api.submail.cn"}, true},
		{"named", Config{API: APILogMessage, BaseURL: "https://api.mysubmail.com", BackupURL: "https://api.submail.cn"}, []config.URL{"https://api-v4.mysubmail.com"}, true},
		{"another", Config{API: APILogMessage, BaseURL: "http://proxy"}, []config.URL{"http://proxy"}, true},
		{"another, with backup", Config{API: APISMSLog, BaseURL: "http://proxy", BackupURL: "http://backup"}, []config.URL{"http://proxy", "http://backup"}, true},
		{"another and the vendor's backup", Config{API: APILogMessage, BaseURL: "http://proxy", BackupURL: "https://api.submail.cn"}, []config.URL{"http://proxy"}, true},
		{"a filter that it lacks", Config{API: APILogMessage, Project: "x"}, []config.URL{"https://api-v4.mysubmail.com"}, false},
	}
	for _, tt := range tests {
		before := tt.cfg
		got, setting, ok := tt.cfg.Other()
		if ok != tt.ok || got.API == tt.cfg.API || setting != "API="+string(got.API) || !slices.Equal(got.BaseURLs(), tt.hosts) {
			t.Errorf("%s: got %s at %v, %v, want %v", tt.name, got.API, got.BaseURLs(), ok, tt.hosts)
		}
		if tt.cfg != before {
			t.Errorf("%s: the configuration itself changed", tt.name)
		}
	}
}
