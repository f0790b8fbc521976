package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"connector/internal/privacy"
)

// Load reads the configuration from environ, items NAME=value as os.Environ
// returns them; an empty variable counts as unset. The error is an *[Error]
// with every fault.
//
// While Load runs, it changes variables of the process environment; it
// restores them.
func Load(environ []string, catalog Catalog) (*Config, error) {
	return load(environ, catalog, true)
}

// LoadSink is Load without accounts, for programs that only read the sink.
// CONNECTOR_SOURCES may be missing.
func LoadSink(environ []string, catalog Catalog) (*Config, error) {
	return load(environ, catalog, false)
}

func load(environ []string, catalog Catalog, accounts bool) (*Config, error) {
	l := &loader{
		catalog:  catalog,
		env:      map[string]string{},
		known:    map[string]bool{},
		prefixes: map[string]policy{"CONNECTOR": refuse},
	}
	for _, item := range environ {
		name, value, _ := strings.Cut(item, "=")
		l.env[name] = value
	}
	cfg := &Config{}
	connector := l.read("CONNECTOR", &cfg.Connector)
	l.privacy(&cfg.Connector, connector)
	before := len(l.faults)
	cfg.Sink = l.sinks(cfg.Connector.Sink, connector)
	if repeats := catalog.Sinks[cfg.Connector.Sink].Repeats; accounts && cfg.Connector.RequireExactlyOnce && repeats != nil && len(l.faults) == before {
		why := repeats(cfg.Sink)
		connector.Check(why == "", "REQUIRE_EXACTLY_ONCE", why)
	}
	if accounts {
		cfg.Accounts = l.accounts(cfg.Connector.Sources, connector)
	}
	l.unknown()
	cfg.Warnings, cfg.settings = l.warnings, l.settings
	if len(l.faults) > 0 {
		return nil, &Error{l.faults}
	}
	return cfg, nil
}

// policy says what becomes of unknown variables under a prefix.
type policy int

const (
	ignore policy = iota
	warn
	refuse
)

// loader holds what accumulates over the sections of one configuration.
type loader struct {
	catalog  Catalog
	env      map[string]string
	known    map[string]bool // variables of the sections so far
	prefixes map[string]policy
	values   map[string]string // of the latest section
	faults   []Fault
	warnings []string
	settings []Setting
}

// read fills spec from the variables under prefix.
func (l *loader) read(prefix string, spec any) *Faults {
	v := &Faults{prefix: prefix, list: &l.faults, unread: map[string]bool{}}
	before := fields(prefix, spec)
	for _, f := range before {
		l.known[f.key] = true
	}
	values, files := resolve(l.env, before, v)
	process(prefix, spec, before, values, v)
	l.values = values
	for i, f := range fields(prefix, spec) {
		l.settings = append(l.settings, newSetting(f, before[i].def, values[f.key] != "", files[f.key]))
	}
	return v
}

// minPrivacyKey is the least number of bytes of a privacy key: numbers of phones
// are few, and a key that can be guessed reveals them.
const minPrivacyKey = 16

// privacy checks the variables of the privacy rules against each other and the catalog.
func (l *loader) privacy(c *Connector, v *Faults) {
	v.Check(c.Privacy != privacy.Off || c.PrivacyRules.IsZero(), "PRIVACY_RULES", "has no effect with %s=off; unset it, or use standard and field=keep", "PRIVACY")
	v.Check(c.PrivacyKey.IsZero() || len(c.PrivacyKey.Reveal()) >= minPrivacyKey, "PRIVACY_KEY", fmt.Sprintf("is shorter than %d bytes; use a random one", minPrivacyKey))
	kinds := slices.Sorted(maps.Keys(l.catalog.Sources))
	for _, path := range c.PrivacyRules.OfProviders() {
		system, field, _ := strings.Cut(path, ".")
		source, known := l.catalog.Sources[system]
		v.Check(known, "PRIVACY_RULES", fmt.Sprintf("there is no section %q in an event; use sms, webhook, %s", system, orList(kinds)))
		there := source.Fields[field].Path
		v.Check(there == "", "PRIVACY_RULES", fmt.Sprintf("an event has %s as %s; name it so", path, there))
	}
}

