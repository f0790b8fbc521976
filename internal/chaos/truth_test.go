//go:build unix

package chaos

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"connector/internal/apisim"
	"connector/internal/privacy"
	"connector/internal/secret"
	"connector/schema"
	"connector/schema/schematest"
)

// message is a line of connector tail --output json.
type message struct {
	Position string `json:"position"`
	ID       string `json:"id"`
	Type     string `json:"type"`
	Data     body   `json:"data"`
}

// body has what is compared of an event or a dead letter.
type body struct {
	Source         schema.Source `json:"source"`
	Record         schema.Record `json:"record"`
	ProviderStatus string        `json:"providerStatus"`
	RawDigest      string        `json:"rawDigest"` // of a dead letter
	Class          string        `json:"class"`     // of a dead letter
}

func (m message) dead() bool { return m.Type == schema.DeadLetterType }

// version names the version of an event as the simulators do.
func (m message) version() apisim.Version {
	v := apisim.Version{System: m.Data.Source.System, Stream: m.Data.Source.Stream, RecordID: m.Data.Record.ID, Version: m.Data.Record.Version}
	if v.System == "submail" {
		v.Version = m.Data.ProviderStatus
	}
	return v
}

func parse(t *testing.T, lines []byte) []message {
	t.Helper()
	var list []message
	for line := range bytes.Lines(lines) {
		var m message
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		checkSchema(t, m.Type, line)
		list = append(list, m)
	}
	return list
}

// checkSchema checks a message against the closed form of its schema.
func checkSchema(t *testing.T, messageType string, line []byte) {
	t.Helper()
	var m struct {
		Data jsontext.Value `json:"data"`
	}
	if err := json.Unmarshal(line, &m); err != nil {
		t.Fatal(err)
	}
	check := schematest.Event
	if schema.IsDeadLetter(messageType) {
		check = func(body []byte) error { return schematest.Dead(messageType, body) }
	}
	if err := check(m.Data); err != nil {
		t.Errorf("%v: %s", err, line)
	}
}

// privacyKey is the connector's, and keys makes its digests.
const privacyKey = "chaos-privacy-key"

var keys = privacy.New(privacy.Standard, privacy.Rules{}, secret.New(privacyKey), false)

// record names a row of a provider.
type record struct{ system, stream, id string }

func recordOf(v apisim.Version) record { return record{v.System, v.Stream, v.RecordID} }

// truth is what the providers had.
type truth struct {
	versions map[record][]string // all that an answer may have shown, in their order
	count    int                 // of versions
	poison   map[string]record   // poison rows, by their digest
}

func newTruth() *truth {
	return &truth{versions: map[record][]string{}, poison: map[string]record{}}
}

func (tr *truth) add(row apisim.Timeline) {
	if p := row.Poison; p != nil {
		tr.poison[keys.Digest(p.SHA256)] = recordOf(p.Version)
		return
	}
	r := recordOf(row.Versions[0])
	for _, v := range row.Versions {
		tr.versions[r] = append(tr.versions[r], v.Version)
	}
	tr.count += len(row.Versions)
}

// check is the comparison of what was published with the truth.
type check struct {
	*truth
	ids      map[string]string // position by event id
	latest   map[record]int    // index of the version published last
	revision map[record]int    // its revision
	dead     map[string]bool   // digest
	events   int

	lost, repeated, swapped, invented int
	faults                            []string // the first of them
}

// compare checks the messages of a sink in the order of the sink, which counts for the messages of one record.
func (tr *truth) compare(list []message) *check {
	c := &check{truth: tr, ids: map[string]string{}, latest: map[record]int{}, revision: map[record]int{}, dead: map[string]bool{}}
	for _, m := range list {
		first, repeated := c.ids[m.ID]
		c.ids[m.ID] = m.Position
		switch {
		case repeated:
			c.fault(&c.repeated, "repeated: %s of %v at %s is at %s already", m.Type, m.version(), m.Position, first)
		case m.dead():
			c.deadLetter(m)
		default:
			c.event(m)
		}
	}
	c.missing()
	return c
}

func (c *check) deadLetter(m message) {
	sum := m.Data.RawDigest
	if _, known := c.poison[sum]; !known {
		c.fault(&c.invented, "invented: no provider had the row of the dead letter at %s", m.Position)
	}
	if c.dead[sum] {
		c.fault(&c.repeated, "repeated: dead letter at %s, of a row that another one has", m.Position)
	}
	c.dead[sum] = true
}

// event checks invariant 2 of one event: versions advance, revisions count 1, 2, 3 ….
func (c *check) event(m message) {
	c.events++
	v := m.version()
	r := recordOf(v)
	at := slices.Index(c.versions[r], v.Version)
	before, known := c.latest[r]
	switch {
	case at < 0:
		c.fault(&c.invented, "invented: no provider had %v at %s", v, m.Position)
		return
	case known && at == before:
		c.fault(&c.repeated, "repeated: %v at %s, under another id", v, m.Position)
	case known && at < before:
		c.fault(&c.swapped, "swapped: %v at %s follows version %s", v, m.Position, c.versions[r][before])
	}
	if want := c.revision[r] + 1; m.Data.Record.Revision != want {
		c.fault(&c.swapped, "swapped: %v at %s has revision %d, want %d", v, m.Position, m.Data.Record.Revision, want)
	}
	c.latest[r], c.revision[r] = at, m.Data.Record.Revision
}

// missing checks invariant 1: the last version of each record is there, and each poison row as a dead letter.
func (c *check) missing() {
	for r, versions := range c.versions {
		last := len(versions) - 1
		if at, known := c.latest[r]; !known {
			c.fault(&c.lost, "lost: record %v", r)
		} else if at != last {
			c.fault(&c.lost, "lost: last version %s of record %v; %s was published last", versions[last], r, versions[at])
		}
	}
	for sum, r := range c.poison {
		if !c.dead[sum] {
			c.fault(&c.lost, "lost: poison row %v is no dead letter", r)
		}
	}
}

func (c *check) fault(count *int, format string, args ...any) {
	*count++
	if len(c.faults) < 20 {
		c.faults = append(c.faults, fmt.Sprintf(format, args...))
	}
}

// String gives the figures.
func (c *check) String() string {
	return fmt.Sprintf("%d rows, %d versions, %d events, %d dead letters: lost %d, repeated %d, swapped %d, invented %d",
		len(c.versions)+len(c.poison), c.count, c.events, len(c.dead), c.lost, c.repeated, c.swapped, c.invented)
}

// report fails the test for each fault.
func (c *check) report(t *testing.T) {
	t.Helper()
	for _, f := range c.faults {
		t.Error(f)
	}
	if c.events == 0 || len(c.versions) == 0 {
		t.Error("nothing was compared")
	}
}
