package model

import (
	"bytes"
	"time"

	"connector/schema"
)

var leftField = []byte(`"left":true`)

// leaves checks a message that says of a row that it left, and reports whether
// m is one.
func (t *truth) leaves(m schema.Message) bool {
	r := t.h.world.byID[m.RecordID]
	if r == nil || !bytes.Contains(m.Body, leftField) {
		return false
	}
	t.h.tracef("stored: %s left", r.id)
	switch {
	case r.left.IsZero() || r.left.After(time.Now()):
		t.h.violated(1, "%s is reported as left and is there", r.id)
	case !r.durable():
		t.h.violated(1, "%s is reported as left and was never published", r.id)
	case r.told && !t.h.plan.repeats():
		t.h.violated(1, "%s is reported as left twice", r.id)
	}
	r.told = true
	return true
}

// gone notes that the state says that a row left.
func (t *truth) gone(m schema.Message) {
	r := t.h.world.byID[m.RecordID]
	if r == nil {
		return
	}
	if got, want := revision(m.Body), r.revision+1; got != want {
		t.h.violated(2, "%s left with revision %d, want %d", r.id, got, want)
	}
	r.revision = revision(m.Body)
	t.h.counts[leftTold]++
}
