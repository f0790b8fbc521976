package sinktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"connector/checkpoint"
	"connector/checkpoint/storetest"
	"connector/internal/fault"
	"connector/internal/filelock"
	"connector/internal/wait"
	"connector/sinks"
)

// maxValue is, in bytes, what a page may grow to.
const maxValue = 512 << 10

// checkState commits some states, the later ones of keys that are there.
func checkState(ctx context.Context, r *run) error {
	for i := range 3 {
		e := checkpoint.Entry{Key: prefix + "i", Value: []byte{0, 255, byte(i), '\n'}}
		if err := r.commit(ctx, r.build(r.messages(fmt.Sprint("state ", i), 2, 200), nil, e)); err != nil {
			return err
		}
		if err := r.got(ctx, e); err != nil {
			return err
		}
		if err := r.reopen(ctx); err != nil {
			return err
		}
	}
	_, err := r.fresh(ctx)
	return err
}

// checkDeleted deletes entries. An empty value is one all the same.
func checkDeleted(ctx context.Context, r *run) error {
	slot, page := prefix+"d/63", prefix+"b/2026010200/0000"
	none, empty := []checkpoint.Entry{{Key: slot}, {Key: page}, {Key: prefix + "i"}}, checkpoint.Entry{Key: prefix + "d/62", Value: []byte{}}
	there := []checkpoint.Entry{{Key: slot, Value: []byte("x")}, {Key: page, Value: []byte("y")}, empty}
	for _, list := range [][]checkpoint.Entry{there, none, none} {
		if err := r.commit(ctx, sinks.Commit{State: list}); err != nil {
			return err
		}
		if err := r.got(ctx, list...); err != nil {
			return err
		}
		if err := r.reopen(ctx); err != nil {
			return err
		}
		if err := r.got(ctx, list...); err != nil {
			return fmt.Errorf("opened again: %w", err)
		}
	}
	return nil
}

// got wants the values of keys from Get.
func (r *run) got(ctx context.Context, entries ...checkpoint.Entry) error {
	for _, e := range entries {
		got, err := r.session.Get(ctx, e.Key)
		if err != nil {
			return fmt.Errorf("getting %q: %w", e.Key, err)
		}
		if (got == nil) != (e.Value == nil) || !bytes.Equal(got, e.Value) {
			return fmt.Errorf("getting %q: got %s, want %s", e.Key, value(got, got != nil), value(e.Value, e.Value != nil))
		}
	}
	return nil
}

// checkPages changes pages. What was got before stays as it was.
func checkPages(ctx context.Context, r *run) error {
	key, save := prefix+"b/2026010300/0000", prefix+"s/2026010300/0"
	page := func(text string) []checkpoint.Entry {
		return []checkpoint.Entry{{Key: key, Value: []byte(text)}, {Key: save, Value: []byte("savepoint " + text)}}
	}
	if err := r.commit(ctx, r.build(nil, nil, page("before")...)); err != nil {
		return err
	}
	before, err := r.session.Get(ctx, key)
	if err != nil {
		return err
	}
	if err := r.commit(ctx, r.build(nil, nil, page("behind")...)); err != nil {
		return err
	}
	if string(before) != "before" {
		return fmt.Errorf("a later commit made %s of what was got", short(string(before)))
	}
	if err := r.got(ctx, page("behind")...); err != nil {
		return err
	}
	if err := r.reopen(ctx); err != nil {
		return err
	}
	return r.got(ctx, append(page("behind"), checkpoint.Entry{Key: prefix + "b/2026010300/9999"})...)
}

func checkLargeState(ctx context.Context, r *run) error {
	pages := make([]checkpoint.Entry, 4)
	for i := range pages {
		pages[i] = checkpoint.Entry{Key: fmt.Sprintf("%sb/2026010400/%04d", prefix, i), Value: bytes.Repeat([]byte{byte(i), 0xff, 'x', '\n'}, maxValue/4>>i)}
	}
	if err := r.commit(ctx, r.build(nil, nil, pages...)); err != nil {
		return err
	}
	if err := r.reopen(ctx); err != nil {
		return err
	}
	return r.got(ctx, pages...)
}

// checkGetBeside gets a page while commits change it.
func checkGetBeside(ctx context.Context, r *run) error {
	const rounds = 20
	key := prefix + "b/2026010500/0000"
	if err := r.commit(ctx, r.build(nil, nil, checkpoint.Entry{Key: key, Value: []byte("version 0")})); err != nil {
		return err
	}
	ending, end := context.WithCancel(ctx)
	var getErr error
	var getting sync.WaitGroup
	session := r.session
	getting.Go(func() {
		for last := 0; getErr == nil && wait.For(ending, 200*time.Microsecond) == nil; {
			got, err := session.Get(ctx, key)
			version := 0
			if _, scanErr := fmt.Sscanf(string(got), "version %d", &version); err != nil || scanErr != nil || version < last {
				getErr = fmt.Errorf("after version %d: got %s and error %w", last, short(string(got)), errOr(err))
			}
			last = version
		}
	})
	var err error
	for i := 1; i <= rounds && err == nil; i++ {
		err = r.commit(ctx, r.build(nil, nil, checkpoint.Entry{Key: key, Value: fmt.Appendf(nil, "version %d", i)}))
	}
	end()
	getting.Wait()
	return errors.Join(err, getErr)
}

