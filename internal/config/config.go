// Package config reads the configuration from environment variables, reports
// everything that is wrong with it at once, and documents every variable.
//
// Sections are structs whose tags split_words, default and desc make the
// variables, their defaults and their documentation. The connector's own
// section is here; accounts and sinks bring theirs through a [Catalog].
package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	"connector/internal/privacy"
	"connector/internal/secret"
	"connector/sources"
)

// Connector holds the variables CONNECTOR_….
type Connector struct {
	Sources            Sources       `split_words:"true" desc:"Required. The accounts to read: a list of name=kind, or of just name when it is a kind; for example ekuaibao,submail or hq=ekuaibao,otp=submail. Each account reads the variables that begin with its upper-cased name."`
	Sink               string        `split_words:"true" default:"nats" desc:"Where events go: the name of one of the sinks below."`
	CloudEvents        ContentMode   `default:"binary" desc:"Content mode of the CloudEvents in NATS and Kafka: the attributes in headers and the data in the body, or all of it in the body. The sinks file and stdout always write all of it."`
	SchemaVersion      SchemaVersion `split_words:"true" default:"newest" desc:"Schema version of the events and dead letters that are written: newest, or an older one, which leaves out what later versions of the same major added."`
	Validate           Validation    `split_words:"true" default:"sample" desc:"Which events are checked against their schema before they are published; one that is not as the schema says becomes a dead letter of class invalid. sample: the first event of each stream and every 1000th."`
	Start              Start         `split_words:"true" default:"24h" desc:"Where a stream that was never read begins."`
	DataDir            string        `split_words:"true" default:"data" desc:"Folder of everything the program stores itself."`
	RequireExactlyOnce bool          `split_words:"true" default:"false" desc:"Whether to refuse to start when the sink cannot promise that nothing is published twice, whatever crashes."`
	HTTPAddr           ListenAddr    `split_words:"true" default:"127.0.0.1:8080" desc:"Where /healthz, /readyz and /metrics are served."`
	Privacy            privacy.Mode  `split_words:"true" default:"standard" desc:"What is hidden before anything is written. standard: recipients, codes in texts, what is personal in bodies; strict: texts, bodies and unknown fields are left out; off: nothing. See privacy.md."`
	PrivacyRules       privacy.Rules `split_words:"true" desc:"What is done with single fields instead, such as sms.text=drop,webhook.response=keep,costCenter=mask. See privacy.md."`
	PrivacyKey         secret.String `split_words:"true" desc:"Key of the hashes of phone numbers and of the digests of rows, the same for all accounts. Unset, each account has one derived from its credential."`
	IncludeRaw         bool          `split_words:"true" default:"false" desc:"Whether events carry the provider's row, under the privacy rules."`
	LogLevel           slog.Level    `split_words:"true" default:"info" desc:"Least severe level that is logged."`
	LogFormat          LogFormat     `split_words:"true" default:"text" desc:"How log lines are written."`
}

// Common holds the variables every account has. A kind sets its defaults in
// [Source].New.
type Common struct {
	PollInterval time.Duration `split_words:"true" desc:"Time from one read of the newest rows of a stream to the next."`
	Lag          time.Duration `split_words:"true" desc:"How close to the provider's present time a read may go, so that rows of the latest moment have appeared."`
	Lateness     time.Duration `split_words:"true" desc:"How late a row may appear in the provider's log and be found for certain: what is younger is read again at growing ages, and once more after this time. Rows that may still change, and gaps, are read again once per this time."`
	GiveUp       time.Duration `split_words:"true" desc:"How long a row that may still change is watched and a gap is tried again. Their entries are then forgotten."`
	MaxRowBytes  ByteSize      `split_words:"true" desc:"Largest row; of a larger one a dead letter keeps the beginning, the size and a digest."`
	ProxyURL     Proxy         `split_words:"true" desc:"Proxy of all requests, such as http://proxy:3128 or socks5://user:password@proxy:1080; none for no proxy. NO_PROXY makes no exception. Unset: as HTTPS_PROXY, HTTP_PROXY and NO_PROXY say."`
	CA           FileOrText    `split_words:"true" desc:"Certificates (PEM) that servers are verified against, instead of the system's."`
}

// Shared returns c; a struct that embeds Common is thereby half an [AccountConfig].
func (c Common) Shared() Common { return c }

