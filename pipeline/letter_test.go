package pipeline_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connector/internal/fault"
	"connector/sinks"
)

// TestDeadLettersAreToldTogether has a provider whose rows are all unreadable: the log has a line for each class
// of a commit, and not before it is durable.
func TestDeadLettersAreToldTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, rows: map[string][]row{}}
		for i := range 300 {
			class := []string{"decode", "no_id", "decode"}[i%3]
			p.rows["s"] = append(p.rows["s"], row{id: fmt.Sprint("r", i), created: at(-time.Minute), fault: fault.Reject(class, errors.New("unreadable"))})
		}
		var log strings.Builder
		sink := &memory{fail: func(_ int, c sinks.Commit) error {
			if len(c.Dead) > 0 && strings.Contains(log.String(), "row became a dead letter") {
				t.Error("dead letters were told of before they were durable")
			}
			return nil
		}}
		opts := options(p, sink)
		opts.Log = slog.New(slog.NewTextHandler(&log, nil))
		if err := runFor(t, opts, 10*time.Minute); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`class=decode reason=unreadable others=199`, `class=no_id reason=unreadable others=99`} {
			if got := strings.Count(log.String(), want); got != 1 {
				t.Errorf("got %d lines with %q, want one, in\n%s", got, want, log.String())
			}
		}
		if got := strings.Count(log.String(), "row became a dead letter"); got != 2 {
			t.Errorf("got %d lines for 300 dead letters, want 2", got)
		}
		if got := len(sink.dead); got != 300 {
			t.Errorf("got %d dead letters, want 300", got)
		}
	})
}
