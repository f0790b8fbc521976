package schema_test

import (
	"testing"

	"connector/schema"
)

// BenchmarkValidate is what CONNECTOR_VALIDATE=all adds to an event.
func BenchmarkValidate(b *testing.B) {
	newest := schema.Released().Newest().Event
	v, err := schema.NewValidator(newest)
	if err != nil {
		b.Fatal(err)
	}
	bodies := examples(b, newest)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := v.Validate(bodies[i%len(bodies)]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMessage encodes an event in the newest version, and in an older one.
func BenchmarkMessage(b *testing.B) {
	older, err := withMinor(b, unchanged).Find("1.0")
	if err != nil {
		b.Fatal(err)
	}
	e := event()
	for name, f := range map[string]schema.Format{"newest": {}, "older": {Version: older}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Message(f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
