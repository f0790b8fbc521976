package checkpoint_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"connector/checkpoint"
	"connector/internal/fault"
	"connector/sources"
)

// filled returns a disk with some hours of records, in pages of four.
func filled(t *testing.T) (*disk, *checkpoint.Ledger) {
	t.Helper()
	d := newDisk()
	d.shrink = func(l *checkpoint.Ledger) { l.Shrink(4, 3, 2, 4) }
	l := d.ledger(t)
	for i := range 60 {
		b := l.Begin()
		admit(t, b, rec(fmt.Sprint(i), i%6*3600+i, 1, "p", i%6 > 0), span(0, 6*3600))
		b.Cover(span(0, 6*3600), span(0, 9*3600).To, time.Hour)
		d.commit(t, b)
	}
	return d, l
}

func TestMissingPieceIsRefused(t *testing.T) {
	d, _ := filled(t)
	kinds := map[string]bool{}
	for key, value := range d.state {
		name := strings.TrimPrefix(key, prefix)
		for damage, with := range map[string][]byte{"missing": nil, "cut": value[:len(value)-1]} {
			if with == nil {
				delete(d.state, key)
			} else {
				d.state[key] = with
			}
			err := readAll(d)
			if !fault.IsFatal(err) || !strings.Contains(err.Error(), key) {
				t.Errorf("%s %s: got %v, want a fatal error that names it", damage, name, err)
			}
			d.state[key] = value
		}
		kinds[name[:1]] = true
	}
	if err := readAll(d); err != nil {
		t.Error(err)
	}
	if len(kinds) != 4 {
		t.Errorf("got entries of kinds %v, want head, index, deltas and pages", kinds)
	}
}

// readAll loads the ledger, looks up every record that filled wrote, and
// others.
func readAll(d *disk) error {
	l, err := d.load()
	if err != nil {
		return err
	}
	b := l.Begin()
	for i := range 60 {
		r := rec(fmt.Sprint(i), i%6*3600+i, 1, "p", false)
		if v, err := b.Admit(context.Background(), r, span(0, 6*3600)); err != nil {
			return err
		} else if v.Fresh {
			return fmt.Errorf("record %d would be published again", i)
		}
	}
	for i := range 600 { // reads every page
		if _, err := b.Admit(context.Background(), rec(fmt.Sprint("unknown", i), i%6*3600, 1, "p", false), span(0, 6*3600)); err != nil {
			return err
		}
	}
	return nil
}

// TestOldPieceIsRefused puts an older value of one key in place of the present one.
func TestOldPieceIsRefused(t *testing.T) {
	d, l := filled(t)
	old := maps.Clone(d.state)
	for i := range checkpoint.Slots {
		b := l.Begin()
		admit(t, b, rec(fmt.Sprint(i), i%6*3600+i, int64(2+i), fmt.Sprint(i), true), span(0, 6*3600))
		b.Cover(sources.Span{From: l.Settled(), To: span(0, 7*3600+i).To}, span(0, 30*3600).To, 0)
		d.commit(t, b)
	}
	kinds := map[string]bool{}
	for key, value := range old {
		now := d.state[key] // of 17 bytes when it is an empty page, which is never read
		if now == nil || len(now) == 17 || bytes.Equal(now, value) {
			continue
		}
		kinds[strings.TrimPrefix(key, prefix)[:1]] = true
		d.state[key] = value
		if err := readAll(d); !fault.IsFatal(err) {
			t.Errorf("%s of an older backup: got %v, want a fatal error", key, err)
		}
		d.state[key] = now
	}
	if err := readAll(d); err != nil {
		t.Error(err)
	}
	if len(kinds) != 4 {
		t.Errorf("got entries of kinds %v, want head, index, deltas and pages", kinds)
	}
}

func TestReadErrorIsTransient(t *testing.T) {
	d, _ := filled(t)
	d.budget = 0
	l := d.ledger(t)
	b := l.Begin()
	d.err = errors.New("store is away")
	r := rec("0", 0, 1, "p", false)
	if _, err := b.Admit(t.Context(), r, span(0, 10)); !errors.Is(err, d.err) || fault.IsFatal(err) {
		t.Errorf("got %v, want the store's error", err)
	}
	d.err = nil
	if _, fresh := admit(t, b, r, span(0, 10)); fresh {
		t.Error("a record that could not be read counts as new")
	}
}

