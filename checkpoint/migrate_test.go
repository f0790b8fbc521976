package checkpoint_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"connector/checkpoint"
	"connector/sources"
)

// v1 returns the state of testdata/v1.json, which the first encoding wrote.
func v1(t *testing.T) *disk {
	t.Helper()
	return stored(t, "testdata/v1.json")
}

func stored(t *testing.T, path string) *disk {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := newDisk()
	if err := json.Unmarshal(b, &d.state); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestMigration(t *testing.T) {
	for _, committed := range []bool{false, true} {
		d := v1(t)
		d.shrink = func(l *checkpoint.Ledger) { l.Shrink(1, 1000, 32, 48) }
		l := d.ledger(t)
		if committed {
			d.commit(t, l.Begin())
			for key := range d.state {
				if strings.HasPrefix(key, prefix+"r/") {
					t.Errorf("entry %q of the first encoding is left", key)
				}
			}
			l = d.ledger(t)
		}
		if got, want := l.Settled(), span(0, 7200).To; !got.Equal(want) {
			t.Errorf("settled: got %v, want %v", got, want)
		}
		if got := l.Open(t0, span(0, 10800).To); len(got) == 0 || !got[len(got)-1].Contains(span(0, 7000).To) {
			t.Errorf("open: got %v, want the hours of the records that may change", got)
		}
		b := l.Begin()
		for _, known := range []struct {
			r sources.Record
			w sources.Span
		}{
			{rec("changed", 60, 2, "q", false), span(0, 3600)},
			{rec("changed", 60, 2, "p", false), span(30, 90)},
			{rec("changed", 60, 1, "other", false), span(30, 90)},
			{rec("terminal", 3700, 1767225600000, "p", true), span(3690, 3710)},
			{rec("found elsewhere", -90000, 1, "p", false), span(7000, 9000)},
			{sources.Record{ID: "undated", Print: "p"}, span(-4*3600, -4*3600+60)},
		} {
			if revision, fresh := admit(t, b, known.r, known.w); fresh {
				t.Errorf("committed %v, record %q: got revision %d, want a stale read", committed, known.r.ID, revision)
			}
		}
		if got, _ := admit(t, b, rec("changed", 60, 3, "r", true), span(0, 3600)); got != 3 {
			t.Errorf("next version: got revision %d, want 3", got)
		}
		if got, _ := admit(t, b, rec("new", 60, 3, "r", true), span(0, 3600)); got != 1 {
			t.Errorf("new record: got revision %d, want 1", got)
		}
	}
}

func TestMigratedIsForgotten(t *testing.T) {
	d := v1(t)
	l := d.ledger(t)
	d.commit(t, l.Begin())
	b := l.Begin()
	b.Cover(span(0, 100*3600), span(0, 101*3600).To, time.Minute)
	b.Seal(span(0, 90*3600).To)
	d.commit(t, b)
	for key := range d.state {
		if checkpoint.Paged(key) {
			t.Errorf("page %q is left", key)
		}
	}
}

func FuzzLoadFirstEncoding(f *testing.F) {
	f.Add("r/0123456789abcdef", append([]byte{1}, make([]byte, 37)...))
	f.Add("h", append([]byte{1}, make([]byte, 24)...))
	f.Add("x", []byte{})
	head := append([]byte{1}, make([]byte, 24)...)
	f.Fuzz(func(t *testing.T, name string, value []byte) {
		entries := []checkpoint.Entry{{Key: prefix + "h", Value: head}, {Key: prefix + name, Value: value}}
		l, err := checkpoint.Load("hq", flow, entries, checkpoint.NewPages(nil, 0))
		if err != nil {
			return
		}
		if _, err := l.Begin().Entries(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// v2 returns the state of testdata/v2.json, which the second encoding wrote:
// 40 records of six hours, of which some changed or were given up, and others
// of every kind, in pages, index and deltas.
func v2(t *testing.T) *disk {
	t.Helper()
	d := stored(t, "testdata/v2.json")
	d.shrink = func(l *checkpoint.Ledger) { l.Shrink(4, 6, 3, 9) }
	d.stream.Leaves = true
	return d
}

func TestSecondEncoding(t *testing.T) {
	for _, commits := range []int{0, 1, 30} {
		d := v2(t)
		l := d.ledger(t)
		if records, open := l.Records(t0, span(0, 6*3600).To); records != 39 || open != 25 {
			t.Errorf("after the load: got %d records, %d open, want 39, 25", records, open)
		}
		for n := range commits {
			b := l.Begin()
			admit(t, b, rec(fmt.Sprint("new", n), n%6*3600+n, 1, "p", false), span(0, 6*3600))
			d.commit(t, b)
			l = d.ledger(t)
			if records, _ := l.Records(t0, span(0, 6*3600).To); records != 39+n+1 {
				t.Errorf("after %d commits: got %d records, want %d", n+1, records, 39+n+1)
			}
		}
		b := l.Begin()
		for i := range 40 {
			if i%6 == 0 { // given up
				continue
			}
			r := rec(fmt.Sprint(i), i%6*3600+i, 1, "p", i%3 == 0)
			if i >= 5 && i < 15 {
				r = rec(r.ID, i%6*3600+i, 2, "q", true)
			}
			if revision, fresh := admit(t, b, r, span(0, 6*3600)); fresh {
				t.Errorf("%d commits, record %d: got revision %d, want a stale read", commits, i, revision)
			}
		}
		for _, i := range []int{9, 19, 29, 39} {
			if _, fresh := admit(t, b, sources.Record{ID: fmt.Sprint("undated", i), Print: "p"}, span(3*3600, 3*3600+60)); fresh {
				t.Errorf("%d commits: undated record %d is new", commits, i)
			}
		}
		for _, known := range []sources.Record{rec("restless", 7200, 5000, "5000", false), rec("elsewhere", 3660, 1, "p", false)} {
			if _, fresh := admit(t, b, known, span(7000, 8000)); fresh {
				t.Errorf("%d commits: record %s is new", commits, known.ID)
			}
		}
		if got, _ := admit(t, b, rec("restless", 7200, 5001, "5001", false), span(7000, 8000)); got != 1023 {
			t.Errorf("got revision %d, want the last one there is", got)
		}
		d.commit(t, b)
	}
}

// TestSecondEncodingIsReplaced reads all old records until nothing of the
// second encoding is left.
func TestSecondEncodingIsReplaced(t *testing.T) {
	d := v2(t)
	l := d.ledger(t)
	for n := range 30 {
		b := l.Begin()
		for i := range 40 {
			admit(t, b, rec(fmt.Sprint(i), i%6*3600+i, int64(n+3), fmt.Sprint(n), false), span(0, 6*3600))
		}
		d.commit(t, b)
	}
	for key, value := range d.state {
		if value[0] != 4 && !checkpoint.Paged(key) {
			t.Errorf("entry %q has version %d", key, value[0])
		}
	}
}

// TestThirdEncodingOfStream reads testdata/v3.json, which the third encoding wrote: 12 records, of which
// every third became a dead letter, one with 1500 versions, and a dead one in a delta.
func TestThirdEncodingOfStream(t *testing.T) {
	for _, commits := range []int{0, 20} {
		d := stored(t, "testdata/v3.json")
		d.shrink = func(l *checkpoint.Ledger) { l.Shrink(4, 6, 3, 9) }
		d.stream.Leaves = true
		for n := range commits {
			b := d.ledger(t).Begin()
			admit(t, b, rec(fmt.Sprint("new", n), n, 1, "p", false), span(0, 3600))
			d.commit(t, b)
		}
		b := d.ledger(t).Begin()
		known := func(r sources.Record, want checkpoint.Known) {
			t.Helper()
			if revision, fresh := admit(t, b, r, span(0, 3600)); fresh {
				t.Errorf("%d commits: record %s is new, revision %d", commits, r.ID, revision)
			}
			if got := b.Known(r); got != want {
				t.Errorf("%d commits: record %s: got %+v, want %+v", commits, r.ID, got, want)
			}
		}
		for i := range 12 {
			r, want := rec(fmt.Sprint(i), i*10, 1, "p", i%2 == 0), checkpoint.Known{Record: true, Revision: 1, Current: true}
			switch {
			case i == 9: // both of its versions are
				r.Rank, r.Print, want = 2, "q", checkpoint.Known{Record: true, Current: true, Dead: true, Unresolved: true}
			case i%4 == 1:
				r.Rank, r.Print, want.Revision = 2, "q", 2
			case i%3 == 0:
				want = checkpoint.Known{Record: true, Current: true, Dead: true, Unresolved: true}
			}
			known(r, want)
		}
		known(rec("20", 200, 1, "p", false), checkpoint.Known{Record: true, Current: true, Dead: true, Unresolved: true})
		known(rec("restless", 600, 1500, "1499", false), checkpoint.Known{Record: true, Revision: 1023, Current: true})
		got, err := b.Admit(t.Context(), rec("restless", 600, 1501, "1500", false), span(0, 3600))
		if want := (checkpoint.Version{Revision: 1023, Fresh: true}); err != nil || got != want {
			t.Errorf("%d commits: got %+v, %v, want %+v", commits, got, err, want)
		}
		if got, err = b.Admit(t.Context(), rec("20", 200, 2, "q", false), span(0, 3600)); err != nil || !got.Resolves {
			t.Errorf("%d commits: got %+v, %v, want that it resolves", commits, got, err)
		}
	}
}
