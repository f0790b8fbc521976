package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connector/internal/fault"
	"connector/schema"
	"connector/sinks"
)

func TestLine(t *testing.T) {
	m := events(0, 1, 1)[0]
	m.RecordID = "单 \"1\""
	got := string(appendLine(nil, &m))
	want := `{"specversion":"1.0","id":"` + m.ID + `","source":"/submail/acct/sms","type":"delivery.sms.delivered",` +
		`"subject":"单 \"1\"","time":"2026-03-29T01:59:59Z","dataschema":"` + schema.DataSchema + `",` +
		`"datacontenttype":"application/json","data":{"fill":"x"}}` + "\n"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !strings.HasPrefix(got, string(lineStart)) {
		t.Errorf("got %s, want it to begin with %s", got, lineStart)
	}
	m.Structure()
	if again := string(appendLine(nil, &m)); again != got {
		t.Errorf("in structured mode got %s, want the same line", again)
	}
	if r, err := decodeLine([]byte(got)); err != nil || r.Dead || r.Attribute("subject") != m.RecordID || string(r.Body) != `{"fill":"x"}` {
		t.Errorf("got %+v and error %v", r, err)
	}
}

// follow collects positions and record ids of a follower.
func follow(t *testing.T, path string, view View, opts sinks.TailOptions) (next func(patience time.Duration) string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	got, done := make(chan string), make(chan error, 1)
	go func() {
		done <- Tail(ctx, Config{Path: path}, view, opts, func(r sinks.Received) error {
			select {
			case got <- r.Position + " " + r.Attribute("subject"):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	})
	return func(patience time.Duration) string {
		select {
		case s := <-got:
			return s
		case <-time.After(patience):
			return ""
		}
	}
}

// TestFollow writes a line in parts, a long one, and takes a batch back.
func TestFollow(t *testing.T) { synctest.Test(t, testFollow) }

func testFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	var file []byte
	put := func(b []byte) {
		t.Helper()
		file = b
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Truncate(int64(len(b))), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	line := func(batch, size int) []byte { return lines(events(batch, 1, size), nil) }
	put(line(0, 10))
	next := follow(t, path, nil, sinks.TailOptions{FromStart: true, Follow: true})
	fresh := follow(t, path, nil, sinks.TailOptions{Follow: true})
	check := func(want string, followers ...func(time.Duration) string) {
		t.Helper()
		patience := 10 * time.Second
		if want == "" {
			patience = 3 * pollInterval
		}
		for _, f := range followers {
			if got := f(patience); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	}
	check("f:1 0/0", next)
	check("", fresh)
	second := line(1, 300_000)
	put(slices.Concat(file, second[:1000]))
	check("", next, fresh)
	put(slices.Concat(file[:len(file)-1000], second))
	check("f:2 1/0", next, fresh)
	put(slices.Concat(line(0, 10), line(2, 10))) // the second was taken back
	check("", next, fresh)
	put(slices.Concat(file, line(3, 10)))
	check("f:3 3/0", next, fresh)
	put(nil)
	check("", next, fresh)
	put(line(4, 10))
	check("f:1 4/0", next, fresh)
}

// TestFollowRotation follows a file that is put away again and again, and a user
// who takes such files away.
func TestFollowRotation(t *testing.T) { synctest.Test(t, testFollowRotation) }

func testFollowRotation(t *testing.T) {
	w := newWorld(t.TempDir(), rotateAt)
	w.use(t, func(s sinks.Session) {
		for n := 1; n <= 9; n++ {
			commit(t, s, n)
		}
		all := follow(t, w.cfg.Path, w.view, sinks.TailOptions{FromStart: true, Follow: true})
		fresh := follow(t, w.cfg.Path, w.view, sinks.TailOptions{Follow: true})
		for _, id := range want(1, 9) {
			if got := all(10 * time.Second); !strings.HasSuffix(got, " "+id) {
				t.Fatalf("got %q, want record %s", got, id)
			}
		}
		time.Sleep(3 * pollInterval) // for the second to have begun
		for n := 10; n < 70; n++ {
			commit(t, s, n)
			if n%10 != 9 {
				continue
			}
			for _, id := range want(n-9, n) {
				for name, next := range map[string]func(time.Duration) string{"from the start": all, "new ones": fresh} {
					if got := next(10 * time.Second); !strings.HasSuffix(got, " "+id) {
						t.Fatalf("%s: got %q, want record %s", name, got, id)
					}
				}
			}
			if err := os.Remove(rotatedName(w.cfg.Path, uint64(n/10))); err != nil {
				t.Fatal(err)
			}
		}
	})
	numbers, err := rotatedFiles(w.cfg.Path)
	if err != nil || len(numbers) < 8 || numbers[0] != 7 {
		t.Errorf("got files %v, %v, want those from the seventh", numbers, err)
	}
}

// TestTailReadsWhatIsCommitted has uncommitted lines and zeros in the file, with and
// without a connector that runs.
func TestTailReadsWhatIsCommitted(t *testing.T) { synctest.Test(t, testTailReadsWhatIsCommitted) }

func testTailReadsWhatIsCommitted(t *testing.T) {
	w := newWorld(t.TempDir(), 0)
	batch := lines(events(2, 3, 1000), nil)
	w.use(t, func(s sinks.Session) {
		commit(t, s, 1)
		if _, err := s.(owner).Session.(*session).append(batch); err != nil {
			t.Fatal(err)
		}
		w.expect(t, "while it runs", want(1, 1))
		next := follow(t, w.cfg.Path, w.view, sinks.TailOptions{FromStart: true, Follow: true})
		for i := range 3 {
			if got, want := next(10*time.Second), fmt.Sprintf("f:%d 1/%d", i+1, i); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		if got := next(3 * pollInterval); got != "" {
			t.Errorf("got %q, which is not committed", got)
		}
	})
	w.expect(t, "after a crash", want(1, 1))
	w.edit(t, func(b []byte) []byte { return append(b[:len(b)-len(batch)], strings.Repeat("\x00", 5000)+"}\n"...) })
	w.expect(t, "after a loss of power", want(1, 1))
	w.use(t, func(s sinks.Session) { commit(t, s, 2) })
	w.expect(t, "in the end", want(1, 2))
	view := w.view
	w.edit(t, func(b []byte) []byte { return append(b, batch...) })
	if got := countAll(t, w.cfg, nil); got != 9 {
		t.Errorf("where the checkpoint is not known: got %d lines, want all 9", got)
	}
	if got := countAll(t, w.cfg, view); got != 6 {
		t.Errorf("where it is: got %d lines, want 6", got)
	}
}

func countAll(t *testing.T, cfg Config, view View) (n int) {
	t.Helper()
	if err := Tail(t.Context(), cfg, view, sinks.TailOptions{FromStart: true}, func(sinks.Received) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTailRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	yield := func(sinks.Received) error { return nil }
	opts := sinks.TailOptions{FromStart: true}
	if err := Tail(t.Context(), Config{Path: path}, nil, opts, yield); !fault.IsFatal(err) {
		t.Errorf("got %v, want a fatal error", err)
	}
	content := append(lines([]schema.Message{events(0, 1, 1)[0]}, nil), "foreign\n"...)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Tail(t.Context(), Config{Path: path}, nil, opts, yield); err == nil || !strings.Contains(err.Error(), "f:2: ") {
		t.Errorf("got %v, want an error that names line 2", err)
	}
}