// Neither opening hours nor forgetting reads a page, and forgetting leaves
// nothing behind.
func TestForgetReadsNoPage(t *testing.T) {
	d, _ := filled(t)
	d.budget = 0
	l := d.ledger(t)
	d.gets = 0
	if got := l.Open(t0, span(0, 6*3600).To); len(got) != 1 || !got[0].To.Equal(span(0, 3600).To) {
		t.Errorf("open: got %v, want the first hour", got)
	}
	b := l.Begin()
	b.Cover(span(0, 20*3600), span(0, 30*3600).To, time.Hour)
	b.Seal(span(0, 12*3600).To)
	d.commit(t, b)
	if d.gets != 0 {
		t.Errorf("read %d pages, want none", d.gets)
	}
	for key := range d.state {
		if checkpoint.Paged(key) {
			t.Errorf("page %q is left", key)
		}
	}
	if got := d.ledger(t).Open(t0, span(0, 20*3600).To); len(got) != 0 {
		t.Errorf("open: got %v, want nothing", got)
	}
}

// TestFoundAgain checks records whose place is not plain from one reading to
// the next.
func TestFoundAgain(t *testing.T) {
	undated := sources.Record{ID: "a", Print: "p"}
	day := 24 * 3600
	tests := []struct {
		name          string
		first         sources.Record
		firstWindow   sources.Span
		again         sources.Record
		againWindow   sources.Span
		forget        int // seconds, before the second reading
		open, notOpen []int
	}{
		{
			name: "created long before its window", first: rec("a", 0, 1, "p", false), firstWindow: span(3*day, 3*day+600),
			again: rec("a", 0, 1, "p", false), againWindow: span(3*day, 3*day+1200), forget: 2 * day, open: []int{3 * day},
		},
		{
			name: "found by its update, then by its creation", first: rec("a", 60, 1, "p", false), firstWindow: span(7200, 7800),
			again: rec("a", 60, 1, "p", false), againWindow: span(0, 3599), open: []int{60, 7300}, notOpen: []int{3700},
		},
		{
			name: "a local time that is ambiguous", first: rec("a", 1800, 1, "p", false), firstWindow: span(0, 3599),
			again: rec("a", 5400, 1, "p", false), againWindow: span(3600, 7199), open: []int{1800},
		},
		{
			name: "ambiguous by half an hour", first: rec("a", 1800, 1, "p", false), firstWindow: span(0, 3599),
			again: rec("a", 3600, 1, "p", false), againWindow: span(3600, 7199),
		},
		{
			name: "ambiguous by two hours", first: rec("a", 1800, 1, "p", false), firstWindow: span(0, 3599),
			again: rec("a", 9000, 1, "p", false), againWindow: span(7200, 9999),
		},
		{
			name: "ambiguous, the later hour first", first: rec("a", 5400, 1, "p", false), firstWindow: span(3600, 7199),
			again: rec("a", 1800, 1, "p", false), againWindow: span(0, 3599),
		},
		{
			name: "undated in overlapping windows", first: undated, firstWindow: span(0, 3700),
			again: undated, againWindow: span(3000, 3500), open: []int{60, 3700},
		},
		{name: "undated at the edge", first: undated, firstWindow: span(0, 3599), again: undated, againWindow: span(3600, 7200)},
		{
			name: "undated, a later window", first: undated, firstWindow: span(0, 600), again: undated, againWindow: span(300, 4000),
		},
		{
			name: "undated, then mended", first: undated, firstWindow: span(0, 600),
			again: rec("a", 300, 0, "p", false), againWindow: span(0, 600),
		},
		{
			name: "created in another century", first: rec("a", -1<<33, 1, "p", false), firstWindow: span(0, 600),
			again: rec("a", -1<<33, 1, "p", false), againWindow: span(0, 700),
		},
	}
	for _, tt := range tests {
		d := newDisk()
		l := d.ledger(t)
		b := l.Begin()
		if _, fresh := admit(t, b, tt.first, tt.firstWindow); !fresh {
			t.Errorf("%s: an unknown record is stale", tt.name)
		}
		d.commit(t, b)
		l = d.ledger(t)
		b = l.Begin()
		b.Cover(span(0, 10*day), span(0, 11*day).To, time.Hour)
		b.Seal(span(0, tt.forget).To)
		d.commit(t, b)
		b = l.Begin()
		if _, fresh := admit(t, b, tt.again, tt.againWindow); fresh {
			t.Errorf("%s: would be published again", tt.name)
		}
		d.commit(t, b)
		for want, seconds := range map[bool][]int{true: tt.open, false: tt.notOpen} {
			for _, s := range seconds {
				if got := len(l.Open(span(0, s).To, span(0, s).To)) > 0; got != want {
					t.Errorf("%s: second %d read again: got %v, want %v", tt.name, s, got, want)
				}
			}
		}
		b = l.Begin()
		b.Seal(span(0, 10*day).To)
		d.commit(t, b)
		if got := l.Parts(); got != 0 {
			t.Errorf("%s: %d parts are never forgotten", tt.name, got)
		}
	}
}

