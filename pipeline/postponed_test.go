package pipeline

import (
	"testing"
	"testing/synctest"
	"time"

	"connector/sources"
)

// TestPostponedAreForgotten has windows that fail and never come back; what is pending of
// them is not forgotten.
func TestPostponedAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, begin := &plan{}, time.Now()
		fail := func(pending ...sources.Span) {
			p.postpone(sources.Span{From: time.Now(), To: time.Now().Add(time.Hour)}, time.Minute, pending)
			time.Sleep(time.Minute)
		}
		for range 1000 {
			fail(sources.Span{From: begin, To: time.Now()})
		}
		if got := len(p.postponed); got != 1000 {
			t.Errorf("got %d windows, want all 1000 that are pending", got)
		}
		for range 1000 {
			fail()
		}
		if got := len(p.postponed); got < 60 || got > 62 {
			t.Errorf("got %d windows, want those of about an hour", got)
		}
	})
}
