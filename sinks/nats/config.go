package nats

import (
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"connector/internal/config"
	"connector/internal/secret"
)

// Config is the section of the sink. At most one way to log in is set: Creds,
// Nkey, Token, or User and Password; none with the embedded server.
type Config struct {
	URL           Servers           `split_words:"true" default:"embedded" desc:"Servers to connect to; embedded for a JetStream server inside the program, with its data under the data folder."`
	Stream        string            `split_words:"true" default:"DELIVERY" desc:"JetStream stream of events, dead letters and checkpoint; created when there is none, never changed."`
	SubjectPrefix string            `split_words:"true" default:"delivery" desc:"Beginning of every subject: events go to delivery.event.system.account.stream, dead letters to delivery.deadletter.system.account.stream."`
	Creds         config.FileOrText `split_words:"true" desc:"Credentials file of a user."`
	Nkey          Nkey              `split_words:"true" desc:"NKey seed of a user."`
	Token         secret.String     `split_words:"true" desc:"Token to log in with."`
	User          string            `split_words:"true" desc:"User to log in as."`
	Password      secret.String     `split_words:"true" desc:"Password of the user."`
	CA            config.FileOrText `split_words:"true" desc:"Certificates (PEM) that servers are verified against, instead of the system's."`
	Cert          config.FileOrText `split_words:"true" desc:"Client certificate (PEM)."`
	Key           config.FileOrText `split_words:"true" desc:"Private key (PEM) of the client certificate."`
}

// Doc says what the section is for, in the reference of the configuration.
const Doc = "Publishes to a NATS JetStream stream, on a server of yours or embedded in the program."

// NewConfig returns an empty section.
func NewConfig() config.Section { return &Config{} }

var (
	streamPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)
	prefixPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}(\.[A-Za-z0-9_-]{1,128}){0,7}$`)
)

// Validate reports broken rules.
func (c *Config) Validate(v *config.Faults) {
	v.Check(streamPattern.MatchString(c.Stream), "STREAM", "use at most 255 letters, digits, underscores and hyphens")
	v.Check(prefixPattern.MatchString(c.SubjectPrefix), "SUBJECT_PREFIX", "use letters, digits, underscores and hyphens, in at most 8 parts separated by dots")
	v.Check(c.User == "" || !c.Password.IsZero(), "PASSWORD", "is required with %s", "USER")
	v.Check(c.User != "" || c.Password.IsZero(), "USER", "is required with %s", "PASSWORD")
	v.Check(c.Cert.IsZero() || !c.Key.IsZero(), "KEY", "is required with %s", "CERT")
	v.Check(c.Key.IsZero() || !c.Cert.IsZero(), "CERT", "is required with %s", "KEY")
	v.CheckReadable("CREDS", c.Creds)
	v.CheckReadable("NKEY", c.Nkey.FileOrText)
	v.CheckReadable("CA", c.CA)
	v.CheckReadable("CERT", c.Cert)
	v.CheckReadable("KEY", c.Key)
	c.validateLogin(v)
}

const noUse = "is of no use to the embedded server; set %s to yours"

// validateLogin refuses a second way to log in, and any with the embedded server.
func (c *Config) validateLogin(v *config.Faults) {
	first := ""
	for _, way := range []struct {
		variable string
		set      bool
	}{{"CREDS", !c.Creds.IsZero()}, {"NKEY", !c.Nkey.IsZero()}, {"TOKEN", !c.Token.IsZero()}, {"USER", c.User != ""}} {
		switch {
		case !way.set:
		case c.URL.Embedded():
			v.Add(way.variable, noUse, "URL")
		case first != "":
			v.Add(way.variable, "set either this or %s, not both", first)
		default:
			first = way.variable
		}
	}
	v.Check(c.CA.IsZero() || !c.URL.Embedded(), "CA", noUse, "URL")
	v.Check(c.Cert.IsZero() || !c.URL.Embedded(), "CERT", noUse, "URL")
}

const embedded = "embedded"

// Servers is a list of server URLs, or the one word "embedded".
type Servers []string

// Embedded reports whether the server is to run inside the program.
func (s Servers) Embedded() bool { return slices.Equal(s, Servers{embedded}) }

// Decode reads "embedded" or a comma-separated list.
func (s *Servers) Decode(value string) error {
	if strings.EqualFold(value, embedded) {
		*s = Servers{embedded}
		return nil
	}
	items, err := config.SplitList(value)
	if err != nil {
		return err
	}
	for _, item := range items {
		u, err := url.Parse(item)
		if err != nil || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) || u.Hostname() == "" {
			return errors.New("use " + s.Accepts())
		}
		if u.User != nil {
			return errors.New("must not hold a user, password or token; they have variables of their own")
		}
	}
	*s = items
	return nil
}

// String returns the list as Decode reads it.
func (s Servers) String() string { return strings.Join(s, ",") }

// Accepts describes the values of the type.
func (Servers) Accepts() string {
	return "embedded, or a list of URLs such as nats://host:4222 (or tls, ws, wss)"
}

// Nkey is an NKey seed: the path of a file that holds it, or the seed itself.
type Nkey struct{ config.FileOrText }

var seedPattern = regexp.MustCompile(`^S[A-Z2-7]{57}$`)

// Decode reads a path or a seed. What begins like a seed and has no part of a
// path is refused, so that a damaged seed is never printed as a path.
func (n *Nkey) Decode(value string) error {
	switch {
	case seedPattern.MatchString(value):
		n.FileOrText = config.Text(value)
		return nil
	case strings.HasPrefix(value, "S") && !strings.ContainsAny(value, `/.`):
		return errors.New("is not a whole seed (58 capital letters and digits); write a file that begins with S as ./S…")
	}
	return n.FileOrText.Decode(value)
}