// checkUnits has two sessions of one sink at a time.
func checkUnits(ctx context.Context, r *run) error {
	if r.target.OneUnit {
		return nil
	}
	key := prefix + "b/2026010600/0000"
	other, err := r.sink.Open(ctx, otherUnits[0])
	if err != nil {
		return fmt.Errorf("opening a second unit: %w", err)
	}
	if err := r.commit(ctx, r.build(nil, nil, checkpoint.Entry{Key: key, Value: []byte("of one unit")})); err != nil {
		return errors.Join(err, other.Close())
	}
	events := r.messages("units", 3, 200)
	if r.limits.Marks {
		r.mark(events)
	}
	theirs := sinks.Commit{Events: events, State: []checkpoint.Entry{{Key: prefix + "h", Value: []byte("head of the other unit")}}}
	page, err := other.Get(ctx, key)
	if err == nil && page != nil {
		err = fmt.Errorf("a unit got %s, a page of another one", short(string(page)))
	}
	if err == nil {
		err = other.Commit(ctx, theirs)
	}
	if err := errors.Join(err, other.Close()); err != nil {
		return fmt.Errorf("second unit: %w", err)
	}
	if err := r.expect(ctx, events, nil, false); err != nil {
		return err
	}
	if err := r.reopen(ctx); err != nil {
		return err
	}
	if other, err = r.sink.Open(ctx, otherUnits[0]); err != nil {
		return fmt.Errorf("opening the second unit again: %w", err)
	}
	got, _, err := recovered(ctx, other)
	if err == nil {
		err = sameState(got, after(map[string][]byte{}, theirs))
	}
	if err := errors.Join(err, other.Close()); err != nil {
		return fmt.Errorf("second unit: %w", err)
	}
	return nil
}

// checkView reads the state of units that are open, closed and not there.
func checkView(ctx context.Context, r *run) error {
	if r.target.View == nil {
		return nil
	}
	if v, err := r.target.View(ctx, "u999"); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = v.Close()
		}
		return fmt.Errorf("viewing a unit that does not exist: got error %w, want fs.ErrNotExist", errOr(err))
	}
	page := checkpoint.Entry{Key: prefix + "b/2026010700/0000", Value: []byte("page")}
	if err := r.commit(ctx, r.build(nil, nil, page)); err != nil {
		return err
	}
	view := func() error {
		want := []checkpoint.Entry{page}
		for k, v := range r.state {
			want = append(want, checkpoint.Entry{Key: k, Value: v})
		}
		return storetest.CheckReader(ctx, func() (checkpoint.Reader, error) { return r.target.View(ctx, mainUnit) }, want)
	}
	if err := view(); err != nil && !errors.Is(err, filelock.ErrHeld) {
		return fmt.Errorf("beside its owner: %w", err)
	}
	if err := r.commit(ctx, r.build(nil, nil)); err != nil {
		return fmt.Errorf("after the unit was viewed: %w", err)
	}
	if err := r.close(); err != nil {
		return err
	}
	if err := view(); err != nil {
		return err
	}
	return r.open(ctx)
}

// checkLost opens units whose state lost an entry: each is refused, as reading
// on would publish again.
func checkLost(ctx context.Context, r *run) error {
	if r.target.Damage == nil {
		return nil
	}
	lost := map[string]string{mainUnit: headKey}
	if !r.target.OneUnit {
		lost = map[string]string{otherUnits[0]: headKey, otherUnits[1]: checkpoint.ManifestKey, otherUnits[2]: checkpoint.FenceKey}
	}
	for unit, key := range lost {
		if err := r.lose(ctx, unit, key); err != nil {
			return fmt.Errorf("unit %s lost its entry %q: %w", unit, key, err)
		}
	}
	return nil
}

func (r *run) lose(ctx context.Context, unit, key string) error {
	if r.session != nil {
		if err := r.close(); err != nil {
			return err
		}
	}
	o, err := r.take(ctx, unit)
	if err != nil {
		return err
	}
	if err := errors.Join(o.session.Commit(ctx, sinks.Commit{State: heads(1)}), o.close()); err != nil {
		return err
	}
	if err := r.target.Damage(ctx, unit, key); err != nil {
		return err
	}
	o, err = r.take(ctx, unit)
	if err == nil {
		return errors.Join(errors.New("it was opened"), o.close())
	}
	if !fault.IsFatal(err) {
		return fmt.Errorf("got error %w, want a fatal one", err)
	}
	return nil
}
