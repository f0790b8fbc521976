package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"connector/checkpoint"
	checkpointfile "connector/checkpoint/file"
	"connector/internal/config"
	"connector/internal/fault"
	"connector/internal/filelock"
	"connector/schema"
	"connector/sinks"
	"connector/sinks/sinktest"
	"connector/sources"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// world is a folder with a file and its checkpoint.
type world struct {
	dir string
	cfg Config
	log strings.Builder
	new bool
}

func newWorld(dir string, rotate int64) *world {
	return &world{dir: dir, cfg: Config{Path: filepath.Join(dir, "f"), RotateBytes: config.ByteSize(rotate)}}
}

func (w *world) options() sinks.Options {
	return sinks.Options{
		Owner: "test", New: w.new, Log: slog.New(slog.NewTextHandler(&w.log, nil)),
		Store: func(_ context.Context, unit string) (checkpoint.Store, error) {
			return checkpointfile.Open(w.state(), unit)
		},
	}
}

func (w *world) state() string { return filepath.Join(w.dir, "state") }

func (w *world) view() (checkpoint.Reader, error) { return checkpointfile.View(w.state(), "u0") }

// owner is an open sink with its unit.
type owner struct {
	sinks.Session
	sink sinks.Sink
}

func (o owner) Close() error { return errors.Join(o.Session.Close(), o.sink.Close()) }

func (w *world) open(ctx context.Context) (owner, error) {
	s, err := NewSink(w.cfg, w.options())
	if err != nil {
		return owner{}, err
	}
	n, err := s.Open(ctx, "u0")
	if err != nil {
		return owner{}, errors.Join(err, s.Close())
	}
	return owner{n, s}, nil
}

// use opens the sink, does something and closes it.
func (w *world) use(t testing.TB, do func(sinks.Session)) {
	t.Helper()
	o, err := w.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	do(o)
	if err := o.Close(); err != nil {
		t.Error(err)
	}
}

const headKey = "acct/sms/h"

// commit commits batch number n, with n as the state.
func commit(t testing.TB, s sinks.Session, n int) {
	t.Helper()
	if err := s.Commit(context.Background(), numbered(n)); err != nil {
		t.Fatal(err)
	}
}

func numbered(n int) sinks.Commit {
	return sinks.Commit{Events: events(n, 3, 1000), State: []checkpoint.Entry{{Key: headKey, Value: fmt.Append(nil, n)}}}
}

// events returns the n messages of a batch.
func events(batch, n, size int) []schema.Message {
	all := make([]schema.Message, n)
	for i := range all {
		record := fmt.Sprintf("%d/%d", batch, i)
		all[i] = schema.Message{
			ID: schema.EventID("acct", "sms", record, ""), Type: "delivery.sms.delivered",
			Source:   schema.Source{System: "submail", Account: "acct", Stream: "sms"},
			RecordID: record, Time: time.Unix(1774749599, 0), DataSchema: schema.DataSchema,
			Body: fmt.Appendf(nil, `{"fill":%q}`, strings.Repeat("x", size)),
		}
	}
	return all
}

