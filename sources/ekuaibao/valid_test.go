package ekuaibao

import (
	"reflect"
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
	schematest.CheckRows(t, fields, func(t *rapid.T, raw string) {
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

// TestSectionIsTheSchemas wants the section and the schema to describe the same fields.
func TestSectionIsTheSchemas(t *testing.T) {
	if err := schematest.Section(System, reflect.TypeFor[Fields]()); err != nil {
		t.Error(err)
	}
}
