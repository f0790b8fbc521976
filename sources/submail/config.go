package submail

import (
	"time"

	"connector/internal/config"
	"connector/internal/secret"
)

const (
	defaultBaseURL   = "https://api.mysubmail.com"
	defaultBackupURL = "https://api.submail.cn"
)

// Config is the section of one SUBMAIL account.
type Config struct {
	BaseURL      config.URL      `split_words:"true" default:"https://api.mysubmail.com" desc:"Address of the API."`
	BackupURL    config.URL      `split_words:"true" default:"https://api.submail.cn" desc:"Address that is tried when the first cannot be reached. Not used while it is the default and the first is not."`
	AppID        string          `split_words:"true" desc:"Required. The appid of the SMS application."`
	AppKey       secret.String   `split_words:"true" desc:"Required. The appkey of the SMS application."`
	SignType     SignType        `split_words:"true" default:"sha1" desc:"How requests are signed; normal sends the key itself."`
	Format       Format          `split_words:"true" default:"json" desc:"Format of the answers."`
	ContentType  ContentType     `split_words:"true" default:"form" desc:"Encoding of the requests."`
	Rows         int             `split_words:"true" default:"1000" desc:"Rows per page, 10 to 1000."`
	MinInterval  time.Duration   `split_words:"true" default:"60s" desc:"Least time between two requests with one appid."`
	TimeZone     config.TimeZone `split_words:"true" default:"Asia/Shanghai" desc:"Zone of the local times in the answers."`
	Recipient    string          `split_words:"true" desc:"Read only rows of this phone number."`
	Project      string          `split_words:"true" desc:"Read only rows of this project, the mark of a template."`
	ResultStatus ResultStatus    `split_words:"true" desc:"Read only rows with this status."`
	config.Common
}

// Doc says what the section is for, in the reference of the configuration.
const Doc = "Reads the SMS log of SUBMAIL, one stream."

// NewConfig returns a section with the defaults of the common variables.
func NewConfig() config.AccountConfig {
	return &Config{Common: config.Common{PollInterval: 2 * time.Minute, Lag: 10 * time.Second, Lateness: 30 * time.Minute, GiveUp: 72 * time.Hour, MaxRowBytes: 4 * config.MiB}}
}

// Validate reports broken rules.
func (c *Config) Validate(v *config.Faults) {
	v.Check(c.AppID != "", "APP_ID", "is required")
	v.Check(!c.AppKey.IsZero(), "APP_KEY", "is required")
	v.Check(c.Rows >= 10 && c.Rows <= 1000, "ROWS", "use a number from 10 to 1000")
	v.Check(c.MinInterval > 0, "MIN_INTERVAL", "must be more than 0")
	v.Check(c.PollInterval >= c.MinInterval, "POLL_INTERVAL", "must be at least %s", "MIN_INTERVAL")
}

// Budget implements [config.AccountConfig].
func (c *Config) Budget() config.Budget {
	return config.Budget{Credential: config.Credential(string(c.BaseURL), c.AppID), Every: c.MinInterval, Rows: c.Rows}
}

// BaseURLs returns the addresses of the API in the order they are tried. The
// public backup is not one of them when only BaseURL was changed: the
// credentials would leave for another host than the user named.
func (c *Config) BaseURLs() []config.URL {
	if c.BackupURL == c.BaseURL || c.BaseURL != defaultBaseURL && c.BackupURL == defaultBackupURL {
		return []config.URL{c.BaseURL}
	}
	return []config.URL{c.BaseURL, c.BackupURL}
}

// SignType is the API's parameter sign_type.
type SignType string

// The ways to sign a request.
const (
	SignNormal SignType = "normal"
	SignMD5    SignType = "md5"
	SignSHA1   SignType = "sha1"
)

// Choices are the values of the type.
func (SignType) Choices() []string {
	return []string{string(SignNormal), string(SignMD5), string(SignSHA1)}
}

// Decode reads one of Choices.
func (t *SignType) Decode(value string) error { return config.OneOf(t, value, t.Choices()) }

// Format is the format of the API's answers.
type Format string

// The formats of answers.
const (
	FormatJSON Format = "json"
	FormatXML  Format = "xml"
)

// Choices are the values of the type.
func (Format) Choices() []string { return []string{string(FormatJSON), string(FormatXML)} }

// Decode reads one of Choices.
func (f *Format) Decode(value string) error { return config.OneOf(f, value, f.Choices()) }

// ContentType is the encoding of requests.
type ContentType string

// The encodings of requests.
const (
	ContentForm      ContentType = "form"      // application/x-www-form-urlencoded
	ContentMultipart ContentType = "multipart" // multipart/form-data
	ContentJSON      ContentType = "json"      // application/json
)

// Choices are the values of the type.
func (ContentType) Choices() []string {
	return []string{string(ContentForm), string(ContentMultipart), string(ContentJSON)}
}

// Decode reads one of Choices.
func (t *ContentType) Decode(value string) error { return config.OneOf(t, value, t.Choices()) }

// ResultStatus is the API's filter result_status; empty for all rows.
type ResultStatus string

// Choices are the values of the type.
func (ResultStatus) Choices() []string { return []string{"delivered", "dropped"} }

// Decode reads one of Choices.
func (s *ResultStatus) Decode(value string) error { return config.OneOf(s, value, s.Choices()) }
