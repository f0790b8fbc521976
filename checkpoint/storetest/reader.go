package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"

	"connector/checkpoint"
)

// CheckReader checks that the reader open returns, each time it is called,
// shows want: the whole state, pages included, with the entries that belong to
// no stream left out. It returns every promise of [checkpoint.Reader] that is
// broken, and stops at an error of open, which it returns as it is.
func CheckReader(ctx context.Context, open func() (checkpoint.Reader, error), want []checkpoint.Entry) error {
	v, err := open()
	if err != nil {
		return err
	}
	faults := []error{v.Close()}
	for _, c := range []struct {
		name string
		run  func(context.Context, checkpoint.Reader, []checkpoint.Entry) error
	}{
		{"the state is loaded without its pages", loadsState},
		{"keys come in order", loadsInOrder},
		{"every entry is got", getsEntries},
		{"the error of yield stops loading", loadStops},
	} {
		v, err := open()
		if err == nil {
			err = errors.Join(c.run(ctx, v, want), v.Close())
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", c.name, err))
		}
	}
	return errors.Join(faults...)
}

func loadsState(ctx context.Context, v checkpoint.Reader, want []checkpoint.Entry) error {
	state := map[string][]byte{}
	for _, e := range want {
		if !checkpoint.Paged(e.Key) {
			state[e.Key] = e.Value
		}
	}
	got, err := load(ctx, v)
	maps.DeleteFunc(got, func(key string, _ []byte) bool { return key == checkpoint.FenceKey || key == checkpoint.ManifestKey })
	if err == nil && !maps.EqualFunc(got, state, bytes.Equal) {
		err = fmt.Errorf("got %.500q, want %.500q", got, state)
	}
	return err
}

func loadsInOrder(ctx context.Context, v checkpoint.Reader, _ []checkpoint.Entry) error {
	last := ""
	return v.Load(ctx, func(e checkpoint.Entry) error {
		if e.Key <= last {
			return fmt.Errorf("%q came after %q", e.Key, last)
		}
		last = e.Key
		return nil
	})
}

func getsEntries(ctx context.Context, v checkpoint.Reader, want []checkpoint.Entry) error {
	for _, e := range append([]checkpoint.Entry{{Key: "account/stream/b/none"}}, want...) {
		got, err := v.Get(ctx, e.Key)
		if err != nil {
			return fmt.Errorf("getting %q: %w", e.Key, err)
		}
		if !bytes.Equal(got, e.Value) || (got == nil) != (e.Value == nil) {
			return fmt.Errorf("getting %q: got %.100q, want %.100q", e.Key, got, e.Value)
		}
	}
	return nil
}

func loadStops(ctx context.Context, v checkpoint.Reader, want []checkpoint.Entry) error {
	if len(want) == 0 {
		return nil
	}
	stop, calls := errors.New("stop"), 0
	err := v.Load(ctx, func(checkpoint.Entry) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		return fmt.Errorf("got %w after %d calls, want the error of yield after 1", err, calls)
	}
	return nil
}
