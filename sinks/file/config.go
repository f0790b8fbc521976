package file

import "connector/internal/config"

// Config is the section of the sink.
type Config struct {
	Path        string          `split_words:"true" desc:"Required. The file that events are appended to, one JSON object per line."`
	RotateBytes config.ByteSize `split_words:"true" default:"0" desc:"Size from which on the file is put away under its name with .000001, .000002 and so on before the next events are appended; 0 for never. Files that were put away may be moved or deleted."`
}

// Doc says what the section is for, in the reference of the configuration.
const Doc = "Appends to a file, one JSON object per line, and syncs it to disk."

// NewConfig returns an empty section.
func NewConfig() config.Section { return &Config{} }

// Validate reports broken rules.
func (c *Config) Validate(v *config.Faults) { v.Check(c.Path != "", "PATH", "is required") }
