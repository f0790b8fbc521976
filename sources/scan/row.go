package scan

import (
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
