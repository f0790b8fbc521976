package checkpoint_test

import (
	"testing"

	"connector/checkpoint"
	"connector/sources"
)

// TestDeadVersions follows the versions of one record of which some become dead
// letters; each step is a commit, after which the ledger is loaded anew.
func TestDeadVersions(t *testing.T) {
	v1, v2, v3 := rec("a", 60, 1, "p1", false), rec("a", 60, 2, "p2", false), rec("a", 60, 3, "p3", false)
	garbled := bad("a", "g")
	type step struct {
		r    sources.Record
		dead bool
		want checkpoint.Version
	}
	fresh := func(revision int, resolves bool) checkpoint.Version {
		return checkpoint.Version{Revision: revision, Fresh: true, Resolves: resolves}
	}
	known := func(revision int, current, dead, unresolved bool) checkpoint.Known {
		return checkpoint.Known{Record: true, Revision: revision, Current: current, Dead: dead, Unresolved: unresolved}
	}
	for _, tt := range []struct {
		name  string
		steps []step
		look  sources.Record
		want  checkpoint.Known
	}{
		{"published", []step{{v1, false, fresh(1, false)}}, v1, known(1, true, false, false)},
		{"dead", []step{{v1, true, fresh(1, false)}}, v1, known(0, true, true, true)},
		{"dead, then the next", []step{{v1, true, fresh(1, false)}, {v2, false, fresh(1, true)}}, v2, known(1, true, false, false)},
		{"the next is dead", []step{{v1, false, fresh(1, false)}, {v2, true, fresh(2, false)}}, v2, known(1, true, true, true)},
		{"an older one", []step{{v1, false, fresh(1, false)}, {v2, true, fresh(2, false)}}, v1, known(1, false, false, true)},
		{"dead twice", []step{{v1, true, fresh(1, false)}, {v2, true, fresh(1, true)}, {v3, false, fresh(1, true)}}, v3, known(1, true, false, false)},
		{"garbled", []step{{v1, false, fresh(1, false)}, {garbled, true, fresh(2, false)}}, v1, known(1, true, false, true)},
		{"garbled, then the next", []step{{v1, false, fresh(1, false)}, {garbled, true, fresh(2, false)}, {v2, false, fresh(2, true)}}, v2, known(2, true, false, false)},
		{"dead, then garbled", []step{{v1, true, fresh(1, false)}, {garbled, true, fresh(1, true)}}, v1, known(0, true, true, true)},
		{"garbled before", []step{{garbled, true, fresh(1, false)}, {v1, false, fresh(1, true)}}, v1, known(1, true, false, false)},
	} {
		disk := newDisk()
		for _, s := range tt.steps {
			b := disk.ledger(t).Begin()
			got, err := b.Admit(t.Context(), s.r, span(0, 3600))
			if err != nil || got != s.want {
				t.Errorf("%s: got %+v, %v, want %+v", tt.name, got, err, s.want)
			}
			if s.dead {
				b.Dead(s.r)
			}
			disk.commit(t, b)
		}
		b := disk.ledger(t).Begin()
		if err := b.Read(t.Context(), []sources.Record{tt.look}, span(0, 3600)); err != nil {
			t.Fatal(err)
		}
		if got := b.Known(tt.look); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// TestRevive makes an event of a dead version, or takes that back.
func TestRevive(t *testing.T) {
	v1, v2 := rec("a", 60, 1, "p1", false), rec("a", 60, 2, "p2", false)
	disk := newDisk()
	b := disk.ledger(t).Begin()
	admit(t, b, v1, span(0, 3600))
	admit(t, b, v2, span(0, 3600))
	b.Dead(v2)
	disk.commit(t, b)
	for _, undone := range []bool{true, false} {
		b := disk.ledger(t).Begin()
		if _, fresh := admit(t, b, v2, span(0, 3600)); fresh {
			t.Fatal("a dead version is new")
		}
		undo := b.Undo("a")
		if got, want := b.Revive(v2), (checkpoint.Version{Revision: 2, Resolves: true}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if undone {
			undo()
		}
		if b.Empty() != undone {
			t.Errorf("undone %v: got empty %v", undone, b.Empty())
		}
		disk.commit(t, b)
		b = disk.ledger(t).Begin()
		if err := b.Read(t.Context(), []sources.Record{v2}, span(0, 3600)); err != nil {
			t.Fatal(err)
		}
		want := checkpoint.Known{Record: true, Revision: 2, Current: true}
		if undone {
			want = checkpoint.Known{Record: true, Revision: 1, Current: true, Dead: true, Unresolved: true}
		}
		if got := b.Known(v2); got != want {
			t.Errorf("undone %v: got %+v, want %+v", undone, got, want)
		}
	}
}
