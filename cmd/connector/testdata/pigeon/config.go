package pigeon

import (
	"time"

	"connector/internal/config"
	"connector/internal/secret"
)

// Config is the section of one Pigeon account.
type Config struct {
	BaseURL     config.URL    `split_words:"true" default:"https://api.pigeon.example" desc:"Address of the API."`
	APIKey      secret.String `split_words:"true" desc:"Required. Key of the API."`
	MinInterval time.Duration `split_words:"true" default:"1s" desc:"Least time from one request to the next."`
	config.Common
}

// Doc says what the section is for, in the reference of the configuration.
const Doc = "Reads the log of push notifications of Pigeon, stream push."

// NewConfig returns a section with the defaults of the common variables.
func NewConfig() config.AccountConfig {
	return &Config{Common: config.Common{PollInterval: time.Minute, Lag: 5 * time.Second, Lateness: 10 * time.Minute, GiveUp: 24 * time.Hour, MaxRowBytes: 64 * config.KiB}}
}

// Validate reports broken rules.
func (c *Config) Validate(v *config.Faults) {
	v.Check(!c.APIKey.IsZero(), "API_KEY", "is required")
	v.Check(c.MinInterval > 0, "MIN_INTERVAL", "must be more than 0")
}

// Secret implements [config.AccountConfig].
func (c *Config) Secret() secret.String { return c.APIKey }

// Budget implements [config.AccountConfig].
func (c *Config) Budget() config.Budget {
	return config.Budget{Credential: config.Credential(string(c.BaseURL), c.APIKey.Reveal()), Every: c.MinInterval, Rows: pageRows}
}
