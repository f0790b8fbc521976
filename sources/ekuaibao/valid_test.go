package ekuaibao

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"connector/internal/fault"
	"connector/schema/schematest"
	"connector/sources/jsonrows"
)

// TestEventsAreValid wants of any row an event that keeps the closed form of the schema, or a rejection.
func TestEventsAreValid(t *testing.T) {
	fields := seedFields(t)
	s, events, rejected := reading(t, around()), 0, 0
	many(t, func(t *rapid.T) {
		raw := schematest.Row(fields).Draw(t, "row")
		s.corporation = ""
		r, err := s.record(forever, jsonrows.Row{Raw: []byte(raw), Size: int64(len(raw))})
		if err != nil {
			return // of another message type: no row of the answer
		}
		_, err = eventOf(s, flow(s), r.Record)
		if class, reject := fault.Class(err); err != nil && (!reject || class == "") {
			t.Fatalf("got %v of %s", err, raw)
		}
		if err == nil {
			events++
		} else {
			rejected++
		}
	})
	if events < 10 || rejected < 10 {
		t.Errorf("got %d events and %d rejections, want some of both", events, rejected)
	}
}

// many draws more than is usual: a row that breaks a rule is rare.
func many(t *testing.T, check func(*rapid.T)) {
	t.Helper()
	for range 5 {
		rapid.Check(t, check)
	}
}

// TestSectionIsTheSchemas wants the section and the schema to describe the same fields.
func TestSectionIsTheSchemas(t *testing.T) {
	var got []string
	for field := range reflect.TypeFor[Fields]().Fields() {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" {
			got = append(got, name)
		}
	}
	slices.Sort(got)
	if want, err := schematest.Properties(System); err != nil || !slices.Equal(got, want) {
		t.Errorf("the section has %q, the schema describes %q, %v", got, want, err)
	}
}
