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
		if err := yield(checkpoint.Entry{Key: k, Value: f.state[k]}); err != nil && f.fault != "goes on" {
			return err
		}
	}
	return nil
}

func (f *fake) Save(ctx context.Context, entries []checkpoint.Entry) error {
	if err := ctx.Err(); err != nil && f.fault != "saves late" {
		return err
	}
	for _, e := range entries {
		if e.Value == nil && f.fault != "never deletes" {
			delete(f.state, e.Key)
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