// TestDeltaSlots checks that a slot is never overwritten while it is needed,
// however the commits fall on the parts.
func TestDeltaSlots(t *testing.T) {
	d := newDisk()
	d.shrink = func(l *checkpoint.Ledger) { l.Shrink(40, 1<<30, 32, 48) }
	l := d.ledger(t)
	n := 0
	for i := range 400 {
		b := l.Begin()
		for range 100 >> (i % 7) {
			n++
			admit(t, b, rec(fmt.Sprint(n), n%(20*3600), 1, "p", false), span(0, 20*3600))
		}
		d.commit(t, b)
	}
	l = d.ledger(t)
	for i := 1; i <= n; i++ {
		if _, fresh := admit(t, l.Begin(), rec(fmt.Sprint(i), i%(20*3600), 1, "p", false), span(0, 20*3600)); fresh {
			t.Fatalf("record %d of %d is lost", i, n)
		}
	}
	deltas := 0
	for key := range d.state {
		if strings.Contains(key, "/d/") {
			deltas++
		}
	}
	if deltas == 0 || deltas > 49 {
		t.Errorf("got %d deltas, want at most 49", deltas)
	}
}

// TestFoldsEvenly checks that many parts that change in every commit are
// folded a few at a time.
func TestFoldsEvenly(t *testing.T) {
	d := newDisk()
	d.shrink = func(l *checkpoint.Ledger) { l.Shrink(100, 1<<30, 32, 48) }
	l := d.ledger(t)
	const hours = 64
	most := 0
	for i := range 300 {
		b := l.Begin()
		for h := range hours {
			admit(t, b, rec(fmt.Sprint(i*hours+h), h*3600, 1, "p", false), span(0, hours*3600))
		}
		pages := 0
		for _, e := range entries(t, b) {
			if checkpoint.Paged(e.Key) {
				pages++
			}
		}
		most = max(most, pages)
		d.commit(t, b)
	}
	if limit := 3 * hours / 16; most == 0 || most > limit {
		t.Errorf("a commit wrote %d pages, want at most %d of %d", most, limit, l.Parts())
	}
}

// TestPagesAreShared runs ledgers at the same time that push each other's
// pages out of memory.
func TestPagesAreShared(t *testing.T) {
	var mu sync.Mutex
	d := newDisk()
	pages := checkpoint.NewPages(func(ctx context.Context, key string) ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		return d.get(ctx, key)
	}, 1000)
	var group sync.WaitGroup
	for stream := range 4 {
		group.Go(func() {
			l := checkpoint.New("hq", sources.Stream{Name: fmt.Sprint(stream), Tick: tick}, t0, pages)
			l.Shrink(4, 3, 2, 4)
			for i := range 100 {
				b := l.Begin()
				for again, n := range []int{i, i / 2} {
					if v, err := b.Admit(t.Context(), rec(fmt.Sprint(n), n, 1, "p", false), span(0, 3600)); err != nil || v.Fresh != (again == 0) {
						t.Errorf("record %d at %d: got %v, %v", n, i, v, err)
					}
				}
				list, err := b.Entries(t.Context())
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				d.save(list)
				mu.Unlock()
				b.Apply()
			}
		})
	}
	group.Wait()
}

