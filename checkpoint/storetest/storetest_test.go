package storetest_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"connector/checkpoint"
	"connector/checkpoint/storetest"
)

// fake is a store in memory, with one promise broken at a time.
type fake struct {
	state map[string][]byte
	held  bool
	fault string
}

func (f *fake) open() (checkpoint.Store, error) {
	if f.held && f.fault != "no lock" {
		return nil, errors.New("held")
	}
	if f.state == nil || f.fault == "forgets" {
		f.state = map[string][]byte{}
	}
	f.held = true
	return f, nil
}

func (f *fake) Load(_ context.Context, yield func(checkpoint.Entry) error) error {
	keys := slices.Sorted(maps.Keys(f.state))
	if f.fault == "unordered" {
		slices.Reverse(keys)
	}
	for _, k := range keys {
		if checkpoint.Paged(k) && f.fault != "loads pages" {
			continue
		}
		if err := yield(checkpoint.Entry{Key: k, Value: f.state[k]}); err != nil && f.fault != "goes on" {
			return err
		}
	}
	return nil
}

func (f *fake) Get(_ context.Context, key string) ([]byte, error) {
	if f.fault == "gets nothing" {
		return nil, nil
	}
	return f.state[key], nil
}

func (f *fake) Save(ctx context.Context, entries []checkpoint.Entry) error {
	if err := ctx.Err(); err != nil && f.fault != "saves late" {
		if f.fault == "saves half" {
			f.state[entries[0].Key] = entries[0].Value
		}
		return err
	}
	if f.fault == "forgets a neighbour" && len(entries) > 1 {
		entries = entries[:len(entries)-1]
	}
	for _, e := range entries {
		if (e.Value == nil || f.fault == "deletes the empty value" && len(e.Value) == 0) && f.fault != "never deletes" {
			delete(f.state, e.Key)
			continue
		}
		if f.fault == "writes in place" && len(f.state[e.Key]) == len(e.Value) {
			copy(f.state[e.Key], e.Value)
			continue
		}
		f.state[e.Key] = e.Value
	}
	return nil
}

func (f *fake) Close() error { f.held = false; return nil }

func TestKitFindsBrokenStores(t *testing.T) {
	for fault, want := range map[string]string{
		"":              "",
		"forgets":       "what was saved is there",
		"never deletes": "a nil value deletes",
		"unordered":     "keys come in order",
		"goes on":       "the error of yield",
		"no lock":       "a held unit is refused",
		"saves late":    "a cancelled save",
		"saves half":    "a cancelled save",

		"forgets a neighbour":     "what was saved is there",
		"deletes the empty value": "a nil value deletes",

		"loads pages":     "a paged entry",
		"gets nothing":    "a paged entry",
		"writes in place": "what was got stays",
	} {
		err := storetest.Check(t.Context(), (&fake{fault: fault}).open)
		if want == "" && err != nil {
			t.Errorf("sound store: got %v", err)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want a fault about %q", fault, err, want)
		}
	}
}

func TestKitFindsBrokenReaders(t *testing.T) {
	const page = "account/stream/b/2026010100/0000"
	want := []checkpoint.Entry{{Key: "account/stream/h", Value: []byte("head")}, {Key: "account/stream/i", Value: []byte{}}, {Key: page, Value: []byte("page")}}
	for fault, part := range map[string]string{
		"":             "",
		"unordered":    "keys come in order",
		"goes on":      "the error of yield",
		"loads pages":  "the state is loaded",
		"gets nothing": "every entry is got",
		"shows less":   "the state is loaded",
		"shows more":   "the state is loaded",
		"stale":        "every entry is got",
	} {
		f := &fake{fault: fault, state: map[string][]byte{checkpoint.FenceKey: {1}, checkpoint.ManifestKey: {2}}}
		for _, e := range want {
			f.state[e.Key] = e.Value
		}
		switch fault {
		case "shows less":
			delete(f.state, want[0].Key)
		case "shows more":
			f.state["account/stream/d/01"] = []byte("delta")
		case "stale":
			f.state[page] = []byte("before")
		}
		err := storetest.CheckReader(t.Context(), func() (checkpoint.Reader, error) { return f, nil }, want)
		if part == "" && err != nil {
			t.Errorf("sound reader: got %v", err)
		}
		if part != "" && (err == nil || !strings.Contains(err.Error(), part)) {
			t.Errorf("%s: got %v, want a fault about %q", fault, err, part)
		}
	}
}
