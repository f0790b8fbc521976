package submail

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"connector/internal/config"
	"connector/internal/secret"
)

// Config is the section of one SUBMAIL account.
type Config struct {
	API          API             `split_words:"true" default:"log/message" desc:"Call that reads the log. sms/log is its successor: the same events with more fields, read from another host."`
	BaseURL      config.URL      `split_words:"true" desc:"Address of the API. Unset: https://api.mysubmail.com for log/message, https://api-v4.mysubmail.com for sms/log."`
	BackupURL    config.URL      `split_words:"true" desc:"Address that is tried when the first cannot be reached. Unset: https://api.submail.cn for log/message at its own first address, else none."`
	AppID        string          `split_words:"true" desc:"Required. The appid of the SMS application."`
	AppKey       secret.String   `split_words:"true" desc:"Required. The appkey of the SMS application."`
	SignType     SignType        `split_words:"true" default:"sha1" desc:"How requests are signed; normal sends the key itself."`
	Format       Format          `split_words:"true" default:"json" desc:"Format of the answers."`
	ContentType  ContentType     `split_words:"true" default:"form" desc:"Encoding of the requests."`
	Rows         int             `split_words:"true" default:"1000" desc:"Rows per page, 10 to 1000."`
	MinInterval  time.Duration   `split_words:"true" default:"60s" desc:"Least time between two requests with one appid."`
	TimeZone     config.TimeZone `split_words:"true" default:"Asia/Shanghai" desc:"Zone of the local times in the answers."`
	Recipient    string          `split_words:"true" desc:"Read only rows of this phone number."`
	Project      string          `split_words:"true" desc:"Read only rows of this project, the mark of a template. Not with sms/log, which has no such filter."`
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
	v.Check(strings.TrimSpace(c.AppID) == c.AppID, "APP_ID", "must not begin or end with white space")
	v.Check(!c.AppKey.IsZero(), "APP_KEY", "is required")
	v.Check(c.Rows >= 10 && c.Rows <= 1000, "ROWS", "use a number from 10 to 1000")
	v.Check(c.Project == "" || c.API != APISMSLog, "PROJECT", "%s=sms/log has no such filter; unset it, or use log/message", "API")
	v.Check(c.MinInterval > 0, "MIN_INTERVAL", "must be more than 0")
	v.Check(c.PollInterval >= c.MinInterval, "POLL_INTERVAL", "must be at least %s", "MIN_INTERVAL")
}

// Budget implements [config.AccountConfig]. The vendor's hosts share the budget
// of an appid, whichever call is used.
func (c *Config) Budget() config.Budget {
	base := c.BaseURL
	if vendors(base) {
		base = ""
	}
	return config.Budget{Credential: config.Credential(string(base), c.AppID), Every: c.MinInterval, Rows: c.Rows}
}

// Secret implements [config.AccountConfig].
func (c *Config) Secret() secret.String { return c.AppKey }

// vendors reports whether an address is one of the vendor's, for either call.
func vendors(base config.URL) bool {
	return slices.Contains(APILogMessage.call().hosts, base) || slices.Contains(APISMSLog.call().hosts, base)
}

// BaseURLs returns the addresses of the API in the order they are tried: those
// of the configuration, and the vendor's for the call where it names none. The
// vendor's backup is not one of them when another first address is named: the
// credentials would leave for a host that the user does not expect.
func (c *Config) BaseURLs() []config.URL {
	hosts := c.API.call().hosts
	base, backup := cmp.Or(c.BaseURL, hosts[0]), c.BackupURL
	if backup == "" && base == hosts[0] && len(hosts) > 1 {
		backup = hosts[1]
	}
	if backup == "" || backup == base {
		return []config.URL{base}
	}
	return []config.URL{base, backup}
}

// Other returns the configuration for the other call, named by the setting that
// chooses it: the same but for the vendor's addresses, which give way to those
// for that call. It returns false when the other call lacks a filter in force.
func (c *Config) Other() (other Config, setting string, ok bool) {
	o := *c
	o.API = c.API.other()
	if vendors(o.BaseURL) {
		o.BaseURL = ""
	}
	if vendors(o.BackupURL) {
		o.BackupURL = ""
	}
	return o, "API=" + string(o.API), o.API != APISMSLog || o.Project == ""
}

// API is a call that reads the log, named by its path.
type API string

// The calls.
const (
	APILogMessage API = "log/message"
	APISMSLog     API = "sms/log"
)

// Choices are the values of the type.
func (API) Choices() []string { return []string{string(APILogMessage), string(APISMSLog)} }

// Decode reads one of Choices.
func (a *API) Decode(value string) error { return config.OneOf(a, value, a.Choices()) }

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
