package main

import (
	"strings"
	"testing"
	"time"
)

func TestApply(t *testing.T) {
	at := func(second int) time.Time { return time.Date(2026, 1, 15, 0, 0, second, 0, time.UTC) }
	version := func(revision, second int, status string) Event {
		return Event{Record: Record{ID: "1", Revision: revision}, Status: status, Read: at(second), Webhook: Webhook{NodeName: "A"}}
	}
	left := Event{Record: Record{ID: "1", Revision: 3, Left: true}, Status: "unknown", Read: at(3)}
	type arrival struct {
		id    string
		event Event
	}
	for name, tt := range map[string]struct {
		arrivals []arrival
		want     string
		repeated int
	}{
		"in order":             {[]arrival{{"a", version(1, 1, "failed")}, {"b", version(2, 2, "delivered")}}, "delivered", 0},
		"an older one later":   {[]arrival{{"b", version(2, 2, "delivered")}, {"a", version(1, 1, "failed")}}, "delivered", 0},
		"the same id":          {[]arrival{{"a", version(1, 1, "failed")}, {"a", version(1, 2, "delivered")}}, "failed", 1},
		"replay of forgotten":  {[]arrival{{"a", version(1, 1, "failed")}, {"c", version(0, 9, "delivered")}}, "delivered", 0},
		"revisions, not times": {[]arrival{{"a", version(1, 5, "failed")}, {"b", version(2, 4, "delivered")}}, "delivered", 0},
		"a row that left":      {[]arrival{{"a", version(1, 1, "failed")}, {"d", left}}, "unknown", 0},
	} {
		s, repeated := NewState(), 0
		for _, a := range tt.arrivals {
			if !s.Apply(a.id, a.event) {
				repeated++
			}
		}
		got := s.rows[key{Source{}, "1"}]
		if got.Status != tt.want || repeated != tt.repeated || got.Webhook.NodeName != "A" {
			t.Errorf("%s: got %+v with %d repeated, want status %s, %d repeated, and the node", name, got, repeated, tt.want, tt.repeated)
		}
	}
}

// TestLeftOnly counts a call of which nothing else is known any more, as the other examples do.
func TestLeftOnly(t *testing.T) {
	s := NewState()
	s.Apply("d", Event{Record: Record{ID: "1", Revision: 3, Left: true}, Channel: "webhook", Status: "unknown", Created: time.Date(2026, 1, 15, 0, 0, 0, 0, time.UTC)})
	var out strings.Builder
	if err := s.Print(&out); err != nil {
		t.Fatal(err)
	}
	if want := "2026-01-15T00:00Z  -     1      0       1     0.0"; !strings.Contains(out.String(), want) {
		t.Errorf("got\n%s\nwant a line %q", out.String(), want)
	}
}
