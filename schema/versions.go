package schema

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"connector/schema/compat"
)

// Release is one released version of the schemas. Events, dead letters and
// resolutions share the version; where a minor changes one of them only, the files
// of the others are copies under the new version.
type Release struct {
	Version                       string // <major>.<minor>
	Event, DeadLetter, Resolution File

	eventCut, deadLetterCut, resolutionCut *cut // what the newest version of the major has more; nil: nothing
}

// File is one JSON Schema (2020-12) as consumers get it.
type File struct {
	Name   string // in this folder
	ID     string // the $id, and CloudEvents dataschema of what it describes
	SHA256 string // hex; it freezes the file
	JSON   []byte
}

var (
	//go:embed event-1.0.json
	event10 []byte
	//go:embed deadletter-1.0.json
	deadLetter10 []byte
	//go:embed deadletter-resolved-1.0.json
	resolution10 []byte
)

// released is the one list of the released versions, oldest first. What is
// here stays as it is: docs/schema.md says how to add a version.
var released = Releases{
	{
		Version:    "1.0",
		Event:      File{"event-1.0.json", EventSchemaID + "1.0", "b28a0932ce9accc4ad517b1abb4302af2788586975c3cfbb1a0c1e4b20717129", event10},
		DeadLetter: File{"deadletter-1.0.json", DeadLetterSchemaID + "1.0", "7be8196cc462b4942926472abc128153e840854555146f10d1532b74e0961426", deadLetter10},
		Resolution: File{"deadletter-resolved-1.0.json", ResolutionSchemaID + "1.0", "dc3cbe91a9ecb5008c460dfa1342ea20390477398c56833660abc109e28ef82e", resolution10},
	},
}

// The ids of the schemas, without the version.
const (
	EventSchemaID      = "urn:connector:schema:delivery-event:"
	DeadLetterSchemaID = "urn:connector:schema:delivery-deadletter:"
	ResolutionSchemaID = "urn:connector:schema:delivery-deadletter-resolved:"
)

// Released returns the list of the released versions.
func Released() Releases { return slices.Clip(released) }

// Releases is a list of versions, oldest first; it is not empty.
type Releases []Release

// Versions lists the versions.
func (l Releases) Versions() []string {
	names := make([]string, len(l))
	for i := range l {
		names[i] = l[i].Version
	}
	return names
}

// Newest is the version that is written unless an older one is asked for.
func (l Releases) Newest() *Release { return &l[len(l)-1] }

// Describing returns what describes documents of a version: that one, or
// the newest known of the major when it is later, for it differs in optional
// properties only; the newest of all when it is "". It is nil for a major that is not known.
func (l Releases) Describing(version string) *Release {
	if version == "" {
		return l.Newest()
	}
	for i := len(l) - 1; i >= 0; i-- {
		if l[i].Version == version || l[i].major() == major(version) && later(version, l[i].Version) {
			return &l[i]
		}
	}
	return nil
}

// Find returns a version, as bodies are cut to it. The error names those there are.
func (l Releases) Find(version string) (*Release, error) {
	for _, r := range l {
		if r.Version != version {
			continue
		}
		newest := l.newestOf(r.major())
		var err error
		if r.eventCut, err = newCut(newest.Event, r.Version); err != nil {
			return nil, err
		}
		if r.deadLetterCut, err = newCut(newest.DeadLetter, r.Version); err != nil {
			return nil, err
		}
		if r.resolutionCut, err = newCut(newest.Resolution, r.Version); err != nil {
			return nil, err
		}
		return &r, nil
	}
	return nil, fmt.Errorf("there is no schema version %s; there is %s", strconv.Quote(version), strings.Join(l.Versions(), ", "))
}

// newestOf returns the newest version of a major that is in the list.
func (l Releases) newestOf(major string) *Release {
	for i := len(l) - 1; i > 0; i-- {
		if l[i].major() == major {
			return &l[i]
		}
	}
	return &l[0]
}

func (r *Release) major() string { return major(r.Version) }

func major(version string) string {
	major, _, _ := strings.Cut(version, ".")
	return major
}

// Check returns what is wrong with the list: files that are not what was
// released, versions out of order, and minors that break readers of the one before.
func (l Releases) Check() []string {
	var faults []string
	for i := range l {
		faults = append(faults, l[i].Event.check(EventSchemaID+l[i].Version)...)
		faults = append(faults, l[i].DeadLetter.check(DeadLetterSchemaID+l[i].Version)...)
		faults = append(faults, l[i].Resolution.check(ResolutionSchemaID+l[i].Version)...)
		if i == 0 || l[i].major() != l[i-1].major() {
			continue
		}
		if !later(l[i].Version, l[i-1].Version) {
			faults = append(faults, fmt.Sprintf("version %s comes after %s: list the oldest first", l[i].Version, l[i-1].Version))
		}
		faults = append(faults, follows(l[i-1].Event, l[i].Event, l[i-1].Version, l[i].Version)...)
		faults = append(faults, follows(l[i-1].DeadLetter, l[i].DeadLetter, l[i-1].Version, l[i].Version)...)
		faults = append(faults, follows(l[i-1].Resolution, l[i].Resolution, l[i-1].Version, l[i].Version)...)
	}
	return faults
}

// check compares a file with what the list says of it.
func (f File) check(id string) []string {
	var faults []string
	if sum := sha256.Sum256(f.JSON); hex.EncodeToString(sum[:]) != f.SHA256 {
		faults = append(faults, fmt.Sprintf("%s changed: its SHA-256 is %x, released was %s. Released versions are frozen: undo the change and add a new minor, see docs/schema.md", f.Name, sum, f.SHA256))
	}
	if s, err := parse(f); err != nil {
		faults = append(faults, err.Error())
	} else if s["$id"] != id || f.ID != id {
		faults = append(faults, fmt.Sprintf("%s has the $id %v, and %s in versions.go: want %s", f.Name, s["$id"], f.ID, id))
	}
	return faults
}

// follows says why a file cannot be the next minor after another.
func follows(old, next File, before, version string) []string {
	changes, err := compat.Compare(old.JSON, next.JSON)
	if err != nil {
		return []string{fmt.Sprintf("comparing %s with %s: %v", next.Name, old.Name, err)}
	}
	var faults []string
	for _, c := range changes {
		switch {
		case c.Breaking:
			faults = append(faults, fmt.Sprintf("%s breaks readers of %s: %s: %s. That needs a new major, see docs/schema.md", next.Name, old.Name, c.Pointer, c.Text))
		case c.Added && c.Since != version:
			faults = append(faults, fmt.Sprintf("%s: %s is new and needs \"x-since\": %q, so that events of older versions leave it out", next.Name, c.Pointer, version))
		}
	}
	if _, err := newCut(next, before); err != nil {
		faults = append(faults, err.Error())
	}
	return faults
}

// later reports whether version a, <major>.<minor>, comes after b.
func later(a, b string) bool {
	aMajor, aMinor := numbers(a)
	bMajor, bMinor := numbers(b)
	return aMajor > bMajor || aMajor == bMajor && aMinor > bMinor
}

func numbers(version string) (major, minor int) {
	first, second, _ := strings.Cut(version, ".")
	major, _ = strconv.Atoi(first) // a test holds the list to numbers
	minor, _ = strconv.Atoi(second)
	return major, minor
}