// records returns the record ids that a reader finds.
func (w *world) records(t testing.TB) []string {
	t.Helper()
	var got []string
	err := Tail(t.Context(), w.cfg, w.view, sinks.TailOptions{FromStart: true, Dead: true}, func(r sinks.Received) error {
		got = append(got, r.Attribute("subject"))
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return got
}

// want returns the record ids of the batches from the first to the last.
func want(first, last int) []string {
	var ids []string
	for n := first; n <= last; n++ {
		for i := range 3 {
			ids = append(ids, fmt.Sprintf("%d/%d", n, i))
		}
	}
	return ids
}

func (w *world) expect(t *testing.T, what string, want []string) {
	t.Helper()
	if got := w.records(t); !slices.Equal(got, want) {
		t.Errorf("%s: got records %v, want %v", what, got, want)
	}
}

func TestSinkConforms(t *testing.T) {
	t.Parallel()
	for _, rotate := range []int64{0, 1} {
		t.Run(fmt.Sprint("rotate ", rotate), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t.TempDir(), rotate)
			err := sinktest.Check(t.Context(), sinktest.Target{
				OneUnit: true,
				Open:    func(context.Context) (sinks.Sink, error) { return NewSink(w.cfg, w.options()) },
				Tail: func(ctx context.Context, opts sinks.TailOptions, yield func(sinks.Received) error) error {
					return Tail(ctx, w.cfg, w.view, opts, stable(yield))
				},
				View: func(_ context.Context, unit string) (checkpoint.Reader, error) {
					return checkpointfile.View(w.state(), unit)
				},
				Crash: func(sink sinks.Sink, session sinks.Session) error { return errors.Join(session.Close(), sink.Close()) },
				Damage: func(ctx context.Context, unit, key string) error {
					s, err := checkpointfile.Open(w.state(), unit)
					if err != nil {
						return err
					}
					return errors.Join(s.Save(ctx, []checkpoint.Entry{{Key: key}}), s.Close())
				},
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// stable gives messages a position that rotation does not change.
func stable(yield func(sinks.Received) error) func(sinks.Received) error {
	seen := map[string]int{}
	return func(r sinks.Received) error {
		key := r.Attribute("id") + r.Attribute("replayid")
		seen[key]++
		r.Position = fmt.Sprint(key, " ", seen[key])
		return yield(r)
	}
}

// edit changes the file the way others do.
func (w *world) edit(t *testing.T, do func(content []byte) []byte) {
	t.Helper()
	content, err := os.ReadFile(w.cfg.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.cfg.Path, do(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestOpenSettles changes, while nothing runs, the file that the checkpoint tells of.
func TestOpenSettles(t *testing.T) {
	whole := string(lines(events(9, 1, 10), nil))
	add := func(text string) func([]byte) []byte {
		return func(b []byte) []byte { return append(b, text...) }
	}
	tests := []struct {
		name string
		edit func([]byte) []byte
		log  string // what is said, if the file is taken
		err  string // what is said, if it is refused
	}{
		{"as it was", add(""), "", ""},
		{"uncommitted lines", add(whole + whole), "cut off the end of the file, of a commit that was interrupted", ""},
		{"a torn line", add(whole[:100]), "cut off the end of the file", ""},
		{"zeros", add(strings.Repeat("\x00", 5000)), "cut off the end of the file", ""},
		{"zeros before the end of a line", add(strings.Repeat("\x00", 5000) + whole[100:]), "cut off the end of the file", ""},
		{"text of others", add("not ours\n"), "", "holds what the connector did not write; remove it, or set another FILE_PATH"},
		{"shorter", func(b []byte) []byte { return b[:len(b)-1] }, "", "fewer than the"},
		{"empty", func([]byte) []byte { return nil }, "", "restore it, or set another FILE_PATH"},
		{"replaced", func(b []byte) []byte { return []byte(strings.Replace(string(b), "2/2", "9/9", 1)) }, "", "is not the one that was written"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t.TempDir(), 0)
			w.use(t, func(s sinks.Session) {
				for n := 1; n <= 2; n++ {
					commit(t, s, n)
				}
			})
			w.edit(t, tt.edit)
			o, err := w.open(t.Context())
			if tt.err != "" {
				if !fault.IsFatal(err) || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, want a fatal error with %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			commit(t, o, 3)
			if err := o.Close(); err != nil {
				t.Error(err)
			}
			w.expect(t, "after it", want(1, 3))
			if got := w.log.String(); !strings.Contains(got, tt.log) || (tt.log == "") != (got == "") {
				t.Errorf("got log %q, want %q", got, tt.log)
			}
		})
	}
}

func TestOpenRefusesAMissingFile(t *testing.T) {
	w := newWorld(t.TempDir(), 0)
	w.use(t, func(s sinks.Session) { commit(t, s, 1) })
	if err := os.Remove(w.cfg.Path); err != nil {
		t.Fatal(err)
	}
	if _, err := w.open(t.Context()); !fault.IsFatal(err) || !strings.Contains(err.Error(), "is gone; restore it") {
		t.Errorf("got %v, want that the file is gone", err)
	}
	w.cfg.Path += "2"
	w.use(t, func(s sinks.Session) { commit(t, s, 2) })
	w.expect(t, "another path", want(2, 2))
	if got := w.log.String(); !strings.Contains(got, "FILE_PATH has changed") {
		t.Errorf("got log %q, want that the path has changed", got)
	}
}

// TestOtherPath goes on at the end of a file that is there. What was not
// committed in the earlier one does not stay.
func TestOtherPath(t *testing.T) {
	w := newWorld(t.TempDir(), 0)
	w.use(t, func(s sinks.Session) { commit(t, s, 1) })
	w.edit(t, func(b []byte) []byte { return append(b, lines(events(2, 3, 10), nil)...) })
	earlier := w.cfg
	w.cfg.Path += "2"
	if err := os.WriteFile(w.cfg.Path, lines(events(0, 3, 10), nil), 0o600); err != nil {
		t.Fatal(err)
	}
	w.use(t, func(s sinks.Session) { commit(t, s, 2) })
	w.use(t, func(sinks.Session) {})
	w.expect(t, "the other file", append(want(0, 0), want(2, 2)...))
	w.cfg = earlier
	w.expect(t, "the earlier file", want(1, 1))
}

// TestMovedWithItsPath moves the file and tells where: what was not committed does
// not stay there either.
func TestMovedWithItsPath(t *testing.T) {
	w := newWorld(t.TempDir(), 0)
	w.use(t, func(s sinks.Session) { commit(t, s, 1) })
	w.edit(t, func(b []byte) []byte { return append(b, lines(events(2, 3, 1000), nil)...) })
	earlier := w.cfg.Path
	w.cfg.Path += "2"
	if err := os.Rename(earlier, w.cfg.Path); err != nil {
		t.Fatal(err)
	}
	w.use(t, func(s sinks.Session) { commit(t, s, 2) })
	w.expect(t, "the moved file", want(1, 2))
}

// TestBegin opens files that no checkpoint tells of.
func TestBegin(t *testing.T) {
	whole := string(lines(events(0, 1, 10), nil))
	tests := []struct {
		name    string
		content string
		before  func(*testing.T, *world)
		err     string
		want    string // the content that is left
	}{
		{"nothing", "", nil, "", ""},
		{"events", whole, nil, `connector checkpoint create`, whole},
		{"events, to begin anew", whole + whole[:50], func(_ *testing.T, w *world) { w.new = true }, "", whole},
		{"text of others", "x", nil, "there is no checkpoint", "x"},
		{"a file that was put away", "", func(t *testing.T, w *world) {
			if err := os.WriteFile(rotatedName(w.cfg.Path, 3), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "there is no checkpoint", ""},
		{"events of an earlier version", whole, earlier, "", whole},
		{"a torn line of an earlier version", whole + whole[:50], earlier, "", whole},
		{"an earlier version and text of others", whole + "x", earlier, "ends in the middle of a line", whole + "x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t.TempDir(), 0)
			if err := os.WriteFile(w.cfg.Path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if tt.before != nil {
				tt.before(t, w)
			}
			o, err := w.open(t.Context())
			switch {
			case tt.err != "" && (!fault.IsFatal(err) || !strings.Contains(err.Error(), tt.err)):
				t.Errorf("got %v, want a fatal error with %q", err, tt.err)
			case tt.err == "" && err != nil:
				t.Fatal(err)
			case tt.err == "":
				if err := errors.Join(o.Commit(t.Context(), sinks.Commit{Events: events(1, 1, 10)}), o.Close()); err != nil {
					t.Error(err)
				}
				tt.want += string(lines(events(1, 1, 10), nil))
				w.use(t, func(sinks.Session) {}) // once more: nothing is adopted again
			}
			if got, err := os.ReadFile(w.cfg.Path); string(got) != tt.want {
				t.Errorf("got file %.300q, %v, want %.300q", got, err, tt.want)
			}
		})
	}
}

// earlier leaves a checkpoint as earlier versions did, without fence and position.
func earlier(t *testing.T, w *world) {
	t.Helper()
	s, err := checkpointfile.Open(w.state(), "u0")
	if err != nil {
		t.Fatal(err)
	}
	l := checkpoint.New("acct", sources.Stream{Name: "sms", Tick: time.Second}, time.Unix(1774740000, 0), checkpoint.NewPages(s.Get, 0))
	state, err := l.Begin().Entries(t.Context())
	if err := errors.Join(err, s.Save(t.Context(), state), s.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestNewSinkRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := newWorld(dir, 0)
	o, err := w.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = o.Close() }()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, path, want string }{
		{"held", w.cfg.Path, "stop the other connector"},
		{"no folder", filepath.Join(dir, "none", "f"), "FILE_PATH"},
		{"folder", dir, "FILE_PATH"},
		{"fifo", fifo, "CONNECTOR_SINK=stdout"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var err error
			synctest.Test(t, func(*testing.T) { _, err = NewSink(Config{Path: tt.path}, sinks.Options{Log: quiet()}) })
			if !fault.IsFatal(err) || !strings.Contains(err.Error(), tt.want) || tt.name == "held" != errors.Is(err, filelock.ErrHeld) {
				t.Errorf("got %v, want a fatal error with %q", err, tt.want)
			}
		})
	}
	if _, err := o.sink.Open(t.Context(), "u1"); !fault.IsFatal(err) {
		t.Errorf("a second unit: got %v, want a fatal error", err)
	}
}

// TestOpenWithoutCheckpoint has a data folder that cannot be used, or a checkpoint that another sink holds: both are
// said, with what to do, and the next try is free to open the unit.
func TestOpenWithoutCheckpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t.TempDir(), 0)
	if err := os.WriteFile(w.state(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.open(t.Context()); !fault.IsFatal(err) || !strings.Contains(err.Error(), "make CONNECTOR_DATA_DIR writable") {
		t.Errorf("got %v for a folder that is a file", err)
	}
	if err := os.Remove(w.state()); err != nil {
		t.Fatal(err)
	}
	held, err := checkpointfile.Open(w.state(), "u0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.open(t.Context()); !errors.Is(err, filelock.ErrHeld) {
		t.Errorf("got %v for a checkpoint that is held", err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	w.use(t, func(sinks.Session) {})
}

// TestChangedFile keeps nothing that was committed in a file nobody sees, and
// the checkpoint in step with what others do to the file meanwhile.
func TestChangedFile(t *testing.T) {
	w := newWorld(t.TempDir(), 0)
	path := w.cfg.Path
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	next := func(o sinks.Session) {
		t.Helper()
		n++
		commit(t, o, n)
	}
	w.use(t, func(s sinks.Session) {
		next(s)
		must(os.Rename(path, path+".moved"))
		next(s)
		must(os.Remove(path))
		next(s)
		must(os.Truncate(path, 0))
		next(s)
		must(os.Rename(path+".moved", path))
		next(s)
		w.edit(t, func(b []byte) []byte { return append(b, lines(events(0, 3, 10), nil)...) })
		next(s)
	})
	w.use(t, func(s sinks.Session) { next(s) })
	w.expect(t, "after all", slices.Concat(want(1, 1), want(5, 5), want(0, 0), want(6, 7)))
}

// TestMovedWhileIdle moves the file away, or empties it, before a commit that
// changes the state only: the next start finds what the checkpoint says.
func TestMovedWhileIdle(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"moved":   func(path string) error { return os.Rename(path, path+".moved") },
		"emptied": func(path string) error { return os.Truncate(path, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t.TempDir(), 0)
			w.use(t, func(s sinks.Session) {
				commit(t, s, 1)
				if err := change(w.cfg.Path); err != nil {
					t.Fatal(err)
				}
				if err := s.Commit(t.Context(), sinks.Commit{State: numbered(2).State}); err != nil {
					t.Fatal(err)
				}
			})
			w.use(t, func(s sinks.Session) { commit(t, s, 3) })
			w.expect(t, "after a restart", want(3, 3))
		})
	}
}

// TestMovedBeforeACrash has what a crash leaves that comes after a moved file
// was made anew, and before or after that is saved.
func TestMovedBeforeACrash(t *testing.T) {
	for name, fails := range map[string]bool{"before": true, "after": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t.TempDir(), 0)
			o, err := w.open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			commit(t, o, 1)
			if err := os.Rename(w.cfg.Path, w.cfg.Path+".moved"); err != nil {
				t.Fatal(err)
			}
			n := o.Session.(*session)
			n.store = &failing{Store: n.store, fail: func(s checkpoint.Store, entries []checkpoint.Entry) error {
				if _, err := os.Stat(w.cfg.Path); err == nil && fails {
					return errors.New("broken")
				}
				return s.Save(context.Background(), entries)
			}}
			if err := n.prepare(t.Context()); fails == (err == nil) {
				t.Fatalf("got %v, want an error: %v", err, fails)
			}
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
			w.edit(t, func(b []byte) []byte { return append(b, lines(events(2, 3, 1000), nil)...) })
			w.use(t, func(s sinks.Session) { commit(t, s, 2) })
			w.expect(t, "after the crash", want(2, 2))
		})
	}
}

// TestRotationReplacesNothing begins anew beside files that were put away before.
func TestRotationReplacesNothing(t *testing.T) {
	w := newWorld(t.TempDir(), 1)
	w.new = true
	if err := os.WriteFile(rotatedName(w.cfg.Path, 1), lines(events(0, 3, 10), nil), 0o600); err != nil {
		t.Fatal(err)
	}
	w.use(t, func(s sinks.Session) {
		for n := 1; n <= 3; n++ {
			commit(t, s, n)
		}
	})
	w.expect(t, "after rotating", want(0, 3))
}

// failing is a store that fails to save.
type failing struct {
	checkpoint.Store
	fail func(s checkpoint.Store, entries []checkpoint.Entry) error // nil: it works
}

func (f *failing) Save(ctx context.Context, entries []checkpoint.Entry) error {
	if f.fail != nil {
		return f.fail(f.Store, entries)
	}
	return f.Store.Save(ctx, entries)
}

// TestSavingFails leaves nothing of a commit that was not saved, and stores it once when
// saving succeeded and said it had not.
func TestSavingFails(t *testing.T) {
	errBroken := errors.New("broken")
	for name, fail := range map[string]func(checkpoint.Store, []checkpoint.Entry) error{
		"before": func(checkpoint.Store, []checkpoint.Entry) error { return errBroken },
		"after": func(s checkpoint.Store, entries []checkpoint.Entry) error {
			return errors.Join(s.Save(context.Background(), entries), errBroken)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t.TempDir(), 0)
			o, err := w.open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			commit(t, o, 1)
			n := o.Session.(*session)
			store := &failing{Store: n.store}
			n.store = store
			calls := 0
			store.fail = func(s checkpoint.Store, entries []checkpoint.Entry) error {
				if calls++; calls == 2 {
					store.fail = nil
				}
				return fail(s, entries)
			}
			err = o.Commit(t.Context(), numbered(2))
			for err != nil && !fault.IsFatal(err) {
				w.expect(t, "after an error", want(1, 1))
				stored, getErr := store.Get(t.Context(), checkpointfile.PositionKey)
				p, decodeErr := decodePosition(stored)
				if length, err := sizeOf(w.cfg.Path); errors.Join(err, getErr, decodeErr) != nil || length != p.Length {
					t.Errorf("after an error: got a file of %d bytes, want the %d that are saved; %v", length, p.Length, errors.Join(err, getErr, decodeErr))
				}
				err = o.Commit(t.Context(), numbered(2))
			}
			if err != nil {
				t.Fatal(err)
			}
			commit(t, o, 3)
			if err := o.Close(); err != nil {
				t.Error(err)
			}
			w.expect(t, "in the end", want(1, 3))
			w.use(t, func(s sinks.Session) { commit(t, s, 4) })
			w.expect(t, "opened again", want(1, 4))
		})
	}
}

// TestChangedInTheMiddle changes the file between two steps of a commit: it is
// stored once, and no zeros fill what is gone.
func TestChangedInTheMiddle(t *testing.T) {
	other := lines(events(9, 1, 10), nil)
	for name, tt := range map[string]struct {
		torn bool // a commit failed before, else one is about to be appended
		size int64
		add  []byte
		want []string
	}{
		"emptied":               {want: want(2, 3)},
		"emptied after a fault": {torn: true, want: want(2, 3)},
		"shorter after a fault": {torn: true, size: 10, want: want(2, 3)},
		"appended to":           {size: -1, add: other, want: slices.Concat(want(1, 1), []string{"9/0"}, want(2, 3))},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t.TempDir(), 0)
			o, err := w.open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			commit(t, o, 1)
			n := o.Session.(*session)
			if n.torn = tt.torn; tt.size >= 0 {
				err = os.Truncate(w.cfg.Path, tt.size)
			}
			if _, writeErr := n.file.Write(tt.add); errors.Join(err, writeErr) != nil {
				t.Fatal(err, writeErr)
			}
			if tt.torn {
				commit(t, o, 2)
			} else {
				next, err := n.append(lines(numbered(2).Events, nil))
				if err == nil {
					err = n.saveCommit(t.Context(), numbered(2).State, next)
				}
				if err != nil {
					t.Fatal(err)
				}
				n.unit.Committed()
			}
			commit(t, o, 3)
			if err := o.Close(); err != nil {
				t.Error(err)
			}
			w.expect(t, "in the end", tt.want)
			w.use(t, func(sinks.Session) {}) // what is saved goes with the file
		})
	}
}

func FuzzPosition(f *testing.F) {
	f.Add(position{Path: "/f", Rotated: 3, Length: 5, End: 7}.encode())
	f.Add([]byte(`{"path":"/f","length":-1}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		p, err := decodePosition(value)
		if err != nil {
			if !fault.IsFatal(err) {
				t.Errorf("got %v, want a fatal error", err)
			}
			return
		}
		if again, err := decodePosition(p.encode()); err != nil || again != p {
			t.Errorf("got %+v, %v, want %+v", again, err, p)
		}
	})
}

func BenchmarkCommit(b *testing.B) {
	w := newWorld(b.TempDir(), 0)
	all := events(0, 1000, 1000)
	w.use(b, func(s sinks.Session) {
		for b.Loop() {
			if err := s.Commit(b.Context(), sinks.Commit{Events: all}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(float64(len(all)*b.N)/b.Elapsed().Seconds(), "msg/s")
}
