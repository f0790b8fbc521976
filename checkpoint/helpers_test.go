package checkpoint_test

import (
	"bytes"
	"context"

	"connector/checkpoint"
	"connector/sources"
)

// disk is a store in memory, for restoring ledgers.
type disk struct {
	state  map[string][]byte
	budget int
	gets   int
	err    error              // of Get
	marks  []checkpoint.Entry // that the state does not cover
	shrink func(*checkpoint.Ledger)
	stream sources.Stream
}

func newDisk() *disk {
	return &disk{state: map[string][]byte{}, budget: checkpoint.DefaultPageBytes, shrink: func(*checkpoint.Ledger) {}, stream: flow}
}

func (d *disk) get(_ context.Context, key string) ([]byte, error) {
	d.gets++
	return d.state[key], d.err
}

func (d *disk) save(entries []checkpoint.Entry) {
	for _, e := range entries {
		if e.Value == nil {
			delete(d.state, e.Key)
			continue
		}
		d.state[e.Key] = bytes.Clone(e.Value)
	}
}

// load returns the ledger that the state describes, or a new one.
func (d *disk) load() (*checkpoint.Ledger, error) {
	pages := checkpoint.NewPages(d.get, d.budget)
	if len(d.state) == 0 {
		l := checkpoint.New("hq", d.stream, t0, pages)
		d.shrink(l)
		return l, nil
	}
	var entries []checkpoint.Entry
	for k, v := range d.state {
		if !checkpoint.Paged(k) {
			entries = append(entries, checkpoint.Entry{Key: k, Value: v})
		}
	}
	l, err := checkpoint.Load("hq", d.stream, append(entries, d.marks...), pages)
	if err == nil {
		d.shrink(l)
	}
	return l, err
}

type fataler interface {
	Helper()
	Fatal(...any)
}

func (d *disk) ledger(t fataler) *checkpoint.Ledger {
	t.Helper()
	l, err := d.load()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (d *disk) commit(t fataler, b *checkpoint.Batch) {
	t.Helper()
	d.save(entries(t, b))
	b.Apply()
}

func entries(t fataler, b *checkpoint.Batch) []checkpoint.Entry {
	t.Helper()
	list, err := b.Entries(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func admit(t fataler, b *checkpoint.Batch, r sources.Record, w sources.Span) (int, bool) {
	t.Helper()
	v, err := b.Admit(context.Background(), r, w)
	if err != nil {
		t.Fatal(err)
	}
	return v.Revision, v.Fresh
}
