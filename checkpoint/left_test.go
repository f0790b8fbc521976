package checkpoint_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"connector/checkpoint"
	"connector/sources"
)

// lacking reads hours that show no record, and returns who left.
func lacking(t *testing.T, d *disk, l *checkpoint.Ledger, hours sources.Span, at time.Duration) (ids []string) {
	t.Helper()
	b := l.Begin()
	gone, all, err := b.Absent(t.Context(), checkpoint.Reading{Span: hours, Seen: new(checkpoint.Sightings), At: t0.Add(at), Apart: time.Minute, Most: 100})
	if err != nil || !all {
		t.Fatal(all, err)
	}
	for _, a := range gone {
		ids = append(ids, a.ID)
	}
	if !b.Empty() {
		d.commit(t, b)
	}
	slices.Sort(ids)
	return ids
}

// TestAbsentWho reads a record and then lacks it twice.
func TestAbsentWho(t *testing.T) {
	window, day := span(0, 3600), 24*time.Hour
	longest := strings.Repeat("a", 512)
	moves, undated, poison := rec("a", 60, 1, "p", false), rec("a", 60, 1, "p", false), bad("a", "p")
	moves.Moves, undated.Created = true, time.Time{}
	tests := []struct {
		name     string
		r        sources.Record
		prepare  func(l *checkpoint.Ledger, b *checkpoint.Batch)
		stays    bool
		readings []time.Duration
		want     string
	}{
		{name: "once", r: rec("a", 60, 1, "p", false), readings: []time.Duration{day}},
		{name: "twice", r: rec("a", 60, 1, "p", false), readings: []time.Duration{day, day + time.Minute}, want: "a"},
		{name: "too soon", r: rec("a", 60, 1, "p", false), readings: []time.Duration{day, day + 59*time.Second}},
		{name: "at the same time", r: rec("a", 60, 1, "p", false), readings: []time.Duration{day, day, day}},
		{name: "reported once", r: rec("a", 60, 1, "p", false), readings: []time.Duration{day, 2 * day, 3 * day, 4 * day}, want: "a"},
		{name: "a stream whose rows stay", r: rec("a", 60, 1, "p", false), stays: true, readings: []time.Duration{day, 2 * day}},
		{name: "the longest id", r: rec(longest, 60, 1, "p", false), readings: []time.Duration{day, 2 * day}, want: longest},
		{name: "an id too long", r: rec(longest+"a", 60, 1, "p", false), readings: []time.Duration{day, 2 * day}},
		{name: "terminal", r: rec("a", 60, 1, "p", true), readings: []time.Duration{day, 2 * day}},
		{name: "created at an uncertain time", r: moves, readings: []time.Duration{day, 2 * day}},
		{name: "without a date", r: undated, readings: []time.Duration{day, 2 * day}},
		{name: "poison", r: poison, readings: []time.Duration{day, 2 * day}},
		{name: "never published", r: rec("a", 60, 1, "p", false), prepare: func(_ *checkpoint.Ledger, b *checkpoint.Batch) {
			b.Dead(rec("a", 60, 1, "p", false))
		}, readings: []time.Duration{day, 2 * day}},
		{name: "when another was found by its update", r: rec("a", 60, 1, "p", false), prepare: func(_ *checkpoint.Ledger, b *checkpoint.Batch) {
			admit(t, b, rec("b", 5*3600, 1, "p", false), span(9*3600, 9*3600+60))
		}, readings: []time.Duration{day, 2 * day}},
		{name: "the last tick", r: rec("a", 3600, 1, "p", false), readings: []time.Duration{day, 2 * day}, want: "a"},
		{name: "the next tick", r: rec("a", 3601, 1, "p", false), readings: []time.Duration{day, 2 * day}},
	}
	for _, tt := range tests {
		for _, records := range []int{1, 1000} {
			d := newDisk()
			d.stream.Leaves = !tt.stays
			d.shrink = func(l *checkpoint.Ledger) { l.Shrink(records, 1, 1, 2) }
			l := d.ledger(t)
			b := l.Begin()
			admit(t, b, tt.r, span(0, 3601))
			if tt.prepare != nil {
				tt.prepare(l, b)
			}
			b.Cover(span(0, 10*3600), t0.Add(day), 0)
			d.commit(t, b)
			var got []string
			for _, at := range tt.readings {
				b := l.Begin() // a commit of something else, which folds
				admit(t, b, rec(fmt.Sprint(at, len(d.state)), 7200, 1, "p", true), span(7200, 7300))
				d.commit(t, b)
				l = d.ledger(t)
				got = append(got, lacking(t, d, l, window, at)...)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
			}
		}
	}
}