func (c Common) validate(v *Faults) {
	v.Check(c.PollInterval > 0, "POLL_INTERVAL", "must be more than 0")
	v.Check(c.Lag >= 0, "LAG", "must not be negative")
	v.Check(c.Lateness > c.Lag, "LATENESS", "must be longer than %s", "LAG")
	v.Check(c.GiveUp >= c.Lateness, "GIVE_UP", "must be at least %s", "LATENESS")
	v.Check(c.MaxRowBytes >= KiB && c.MaxRowBytes <= GiB, "MAX_ROW_BYTES", "use a size from 1KiB to 1GiB")
	if _, err := c.CA.Certificates(); err != nil {
		v.Add("CA", "cannot be read: "+err.Error())
	}
}

// Section is a pointer to a struct of variables with a common prefix.
type Section interface {
	// Validate reports broken rules. Variables at fault have their defaults.
	Validate(v *Faults)
}

// AccountConfig is the section of one account; it embeds [Common].
type AccountConfig interface {
	Section
	Shared() Common
	Budget() Budget
	// Secret is what only the provider and the account's owner know: the
	// account's privacy key is derived from it where none is configured.
	Secret() secret.String
}

// Budget says how often the provider may be asked with a credential. Accounts
// that share a credential share its budget.
type Budget struct {
	Credential string        // equal for equal credentials; not the credential itself
	Every      time.Duration // least time from one request to the next
	Rows       int           // most rows of one answer; 0 when no limit is known
}

// Privacy returns what is hidden of an account's rows before they are written.
func (c *Config) Privacy(a Account) *privacy.Policy {
	key := c.Connector.PrivacyKey
	if key.IsZero() {
		key = privacy.DeriveKey(a.Config.Secret())
	}
	return privacy.New(c.Connector.Privacy, c.Connector.PrivacyRules, key, c.Connector.IncludeRaw)
}

// Credential returns what tells credentials apart and reveals none.
func Credential(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Source is a kind of account.
type Source struct {
	Doc string               // what it reads, one sentence
	New func() AccountConfig // a section with the defaults that are not in tags
	// Fields are those of the rows, as [sources.Stream] has them; nil when no rule of privacy is to be checked.
	Fields sources.Fields
}

// Sink is a destination.
type Sink struct {
	Doc string         // what it does, one sentence
	New func() Section // as in Source; nil for a sink without variables
	// Repeats says why a sink may publish twice with the settings of its section, and
	// what to do about it; "" when that is for the server to say. nil: always "".
	Repeats func(Section) string
}

// Catalog lists what there is to configure, by kind of account and by value of CONNECTOR_SINK.
type Catalog struct {
	Sources map[string]Source
	Sinks   map[string]Sink
}

// Account is one configured account.
type Account struct {
	Name   string
	Kind   string
	Common Common
	Config AccountConfig // what the kind's New made
	Digest string        // changes with the values of the account's variables, and reveals none
}

// Config is a valid configuration.
type Config struct {
	Connector Connector
	Sink      Section   // what New of the chosen sink made; nil for a sink without variables
	Accounts  []Account // in the order of CONNECTOR_SOURCES; empty after LoadSink
	Warnings  []string  // for the user, each naming a variable

	settings []Setting
}

// SourceName is an item of CONNECTOR_SOURCES.
type SourceName struct{ Name, Kind string }

// Sources is the value of CONNECTOR_SOURCES.
type Sources []SourceName

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// Decode reads a list of name[=kind]. When it returns an error, s holds the
// good items, so that their variables are examined too.
func (s *Sources) Decode(value string) error {
	*s = nil
	var faults []string
	for item := range strings.SplitSeq(value, ",") {
		name, kind, ok := strings.Cut(strings.TrimSpace(item), "=")
		if !ok {
			kind = name
		}
		switch {
		case name == "":
			faults = append(faults, "has an empty item; separate items with one comma")
		case !namePattern.MatchString(name):
			faults = append(faults, fmt.Sprintf("%q is no account name; use a lower-case letter and then at most 62 lower-case letters, digits or _", name))
		case slices.ContainsFunc(*s, func(other SourceName) bool { return other.Name == name }):
			faults = append(faults, fmt.Sprintf("names account %q twice", name))
		default:
			*s = append(*s, SourceName{name, kind})
		}
	}
	if faults != nil {
		return errors.New(strings.Join(faults, "; "))
	}
	return nil
}

// String returns the list as Decode reads it.
func (s Sources) String() string {
	items := make([]string, len(s))
	for i, a := range s {
		items[i] = a.Name + "=" + a.Kind
	}
	return strings.Join(items, ",")
}

// Accepts describes the values of the type.
func (Sources) Accepts() string { return "a list of name=kind" }
