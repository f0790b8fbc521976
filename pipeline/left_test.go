package pipeline_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connector/pipeline"
	"connector/schema"
	"connector/schema/schematest"
	"connector/sinks"
	"connector/sources"
)

// told lists what the events say of their records, and checks that each is
// valid and has an id of its own.
func told(t *testing.T, m *memory) []string {
	t.Helper()
	var list []string
	ids := map[string]bool{}
	for _, message := range m.events {
		var e struct {
			Record schema.Record `json:"record"`
			Status schema.Status `json:"status"`
		}
		if err := json.Unmarshal(message.Body, &e); err != nil {
			t.Fatal(err)
		}
		s := fmt.Sprint(e.Record.ID, " ", e.Record.Revision)
		if e.Record.Left {
			s += " left"
			if err := schematest.Event(message.Body); err != nil || e.Status != schema.Unknown || e.Record.Terminal || message.Type != "delivery.sms.unknown" {
				t.Errorf("event %s: %v", message.Body, err)
			}
		}
		if ids[message.ID] {
			t.Errorf("%s has the id of another event", s)
		}
		ids[message.ID] = true
		list = append(list, s)
	}
	return list
}

// leaving returns the options of a pipeline that reads rows which may leave.
func leaving(p *provider, sink sinks.Sink) pipeline.Options {
	p.leaves = true
	opts := options(p, sink)
	opts.Accounts[0].GiveUp = 24 * time.Hour
	return opts
}

func TestLeft(t *testing.T) {
	const day = 24 * time.Hour
	tests := []struct {
		name string
		row  func() row
		stay bool // whether the stream's rows do not leave
		want []string
	}{
		{"leaves", func() row { return row{away: []time.Time{at(10 * time.Minute)}} }, false, []string{"a 1", "a 2 left"}},
		{"leaves when young", func() row { return row{created: at(-20 * time.Second), away: []time.Time{at(12 * time.Second)}} }, false, []string{"a 1", "a 2 left"}},
		{"returns", func() row { return row{away: []time.Time{at(10 * time.Minute), at(20 * time.Minute)}} }, false, []string{"a 1", "a 2 left", "a 3"}},
		{"returns, leaves, returns", func() row {
			return row{away: []time.Time{at(10 * time.Minute), at(20 * time.Minute), at(30 * time.Minute), at(40 * time.Minute)}}
		}, false, []string{"a 1", "a 2 left", "a 3", "a 4 left", "a 5"}},
		{"returns changed", func() row {
			return row{away: []time.Time{at(10 * time.Minute), at(20 * time.Minute)}, changes: []time.Time{at(15 * time.Minute)}, final: true}
		}, false, []string{"a 1", "a 2 left", "a 3"}},
		{"is away for one reading", func() row { return row{away: []time.Time{at(10 * time.Minute), at(10*time.Minute + 59*time.Second)}} }, false, []string{"a 1"}},
		{"is away for one reading now and then", func() row {
			var away []time.Time
			for i := range 20 {
				away = append(away, at(time.Duration(10+2*i)*time.Minute), at(time.Duration(11+2*i)*time.Minute-time.Second))
			}
			return row{away: away}
		}, false, []string{"a 1"}},
		{"terminal", func() row {
			return row{changes: []time.Time{at(-time.Minute)}, final: true, away: []time.Time{at(10 * time.Minute)}}
		}, false, []string{"a 1"}},
		{"becomes terminal and disappears", func() row {
			return row{changes: []time.Time{at(5 * time.Minute)}, final: true, away: []time.Time{at(10 * time.Minute)}}
		}, false, []string{"a 1", "a 2"}},
		{"of a stream whose rows stay", func() row { return row{away: []time.Time{at(10 * time.Minute)}} }, true, []string{"a 1"}},
		{"a dead letter", func() row { return row{away: []time.Time{at(10 * time.Minute)}, fault: errTransient} }, false, nil},
		{"an id too long", func() row { return row{id: strings.Repeat("a", 513), away: []time.Time{at(10 * time.Minute)}} }, false, []string{strings.Repeat("a", 513) + " 1"}},
	}
	for _, tt := range tests {
		for _, restarts := range []time.Duration{day, 7 * time.Minute, 100 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				r := tt.row()
				if r.id == "" {
					r.id = "a"
				}
				if r.created.IsZero() {
					r.created = at(-2 * time.Hour)
				}
				p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {r}}}
				sink := &memory{}
				opts := leaving(p, sink)
				p.leaves = !tt.stay
				for began := time.Now(); time.Since(began) < time.Hour; {
					opts.Metrics = options(p, sink).Metrics
					if err := runFor(t, opts, min(restarts, time.Hour)); err != nil {
						t.Fatal(err)
					}
				}
				if got := told(t, sink); !slices.Equal(got, tt.want) {
					t.Errorf("%s, restarts every %v: got %q, want %q", tt.name, restarts, got, tt.want)
				}
			})
		}
	}
}

