package sinktest

import (
	"fmt"

	"connector/schema"
)

// marker makes the marks of messages.
type marker struct{ made int }

func newMarker() *marker { return &marker{} }

// mark gives each message a mark of its own.
func (k *marker) mark(list []schema.Message) {
	for i := range list {
		k.made++
		list[i].Mark = fmt.Appendf(nil, "mark %d", k.made)
	}
}
