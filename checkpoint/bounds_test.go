package checkpoint_test

import (
	"fmt"
	"testing"
	"time"

	"connector/checkpoint"
)

// A ledger that is told of records all over its time, and then to forget most
// of it, writes no commit of more than MaxEntries, and never runs out of slots.
func TestCommitsAreBounded(t *testing.T) {
	d := newDisk()
	l := d.ledger(t)
	most, tidied := 0, 0
	commit := func(b *checkpoint.Batch) {
		list := entries(t, b)
		most = max(most, len(list))
		d.save(list)
		b.Apply()
	}
	n := 0
	for i := range 120 {
		for l.Behind() {
			tidied++
			commit(l.Begin())
		}
		b := l.Begin()
		rows := 300
		if i >= 60 {
			rows = 1
		}
		for range rows {
			at := n % 5000 * 300
			admit(t, b, rec(fmt.Sprint(n), at, 1, "p", false), span(at, at))
			n++
		}
		b.Cover(span(0, 5000*300+3*3600), t0.AddDate(0, 0, 40), time.Hour)
		commit(b)
		if i%20 == 0 {
			l = d.ledger(t)
		}
	}
	if got := d.ledger(t).Held(); got != n {
		t.Errorf("got %d records after a restart, want %d", got, n)
	}
	parts := l.Parts()
	for range 200 {
		b := l.Begin()
		b.Seal(t0.AddDate(0, 0, 30))
		if b.Empty() {
			break
		}
		commit(b)
	}
	if left := l.Parts(); parts < 4000 || left != 0 {
		t.Errorf("got %d pages before and %d after all was given up, want thousands and none", parts, left)
	}
	if tidied == 0 || most > checkpoint.MaxEntries || most < 100 {
		t.Errorf("got %d commits that only fold, and at most %d entries in a commit, want some, and at most %d", tidied, most, checkpoint.MaxEntries)
	}
}