// TestLeftAfterCommitErrors refuses commits before they are durable.
func TestLeftAfterCommitErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {{id: "a", created: at(-2 * time.Hour), away: []time.Time{at(10 * time.Minute), at(20 * time.Minute)}}}}}
		sink := &memory{fail: func(n int, _ sinks.Commit) error {
			if n%3 > 0 {
				return errTransient
			}
			return nil
		}}
		if err := runFor(t, leaving(p, sink), time.Hour); err != nil {
			t.Fatal(err)
		}
		if got, want := told(t, sink), []string{"a 1", "a 2 left", "a 3"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// TestManyLeave takes more rows away than a commit may report.
func TestManyLeave(t *testing.T) {
	for _, most := range []int{0, 7} {
		synctest.Test(t, func(t *testing.T) {
			var rows []row
			for i := range 1300 {
				rows = append(rows, row{id: fmt.Sprint(i), created: at(-2*time.Hour + time.Duration(i)*time.Second), away: []time.Time{at(10 * time.Minute)}})
			}
			sink := &memory{limits: sinks.Limits{MaxMessages: most}}
			largest := 0
			sink.fail = func(_ int, c sinks.Commit) error { largest = max(largest, len(c.Events)); return nil }
			p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": rows}}
			if err := runFor(t, leaving(p, sink), 40*time.Minute); err != nil {
				t.Fatal(err)
			}
			if got := told(t, sink); len(got) != 2*len(rows) {
				t.Errorf("got %d events, want %d", len(got), 2*len(rows))
			}
			if most > 0 && largest > most {
				t.Errorf("a commit had %d events, want at most %d", largest, most)
			}
		})
	}
}

// TestGapHidesNobody proves nothing of the time of a row that is not shown.
func TestGapHidesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gap, from := sources.Span{From: at(-117 * time.Minute), To: at(-110 * time.Minute)}, at(10*time.Minute)
		p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {
			{id: "before", created: at(-118 * time.Minute), away: []time.Time{at(20 * time.Minute)}}, {id: "in the gap", created: at(-115 * time.Minute)},
		}}}
		p.gap = func() *sources.Span {
			if time.Now().Before(from) {
				return nil
			}
			return &gap
		}
		sink := &memory{}
		if err := runFor(t, leaving(p, sink), time.Hour); err != nil {
			t.Fatal(err)
		}
		if got, want := told(t, sink), []string{"before 1", "in the gap 1", "before 2 left"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// TestNotLeft reads answers in which a row is absent for another reason.
func TestNotLeft(t *testing.T) {
	for name, spoil := range map[string]func(list []sources.Record, w sources.Span) []sources.Record{
		"a row of another window is shown": func(list []sources.Record, _ sources.Span) []sources.Record {
			if time.Now().After(time.Date(2000, 1, 1, 0, 5, 0, 0, time.UTC)) { // it is remembered
				return list
			}
			return append(list, sources.Record{ID: "moved", Created: time.Date(1999, 12, 31, 8, 0, 0, 0, time.UTC), Print: "1", Terminal: true, Raw: []byte(`{}`)})
		},
		"a row without an id is shown": func(list []sources.Record, w sources.Span) []sources.Record {
			return append(list, sources.Record{ID: sources.HashID + "00", Created: w.From, Print: "1", Rank: sources.UnknownRank, Terminal: true, Raw: []byte(`{}`), Fault: errTransient})
		},
		"its creation time moves": func(list []sources.Record, _ sources.Span) []sources.Record {
			for i := range list {
				list[i].Moves = true
			}
			return list
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &provider{streams: []string{"s"}, rows: map[string][]row{"s": {{id: "a", created: at(-2 * time.Hour), away: []time.Time{at(10 * time.Minute)}}}}, spoil: spoil}
			sink := &memory{}
			if err := runFor(t, leaving(p, sink), time.Hour); err != nil {
				t.Fatal(err)
			}
			if got := told(t, sink); slices.Contains(got, "a 2 left") || !slices.Contains(got, "a 1") {
				t.Errorf("%s: got %q, want no record reported as left", name, got)
			}
		})
	}
}
