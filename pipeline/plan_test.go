package pipeline

import (
	"testing"
	"testing/synctest"
	"time"

	"connector/sources"
)

// TestPostponedAreForgotten has windows that fail and never come back.
func TestPostponedAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &plan{}
		for range 10_000 {
			p.postpone(sources.Span{From: time.Now(), To: time.Now().Add(time.Hour)}, time.Minute)
			time.Sleep(time.Minute)
		}
		if got := len(p.postponed); got < 60 || got > 62 {
			t.Errorf("got %d windows, want those of about an hour", got)
		}
	})
}
