// Package storetest is the conformance kit of checkpoint stores.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"

	"connector/checkpoint"
)

// Open opens the same unit each time it is called.
type Open func() (checkpoint.Store, error)

// Check runs the contract of [checkpoint.Store] against an empty unit and
// returns every promise that is broken.
func Check(ctx context.Context, open Open) error {
	var faults []error
	for _, c := range []struct {
		name string
		run  func(context.Context, Open) error
	}{
		{"a new unit is empty", newIsEmpty},
		{"what was saved is there after reopening", savedSurvives},
		{"a nil value deletes, an empty one does not", nilDeletes},
		{"keys come in order", keysInOrder},
		{"a paged entry is got and not loaded", pagedIsGot},
		{"what was got stays as it was", gotStays},
		{"the error of yield stops loading", yieldStops},
		{"a held unit is refused", heldIsRefused},
		{"a cancelled save changes nothing", cancelledSave},
	} {
		if err := c.run(ctx, open); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", c.name, err))
		}
	}
	return errors.Join(faults...)
}

func use(open Open, f func(checkpoint.Store) error) error {
	s, err := open()
	if err != nil {
		return err
	}
	return errors.Join(f(s), s.Close())
}

func load(ctx context.Context, s checkpoint.Reader) (map[string][]byte, error) {
	state := map[string][]byte{}
	err := s.Load(ctx, func(e checkpoint.Entry) error {
		state[e.Key] = append([]byte{}, e.Value...)
		return nil
	})
	return state, err
}

func expect(ctx context.Context, open Open, want map[string][]byte) error {
	return use(open, func(s checkpoint.Store) error {
		got, err := load(ctx, s)
		if err == nil && !maps.EqualFunc(got, want, bytes.Equal) {
			err = fmt.Errorf("got %q, want %q", got, want)
		}
		return err
	})
}

func save(ctx context.Context, open Open, entries ...checkpoint.Entry) error {
	return use(open, func(s checkpoint.Store) error { return s.Save(ctx, entries) })
}

func newIsEmpty(ctx context.Context, open Open) error {
	return expect(ctx, open, map[string][]byte{})
}

func savedSurvives(ctx context.Context, open Open) error {
	return errors.Join(
		save(ctx, open, checkpoint.Entry{Key: "a/1", Value: []byte("x")}, checkpoint.Entry{Key: "b", Value: []byte{0, 255}}),
		save(ctx, open, checkpoint.Entry{Key: "a/1", Value: []byte("y")}),
		expect(ctx, open, map[string][]byte{"a/1": []byte("y"), "b": {0, 255}}))
}

func nilDeletes(ctx context.Context, open Open) error {
	return errors.Join(
		save(ctx, open, checkpoint.Entry{Key: "a/1"}, checkpoint.Entry{Key: "b", Value: []byte{}}, checkpoint.Entry{Key: "never"}),
		expect(ctx, open, map[string][]byte{"b": {}}))
}

func keysInOrder(ctx context.Context, open Open) error {
	return use(open, func(s checkpoint.Store) error {
		for _, k := range []string{"m", "z", "c"} {
			if err := s.Save(ctx, []checkpoint.Entry{{Key: k, Value: []byte{1}}}); err != nil {
				return err
			}
		}
		return loadsInOrder(ctx, s, nil)
	})
}

func pagedIsGot(ctx context.Context, open Open) error {
	const key = "account/stream/b/2026010100/0000"
	if err := save(ctx, open, checkpoint.Entry{Key: key, Value: []byte("page")}); err != nil {
		return err
	}
	return use(open, func(s checkpoint.Store) error {
		state, err := load(ctx, s)
		if err != nil {
			return err
		}
		if _, ok := state[key]; ok {
			return errors.New("it was loaded")
		}
		for k, want := range map[string][]byte{key: []byte("page"), "account/stream/b/none": nil} {
			if got, err := s.Get(ctx, k); err != nil || !bytes.Equal(got, want) || (got == nil) != (want == nil) {
				return fmt.Errorf("getting %q: got %q, %w, want %q", k, got, err, want)
			}
		}
		return nil
	})
}

func gotStays(ctx context.Context, open Open) error {
	return use(open, func(s checkpoint.Store) error {
		const key = "account/stream/b/2026010100/0001"
		var got []byte
		for _, v := range []string{"before", "behind"} {
			if err := s.Save(ctx, []checkpoint.Entry{{Key: key, Value: []byte(v)}}); err != nil {
				return err
			}
			if v == "before" {
				var err error
				if got, err = s.Get(ctx, key); err != nil {
					return err
				}
			}
		}
		if string(got) != "before" {
			return fmt.Errorf("a later save changed it to %q", got)
		}
		return nil
	})
}

func yieldStops(ctx context.Context, open Open) error {
	return use(open, func(s checkpoint.Store) error { return loadStops(ctx, s, make([]checkpoint.Entry, 1)) })
}

func heldIsRefused(_ context.Context, open Open) error {
	return use(open, func(checkpoint.Store) error {
		second, err := open()
		if err == nil {
			return errors.Join(errors.New("a second store was opened"), second.Close())
		}
		return nil
	})
}

func cancelledSave(ctx context.Context, open Open) error {
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	return use(open, func(s checkpoint.Store) error {
		before, err := load(ctx, s)
		if err != nil {
			return err
		}
		if err := s.Save(cancelled, []checkpoint.Entry{{Key: "late", Value: []byte{1}}, {Key: "later", Value: []byte{1}}}); err == nil {
			return errors.New("saving under a cancelled context gave no error")
		}
		after, err := load(ctx, s)
		if err == nil && !maps.EqualFunc(before, after, bytes.Equal) {
			err = fmt.Errorf("got %q, want %q", after, before)
		}
		return err
	})
}