func TestPagesKeepTheirBudget(t *testing.T) {
	d, l := filled(t)
	pages := len(l.Pages())
	for _, tt := range []struct{ budget, least, most int }{{1 << 20, pages / 2, pages}, {200, 2 * pages, 1 << 20}} {
		d.budget, d.gets = tt.budget, 0
		l := d.ledger(t)
		for range 3 {
			b := l.Begin()
			for i := range 60 {
				admit(t, b, rec(fmt.Sprint(i), i%6*3600+i, 1, "p", false), span(0, 6*3600))
			}
		}
		if d.gets < tt.least || d.gets > tt.most {
			t.Errorf("budget of %d bytes: read %d times, want %d to %d for %d pages", tt.budget, d.gets, tt.least, tt.most, pages)
		}
	}
}

// TestDeltasAreBounded checks what is not folded yet, and what a start reads.
func TestDeltasAreBounded(t *testing.T) {
	d := newDisk()
	const limit = 50
	d.shrink = func(l *checkpoint.Ledger) { l.Shrink(1000, limit, 32, 48) }
	l := d.ledger(t)
	for i := range 100 {
		b := l.Begin()
		for j := range 10 {
			admit(t, b, rec(fmt.Sprint(i, j), i, 1, "p", false), span(0, 3600))
		}
		d.commit(t, b)
		bytes := 0
		for key, value := range d.state {
			if strings.Contains(key, "/d/") {
				bytes += len(value)
			}
		}
		if most := (limit + 10) * 32; bytes > most {
			t.Fatalf("got %d bytes of deltas, want at most %d", bytes, most)
		}
	}
}

// TestDeltasWithoutEntries commits only where a record was found.
func TestDeltasWithoutEntries(t *testing.T) {
	d := newDisk()
	l := d.ledger(t)
	for i := range 200 {
		b := l.Begin()
		if _, fresh := admit(t, b, rec("a", 0, 1, "p", false), span((i+1)*3600, (i+1)*3600+60)); fresh != (i == 0) {
			t.Fatalf("commit %d: got %v", i, fresh)
		}
		d.commit(t, b)
		at := span(0, (i+1)*3600).To
		if got := d.ledger(t).Open(at, at); len(got) != 1 {
			t.Fatalf("commit %d: got %v, want the hour of %v", i, got, at)
		}
	}
}

// TestUndatedWindowsGrow puts two rows in one bucket, the second from a longer
// window, and finds that in the beginning of its window.
func TestUndatedWindowsGrow(t *testing.T) {
	l := newDisk().ledger(t)
	d := newDisk()
	second := sources.Record{ID: "b", Print: "p"}
	for _, step := range []struct {
		r    sources.Record
		w    sources.Span
		want bool
	}{
		{sources.Record{ID: "a", Print: "p"}, span(5*3600, 5*3600+10), true},
		{second, span(0, 5*3600+20), true},
		{second, span(100, 200), false},
	} {
		b := l.Begin()
		if _, fresh := admit(t, b, step.r, step.w); fresh != step.want {
			t.Errorf("record %s in %v: got fresh %v, want %v", step.r.ID, step.w, fresh, step.want)
		}
		d.commit(t, b)
	}
}

// TestOpenAfterFolds changes records of several parts while these are folded
// one by one, and asks for the open ones after a restart too.
func TestOpenAfterFolds(t *testing.T) {
	d := newDisk()
	d.shrink = func(l *checkpoint.Ledger) { l.Shrink(100, 1<<20, 4, 12) }
	l := d.ledger(t)
	const records = 6
	var open [records]bool
	for i := range 400 {
		b := l.Begin()
		for n := range records {
			if (i*i+n)%(4+n) == 0 {
				open[n] = !open[n]
				admit(t, b, rec(fmt.Sprint(n), 2*n*3600, int64(i+1), fmt.Sprint(i), !open[n]), span(0, 2*records*3600))
			}
		}
		if b.Empty() {
			continue
		}
		d.commit(t, b)
		restarted := d.ledger(t)
		for name, l := range map[string]*checkpoint.Ledger{"running": l, "restarted": restarted} {
			for n := range records {
				at := span(0, 2*n*3600+60).To
				if got := len(l.Open(at, at)) > 0; got != open[n] {
					t.Fatalf("commit %d, %s: record %d: got open %v, want %v", i, name, n, got, open[n])
				}
			}
		}
		if i%7 == 0 {
			l = restarted
		}
	}
}
