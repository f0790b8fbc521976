package checkpoint_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"connector/checkpoint"
	"connector/internal/fault"
)

// held is the durable state of a unit.
type held map[string][]byte

func (h held) value(key string) []byte { return h[key] }

func (h held) save(entries []checkpoint.Entry) {
	for _, e := range entries {
		h[e.Key] = e.Value
	}
}

func TestUnit(t *testing.T) {
	h := held{}
	commit := func(u *checkpoint.Unit, keys ...string) {
		t.Helper()
		var state []checkpoint.Entry
		for _, k := range keys {
			state = append(state, checkpoint.Entry{Key: k, Value: []byte("x")})
		}
		list := u.Commit(state, t0)
		if again := u.Commit(state, t0); len(again) != len(list) {
			t.Errorf("got %d entries when asked again, want %d", len(again), len(list))
		}
		if last := list[len(list)-1].Key; last != checkpoint.FenceKey {
			t.Errorf("got %q as the last entry, want the fence", last)
		}
		h.save(list)
		u.Committed()
	}
	first := checkpoint.NewUnit("first")
	if first.Owns() {
		t.Error("a unit without a commit has an owner")
	}
	commit(first)
	commit(first, "hq/flow/h", "hq/flow/d/01")
	commit(first, "hq/flow/h", "hq/sms?f/h")
	if got, want := first.Fence(), (checkpoint.Fence{Owner: "first", Term: 1, Number: 3, Manifest: first.Fence().Manifest, At: t0}); got != want || !first.Owns() {
		t.Errorf("got %+v, want %+v, owned", got, want)
	}
	second, err := checkpoint.LoadUnit("second", h.value)
	if err != nil {
		t.Fatal(err)
	}
	if second.Owns() || second.Fence() != first.Fence() {
		t.Errorf("got %+v, owned: %v; want %+v, not owned", second.Fence(), second.Owns(), first.Fence())
	}
	taken, err := checkpoint.TakeUnit("second", h[checkpoint.FenceKey])
	if err != nil {
		t.Fatal(err)
	}
	commit(second)
	commit(taken) // the same again
	if got, err := checkpoint.LoadUnit("second", h.value); err != nil || !got.Owns() || got.Fence() != taken.Fence() {
		t.Errorf("taken by the fence alone: got %+v, error %v; want %+v", got.Fence(), err, taken.Fence())
	}
	if got := second.Fence(); got.Term != 2 || got.Number != 4 || got.Owner != "second" {
		t.Errorf("got %+v, want term 2, number 4, of second", got)
	}
	read, err := checkpoint.DecodeFence(h[checkpoint.FenceKey])
	if err != nil || read != second.Fence() || !strings.HasPrefix(read.String(), "second (") {
		t.Errorf("got %v, %v, want %v", read, err, second.Fence())
	}
}

func TestLostStateIsNoNewUnit(t *testing.T) {
	for _, tt := range []struct {
		name, key string
		value     []byte
	}{
		{"no fence", checkpoint.FenceKey, nil},
		{"damaged fence", checkpoint.FenceKey, []byte("x")},
		{"no manifest", checkpoint.ManifestKey, nil},
		{"damaged manifest", checkpoint.ManifestKey, []byte("xxxxxxxx")},
		{"no head of a stream", "hq/flow/h", nil},
	} {
		h := held{}
		u := checkpoint.NewUnit("first")
		h.save(u.Commit([]checkpoint.Entry{{Key: "hq/flow/h", Value: []byte("x")}}, t0))
		u.Committed()
		old := h[checkpoint.ManifestKey]
		h[tt.key] = tt.value
		if _, err := checkpoint.LoadUnit("second", h.value); !fault.IsFatal(err) {
			t.Errorf("%s: got %v, want a fatal error", tt.name, err)
		}
		h[tt.key] = nil
		if len(old) == 0 {
			t.Errorf("%s: no manifest was written", tt.name)
		}
	}
}

// A manifest of an earlier commit does not pass for the present one.
func TestOlderManifestIsRefused(t *testing.T) {
	h := held{}
	u := checkpoint.NewUnit("o")
	h.save(u.Commit([]checkpoint.Entry{{Key: "hq/flow/h", Value: []byte("x")}}, t0))
	u.Committed()
	old := h[checkpoint.ManifestKey]
	h.save(u.Commit([]checkpoint.Entry{{Key: "hq/sms/h", Value: []byte("x")}}, t0))
	h[checkpoint.ManifestKey] = old
	if _, err := checkpoint.LoadUnit("p", h.value); !fault.IsFatal(err) {
		t.Errorf("got %v, want a fatal error", err)
	}
}

func TestNoUnit(t *testing.T) {
	for _, err := range []error{checkpoint.NoUnit("stream DELIVERY"), checkpoint.Emptied("stream DELIVERY")} {
		if !fault.IsFatal(err) || !errors.Is(err, checkpoint.ErrNoUnit) || !strings.Contains(err.Error(), "checkpoint create") {
			t.Errorf("got %v, want a fatal error that names the remedy", err)
		}
	}
}

func FuzzFence(f *testing.F) {
	f.Add(checkpoint.Fence{Owner: "o", Term: 1, Number: 2, At: time.Unix(5, 0)}.Encode())
	f.Fuzz(func(t *testing.T, value []byte) {
		fence, err := checkpoint.DecodeFence(value)
		if err != nil {
			return
		}
		if again, err := checkpoint.DecodeFence(fence.Encode()); err != nil || again != fence {
			t.Errorf("got %+v, %v, want %+v", again, err, fence)
		}
	})
}

// What a crafted mark says is either refused or applied; it never panics.
func FuzzMark(f *testing.F) {
	d := newDisk()
	b := d.ledger(f).Begin()
	admit(f, b, rec("a", 0, 1, "p", false), span(0, 10))
	m := b.Mark("a")
	f.Add(m)
	f.Add(m[:len(m)-4])
	d.commit(f, b)
	f.Fuzz(func(t *testing.T, value []byte) {
		for _, v := range [][]byte{value, checkpoint.SealMark(value)} {
			e, err := checkpoint.MarkEntry(0, v)
			if err != nil {
				continue
			}
			d.marks = []checkpoint.Entry{e}
			l, err := d.load()
			if err != nil {
				continue
			}
			if b, err := l.Recovered(t.Context()); err == nil && b != nil {
				_ = entries(t, b)
			}
		}
	})
}