// sinks reads the section of the chosen sink and warns of variables of others.
func (l *loader) sinks(chosen string, connector *Faults) Section {
	names := slices.Sorted(maps.Keys(l.catalog.Sinks))
	connector.Check(slices.Contains(names, chosen), "SINK", "use "+orList(names))
	var section Section
	for _, name := range names {
		if l.catalog.Sinks[name].New == nil {
			continue
		}
		spec, prefix := l.catalog.Sinks[name].New(), strings.ToUpper(name)
		l.prefixes[prefix] = warn
		if name == chosen {
			spec.Validate(l.read(prefix, spec))
			section = spec
			continue
		}
		for _, f := range fields(prefix, spec) {
			l.known[f.key] = true
			if l.env[f.key] != "" || l.env[f.key+"_FILE"] != "" {
				l.warnings = append(l.warnings, f.key+" is ignored because CONNECTOR_SINK is "+chosen)
			}
		}
	}
	return section
}

// accounts reads the section of each account.
func (l *loader) accounts(list Sources, connector *Faults) []Account {
	kinds := slices.Sorted(maps.Keys(l.catalog.Sources))
	if len(list) == 0 {
		connector.Add("SOURCES", "is required: name the accounts to read, for example CONNECTOR_SOURCES="+strings.Join(kinds, ","))
	}
	var accounts []Account
	for _, item := range list {
		prefix := strings.ToUpper(item.Name)
		if _, taken := l.prefixes[prefix]; taken {
			l.refuseAccount("account name %q is reserved; choose another", item.Name)
			continue
		}
		kind, ok := l.catalog.Sources[item.Kind]
		if !ok {
			l.prefixes[prefix] = ignore
			l.refuseAccount("%q is no kind of account; write %s=kind, where kind is %s", item.Kind, item.Name, orList(kinds))
			continue
		}
		l.prefixes[prefix] = refuse
		account := Account{Name: item.Name, Kind: item.Kind, Config: kind.New()}
		for _, f := range fields(prefix, account.Config) {
			if l.known[f.key] {
				l.refuseAccount("account %q would read %s, which another part reads already; rename the account", item.Name, f.key)
			}
		}
		v := l.read(prefix, account.Config)
		account.Digest = digest(l.values)
		account.Common = account.Config.Shared()
		account.Common.validate(v)
		account.Config.Validate(v)
		accounts = append(accounts, account)
	}
	return accounts
}

// digest returns what tells the values of variables apart and reveals none.
func digest(values map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if values[name] != "" {
			parts = append(parts, name, values[name])
		}
	}
	return Credential(parts...)
}

func (l *loader) refuseAccount(format string, args ...any) {
	l.faults = append(l.faults, Fault{"CONNECTOR_SOURCES", fmt.Sprintf(format, args...)})
}

// unknown refuses, or warns of, variables that no section has, as the policy
// of the prefix they lie under says.
func (l *loader) unknown() {
	for _, name := range slices.Sorted(maps.Keys(l.env)) {
		if l.known[name] || l.known[strings.TrimSuffix(name, "_FILE")] || isServiceLink(name, l.env[name]) {
			continue
		}
		prefix := owner(name, l.prefixes)
		message := "is not a variable of the connector"
		if similar := suggest(name, prefix, l.known); similar != "" {
			message += "; did you mean " + similar + "?"
		}
		switch l.prefixes[prefix] {
		case refuse:
			l.faults = append(l.faults, Fault{name, message})
		case warn:
			l.warnings = append(l.warnings, name+" "+message)
		case ignore:
		}
	}
}