// TestReturned reads a record that left and shows up again.
func TestReturned(t *testing.T) {
	for _, tt := range []struct {
		name  string
		again []sources.Record
		want  []checkpoint.Version
	}{
		{
			name:  "the same, then older ones",
			again: []sources.Record{rec("a", 60, 2, "q", false), rec("a", 60, 2, "q", false), rec("a", 60, 2, "p", false), rec("a", 60, 1, "p", false)},
			want:  []checkpoint.Version{{Revision: 4, Fresh: true, Returned: true}, {}, {}, {}},
		},
		{name: "older ones", again: []sources.Record{rec("a", 60, 2, "p", false), rec("a", 60, 1, "q", false)}, want: []checkpoint.Version{{}, {}}},
		{
			name: "changed", again: []sources.Record{rec("a", 60, 3, "r", true), rec("a", 60, 2, "q", false)},
			want: []checkpoint.Version{{Revision: 4, Fresh: true}, {}},
		},
	} {
		d := newDisk()
		d.stream.Leaves = true
		l := d.ledger(t)
		for _, r := range []sources.Record{rec("a", 60, 2, "p", false), rec("a", 60, 2, "q", false)} {
			b := l.Begin()
			admit(t, b, r, span(0, 3600))
			b.Cover(span(0, 3600), t0.Add(24*time.Hour), 0)
			d.commit(t, b)
		}
		lacking(t, d, l, span(0, 3600), time.Hour)
		if got := lacking(t, d, l, span(0, 3600), 2*time.Hour); len(got) != 1 {
			t.Errorf("left: got %q", got)
		}
		for i, r := range tt.again {
			l = d.ledger(t)
			b := l.Begin()
			if got, err := b.Admit(t.Context(), r, span(0, 3600)); err != nil || got != tt.want[i] {
				t.Errorf("%s, reading %d: got %+v, %v, want %+v", tt.name, i, got, err, tt.want[i])
			}
			d.commit(t, b)
		}
	}
}

// TestNamedWhenReadAgain reads one of two records again that were kept without
// names.
func TestNamedWhenReadAgain(t *testing.T) {
	d := newDisk()
	l := d.ledger(t)
	b := l.Begin()
	admit(t, b, rec("a", 60, 1, "p", false), span(0, 3600))
	admit(t, b, rec("b", 60, 1, "p", false), span(0, 3600))
	b.Cover(span(0, 3600), t0.Add(24*time.Hour), 0)
	d.commit(t, b)
	d.stream.Leaves = true
	for i := range 2 {
		l = d.ledger(t)
		b = l.Begin()
		if _, fresh := admit(t, b, rec("a", 60, 1, "p", false), span(0, 3600)); fresh {
			t.Error("a known record is new")
		}
		if got, want := b.Empty(), i > 0; got != want {
			t.Errorf("reading %d: got empty %v, want %v", i, got, want)
		}
		d.commit(t, b)
	}
	lacking(t, d, l, span(0, 3600), time.Hour)
	if got := lacking(t, d, l, span(0, 3600), 2*time.Hour); !slices.Equal(got, []string{"a"}) {
		t.Errorf("got %q, want the one that has a name", got)
	}
}

// TestSightingsAreBounded shows more rows than are remembered.
func TestSightingsAreBounded(t *testing.T) {
	var s checkpoint.Sightings
	for i := range 1 << 20 { // few, again and again, as a scan shows them that is cut and asked for again
		if !s.Add(fmt.Sprint(i % 1000)) {
			t.Fatalf("row %d is too many", i)
		}
	}
	n := 0
	for s.Add(fmt.Sprint("other", n)) {
		n++
	}
	if n > 1<<18 {
		t.Errorf("remembered %d rows", n)
	}
	d := newDisk()
	d.stream.Leaves = true
	l := d.ledger(t)
	b := l.Begin()
	admit(t, b, rec("a", 60, 1, "p", false), span(0, 3600))
	b.Cover(span(0, 3600), t0.Add(24*time.Hour), 0)
	d.commit(t, b)
	if _, all, err := l.Begin().Absent(t.Context(), checkpoint.Reading{Span: span(0, 3600), Seen: &s, At: t0, Most: 1}); !all || err != nil {
		t.Errorf("got %v, %v, want nothing told", all, err)
	}
}
