package scan

import (
	"fmt"
	"time"

	"connector/sources"
)

// Row is a record with the times that an API may select and order by. It is
// not known of an API which one it takes.
type Row struct {
	sources.Record
	Other time.Time // such as the time of the last change; zero if the row has none
}

// times returns the candidates, Created first.
func (r Row) times() [2]time.Time { return [2]time.Time{r.Created, r.Other} }

// slack is how many ticks a row may lie outside the span it is an answer to:
// requests reach a tick further, and so may the API's bounds.
const slack = 2

// near reports whether at lies in span, give or take the slack.
func near(at time.Time, span sources.Span, tick time.Duration) bool {
	return !at.Before(span.From.Add(-slack*tick)) && !at.After(span.To.Add(slack*tick))
}

// GapError says that the rows of a span cannot be proven complete, although
// the API answers. Its span begins where what is proven ends.
type GapError struct {
	Span   sources.Span
	Reason string
}

func (e *GapError) Error() string {
	return fmt.Sprintf("rows may be missing at %s: %s; what comes before is complete, the rest is tried again; if that does not help, "+
		"ask the provider how many rows one answer can hold", e.Span, e.Reason)
}
