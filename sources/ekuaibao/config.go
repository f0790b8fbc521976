package ekuaibao

import (
	"strings"
	"time"

	"connector/internal/config"
	"connector/internal/secret"
)

// Config is the section of one ekuaibao account. Either AppKey and AppSecurity
// are set, or AccessToken.
type Config struct {
	BaseURL      config.URL    `split_words:"true" desc:"Address of the tenant, such as https://dd2.hosecloud.com. Unset, it is found by the id of the company if that is set, else it is https://app.ekuaibao.com."`
	CorpID       string        `split_words:"true" desc:"Id of the company, as ekuaibao's desktop client shows it. Unless the address is set, it is asked for by this id. Rows and access tokens of another company are a fatal error."`
	LocationURL  config.URL    `split_words:"true" default:"https://app.ekuaibao.com" desc:"Server that is asked for the address by the id of the company."`
	AppKey       secret.String `split_words:"true" desc:"Key to get access tokens with. Required unless an access token is set."`
	AppSecurity  secret.String `split_words:"true" desc:"The secret that belongs to the key."`
	AccessToken  secret.String `split_words:"true" desc:"A fixed access token instead of key and secret; reading ends when it expires."`
	MessageTypes MessageTypes  `split_words:"true" default:"message,dataLink,message_center,repayment,flow,InternalMessage" desc:"Which logs to read; each is a stream."`
	Rate         float64       `split_words:"true" default:"5" desc:"Most requests per second, more than 0 and at most 1000."`
	config.Common
}

// defaultURL is the address of tenants of ekuaibao itself, not of a platform
// such as DingTalk.
const defaultURL = "https://app.ekuaibao.com"

// address returns the base URL, "" if it is to be found by the company.
func (c *Config) address() string {
	if c.BaseURL == "" && c.CorpID == "" {
		return defaultURL
	}
	return string(c.BaseURL)
}

// maxEvery is the interval of the lowest rates, whose own is no time.Duration.
const maxEvery = 365 * 24 * time.Hour

// Doc says what the section is for, in the reference of the configuration.
const Doc = "Reads the log of failed outbound messages of ekuaibao, one stream per message type."

// NewConfig returns a section with the defaults of the common variables.
func NewConfig() config.AccountConfig {
	return &Config{Common: config.Common{PollInterval: 30 * time.Second, Lag: 5 * time.Second, Lateness: 30 * time.Minute, GiveUp: 72 * time.Hour, MaxRowBytes: 4 * config.MiB}}
}

// Validate reports broken rules.
func (c *Config) Validate(v *config.Faults) {
	key, security, token := !c.AppKey.IsZero(), !c.AppSecurity.IsZero(), !c.AccessToken.IsZero()
	switch {
	case token && (key || security):
		v.Add("ACCESS_TOKEN", "set either this, or %s and %s", "APP_KEY", "APP_SECURITY")
	case token:
	case !key && !security:
		v.Add("APP_KEY", "is required, together with %s; or set %s", "APP_SECURITY", "ACCESS_TOKEN")
	case !key:
		v.Add("APP_KEY", "is required with %s", "APP_SECURITY")
	case !security:
		v.Add("APP_SECURITY", "is required with %s", "APP_KEY")
	}
	v.Check(strings.TrimSpace(c.CorpID) == c.CorpID, "CORP_ID", "must not begin or end with white space")
	v.Check(c.Rate > 0 && c.Rate <= 1000, "RATE", "use a number more than 0 and at most 1000")
}

// Budget implements [config.AccountConfig]. A key is one company's, whichever
// address leads to that.
func (c *Config) Budget() config.Budget {
	return config.Budget{
		Credential: config.Credential(System, c.AppKey.Reveal(), c.AccessToken.Reveal()),
		Every:      time.Duration(min(float64(time.Second)/c.Rate, float64(maxEvery))),
	}
}

// Secret implements [config.AccountConfig].
func (c *Config) Secret() secret.String {
	if c.AppSecurity.IsZero() {
		return c.AccessToken
	}
	return c.AppSecurity
}

// MessageTypes is a list of values of the API's parameter messageType.
type MessageTypes []string

// allMessageTypes are the values the API documents; it answers any other with no rows.
var allMessageTypes = []string{"message", "dataLink", "message_center", "repayment", "flow", "InternalMessage"}

// Decode reads a comma-separated list.
func (m *MessageTypes) Decode(value string) error {
	items, err := config.SplitList(value)
	if err != nil {
		return err
	}
	for i := range items {
		if err := config.OneOf(&items[i], items[i], allMessageTypes); err != nil {
			return err
		}
	}
	_, err = config.SplitList(strings.Join(items, ",")) // names that differed in case only
	*m = items
	return err
}

// String returns the list as Decode reads it.
func (m MessageTypes) String() string { return strings.Join(m, ",") }

// Accepts describes the values of the type.
func (MessageTypes) Accepts() string { return "a list of " + strings.Join(allMessageTypes, ", ") }
