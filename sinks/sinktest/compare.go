package sinktest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"connector/schema"
	"connector/sinks"
)

// maxShown bounds, in bytes, what a report quotes of a value.
const maxShown = 80

// maxFaults bounds what one comparison reports.
const maxFaults = 5

// compare says how got differs from the messages published. With repeats, a
// message may have been stored more than once.
func compare(got []sinks.Received, events, dead []schema.Message, repeats bool) error {
	want := make(map[string]expected, len(events)+len(dead))
	for i := range events {
		want[events[i].ID] = expected{message: &events[i], place: i}
	}
	for i := range dead {
		want[dead[i].ID] = expected{message: &dead[i], place: i, dead: true}
	}
	var faults faults
	count := make(map[string]int, len(want))
	last := map[string]int{} // place of the newest version read, by key
	for i := range got {
		m := &got[i]
		id := m.Attribute("id")
		w, ok := want[id]
		if !ok {
			faults.add("%s: a message with id %q was never published", m.Position, id)
			continue
		}
		if err := w.differs(m); err != nil {
			faults.add("%s: %w", m.Position, err)
		}
		if count[id]++; count[id] > 1 {
			if !repeats {
				faults.add("%s: message %s is stored %d times", m.Position, w, count[id])
			}
			continue
		}
		key := fmt.Sprint(w.dead, w.message.Source, w.message.Key())
		if before, ok := last[key]; ok && w.place < before {
			faults.add("%s: message %s comes after a later one of its record", m.Position, w)
		}
		last[key] = w.place
	}
	for id, w := range want {
		if count[id] == 0 {
			faults.add("message %s was acknowledged and cannot be read", w)
		}
	}
	return faults.err()
}

// expected is a message published, and its index among events or dead letters.
type expected struct {
	message *schema.Message
	place   int
	dead    bool
}

func (e expected) String() string {
	kind := "event"
	if e.dead {
		kind = "dead letter"
	}
	return fmt.Sprintf("%s %d (record %s)", kind, e.place, short(e.message.RecordID))
}

// differs says how m differs from what was published.
func (e expected) differs(m *sinks.Received) error {
	var faults faults
	if m.Dead != e.dead {
		faults.add("%s: got dead letter %v, want %v", e, m.Dead, e.dead)
	}
	if m.Key != "" && m.Key != e.message.Key() {
		faults.add("%s: got key %s, want %s", e, short(m.Key), short(e.message.Key()))
	}
	attributes, data, err := e.event()
	if err != nil {
		return err
	}
	if got, want := sorted(m.Attributes), sorted(attributes); !slices.Equal(got, want) {
		faults.add("%s: %w", e, attributesDiffer(got, want))
	}
	if !bytes.Equal(m.Body, data) {
		faults.add("%s: got body %s, want %s", e, short(string(m.Body)), short(string(data)))
	}
	return faults.err()
}

// event returns the attributes and the data that were published, in either mode.
func (e expected) event() ([]schema.Attribute, []byte, error) {
	if e.message.Structured {
		return schema.ParseStructured(e.message.Body)
	}
	return e.message.Attributes(), e.message.Body, nil
}

func attributesDiffer(got, want []schema.Attribute) error {
	var faults faults
	for _, a := range got {
		if !slices.Contains(want, a) {
			faults.add("got attribute %s = %s", a.Name, short(a.Value))
		}
	}
	for _, a := range want {
		if !slices.Contains(got, a) {
			faults.add("want attribute %s = %s", a.Name, short(a.Value))
		}
	}
	if len(got) != len(want) {
		faults.add("got %d attributes, want %d", len(got), len(want))
	}
	return faults.err()
}

func sorted(a []schema.Attribute) []schema.Attribute {
	return slices.SortedFunc(slices.Values(a), func(x, y schema.Attribute) int {
		return strings.Compare(x.Name, y.Name)
	})
}

func short(s string) string {
	if len(s) > maxShown {
		return fmt.Sprintf("%q… (%d bytes)", s[:maxShown], len(s))
	}
	return fmt.Sprintf("%q", s)
}

// faults collects the first few differences and counts the rest.
type faults struct {
	errs []error
	more int
}

func (f *faults) add(format string, args ...any) {
	if len(f.errs) == maxFaults {
		f.more++
		return
	}
	f.errs = append(f.errs, fmt.Errorf(format, args...))
}

func (f *faults) err() error {
	if f.more > 0 {
		return errors.Join(append(f.errs, fmt.Errorf("and %d more", f.more))...)
	}
	return errors.Join(f.errs...)
}
