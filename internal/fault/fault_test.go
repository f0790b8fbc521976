package fault_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"connector/internal/fault"
)

var errCause = errors.New("cause")

// TestMarks: each mark is found behind wrapping, is not taken for another, and
// keeps its cause.
func TestMarks(t *testing.T) {
	tests := []struct {
		name      string
		err       error
		text      string
		fatal     bool
		throttled time.Duration // -1: not marked
		class     string
	}{
		{"unmarked", errCause, "cause", false, -1, ""},
		{"throttled", fault.Throttled(time.Minute, errCause), "throttled for 1m0s: cause", false, time.Minute, ""},
		{"throttled, time unknown", fault.Throttled(0, errCause), "throttled: cause", false, 0, ""},
		{"reject", fault.Reject("decode", errCause), "cause", false, -1, "decode"},
		{"fatal", fault.Fatal(errCause, "set A_KEY"), "cause; set A_KEY", true, -1, ""},
		{"fatal without remedy", fault.Fatal(errCause, ""), "cause", true, -1, ""},
	}
	for _, tt := range tests {
		wrapped := fmt.Errorf("reading: %w", tt.err)
		if got, want := wrapped.Error(), "reading: "+tt.text; got != want {
			t.Errorf("%s: got text %q, want %q", tt.name, got, want)
		}
		if got := fault.IsFatal(wrapped); got != tt.fatal {
			t.Errorf("%s: got fatal %v, want %v", tt.name, got, tt.fatal)
		}
		after, marked := fault.RetryAfter(wrapped)
		if marked != (tt.throttled >= 0) || marked && after != tt.throttled {
			t.Errorf("%s: got %v, %v, want %v", tt.name, after, marked, tt.throttled)
		}
		if got, marked := fault.Class(wrapped); got != tt.class || marked != (tt.class != "") {
			t.Errorf("%s: got class %q, %v, want %q", tt.name, got, marked, tt.class)
		}
		if !errors.Is(wrapped, errCause) {
			t.Errorf("%s: the cause is lost", tt.name)
		}
	}
}
