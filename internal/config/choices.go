package config

import (
	"errors"
	"slices"
	"strings"

	"connector/schema"
)

// ContentMode is how a message holds a CloudEvent.
type ContentMode string

// The content modes of the CloudEvents protocol bindings.
const (
	Binary     ContentMode = "binary"
	Structured ContentMode = "structured"
)

// Choices are the values of the type.
func (ContentMode) Choices() []string { return []string{string(Binary), string(Structured)} }

// Decode reads one of Choices.
func (m *ContentMode) Decode(value string) error { return OneOf(m, value, m.Choices()) }

// SchemaVersion is the schema version that is written.
type SchemaVersion struct{ release *schema.Release }

// newest stands for the newest version, whichever that is.
const newest = "newest"

// Decode reads a released version or "newest".
func (s *SchemaVersion) Decode(value string) error {
	if strings.EqualFold(value, newest) {
		*s = SchemaVersion{}
		return nil
	}
	release, err := schema.Released().Find(value)
	if err != nil {
		return errors.New("use " + s.Accepts())
	}
	*s = SchemaVersion{release}
	return nil
}

// Release returns the version.
func (s SchemaVersion) Release() *schema.Release {
	if s.release == nil {
		return schema.Released().Newest()
	}
	return s.release
}

// String returns the version as Decode reads it.
func (s SchemaVersion) String() string {
	if s.release == nil {
		return newest
	}
	return s.release.Version
}

// Accepts describes the values of the type.
func (SchemaVersion) Accepts() string {
	return orList(append([]string{newest}, schema.Released().Versions()...))
}

// Validation says which events are checked against their schema.
type Validation string

// The values of [Validation].
const (
	ValidateOff    Validation = "off"
	ValidateSample Validation = "sample"
	ValidateAll    Validation = "all"
)

// Choices are the values of the type.
func (Validation) Choices() []string {
	return []string{string(ValidateOff), string(ValidateSample), string(ValidateAll)}
}

// Decode reads one of Choices.
func (v *Validation) Decode(value string) error { return OneOf(v, value, v.Choices()) }

// Every returns how many events one that is checked stands for; 0: none is checked.
func (v Validation) Every() int {
	switch v {
	case ValidateOff:
		return 0
	case ValidateAll:
		return 1
	default:
		return 1000
	}
}

// LogFormat is how log lines are written.
type LogFormat string

// Choices are the values of the type.
func (LogFormat) Choices() []string { return []string{"text", "json"} }

// Decode reads one of Choices.
func (f *LogFormat) Decode(value string) error { return OneOf(f, value, f.Choices()) }

// OneOf sets dst to the one of choices that value names, in any case.
func OneOf[T ~string](dst *T, value string, choices []string) error {
	i := slices.IndexFunc(choices, func(c string) bool { return strings.EqualFold(c, value) })
	if i < 0 {
		return errors.New("use " + orList(choices))
	}
	*dst = T(choices[i])
	return nil
}

// SplitList splits a comma-separated list, trims its items, and refuses empty
// and repeated ones.
func SplitList(value string) ([]string, error) {
	items := strings.Split(value, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
		if items[i] == "" {
			return nil, errors.New("has an empty item; separate items with one comma")
		}
		if slices.Contains(items[:i], items[i]) {
			return nil, errors.New("names an item twice")
		}
	}
	return items, nil
}

// orList joins items as "a, b or c".
func orList(items []string) string {
	if n := len(items); n > 1 {
		return strings.Join(items[:n-1], ", ") + " or " + items[n-1]
	}
	return strings.Join(items, "")
}
