package nats

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connector/checkpoint"
	checkpointfile "connector/checkpoint/file"
	"connector/internal/fault"
	"connector/sinks"
	"connector/sources"
)

// writeEarlier makes a checkpoint file of a stream with n pages, and returns
// what is read of it at the start.
func writeEarlier(t *testing.T, n int) (checkpointfile.Earlier, map[string]string) {
	t.Helper()
	l := checkpoint.New("acct", sources.Stream{Name: "sms", Tick: time.Second}, time.Unix(1774749599, 0), checkpoint.NewPages(nil, 0))
	b := l.Begin()
	b.Own("appid")
	entries, err := b.Entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, e := range entries {
		want[e.Key] = string(e.Value)
	}
	for i := range n {
		entries = append(entries, checkpoint.Entry{Key: fmt.Sprintf("acct/sms/b/%d/0", i), Value: fmt.Appendf(nil, "old page %d", i)})
	}
	dir := t.TempDir()
	s, err := checkpointfile.Open(dir, "u0")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Save(t.Context(), entries), s.Close()); err != nil {
		t.Fatal(err)
	}
	return checkpointfile.Earlier{Dir: dir, Unit: "u0"}, want
}

// TestImport moves a checkpoint file into the stream, once, although it holds
// events already.
func TestImport(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir())
	before := events(0, 10, 5, 10)
	if err := newPublisher(t, testConfig(), e.URL(), quiet()).Publish(t.Context(), before, nil); err != nil {
		t.Fatal(err)
	}
	earlier, want := writeEarlier(t, 1500)
	opts := testOptions("a")
	opts.Earlier = earlier
	n := openUnit(t, newSink(t, e.URL(), opts))
	if got := recoverAll(t, n); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, i := range []int{0, 700, 1499} {
		got, err := n.Get(t.Context(), fmt.Sprintf("acct/sms/b/%d/0", i))
		if want := fmt.Sprintf("old page %d", i); err != nil || string(got) != want {
			t.Errorf("got %q, error %v, want %q", got, err, want)
		}
	}
	if names, err := filepath.Glob(filepath.Join(earlier.Dir, "*.imported")); err != nil || len(names) != 1 {
		t.Errorf("got files %v, error %v, want the checkpoint renamed", names, err)
	}
	if err := n.Commit(t.Context(), sinks.Commit{State: []checkpoint.Entry{{Key: head, Value: []byte("new head")}}}); err != nil {
		t.Fatal(err)
	}
	// The same file again, as after a crash before it was renamed.
	again, _ := writeEarlier(t, 3)
	opts.Earlier = again
	if got := recoverAll(t, openUnit(t, newSink(t, e.URL(), opts)))[head]; got != "new head" {
		t.Errorf("got head %q, want what the stream holds", got)
	}
	checkStored(t, ids(t, testConfig(), e.URL()), before)
}

// TestImportedNotRenamed dies between an import and the file's new name: the
// file is not imported again when the checkpoint is lost later.
func TestImportedNotRenamed(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir())
	earlier, _ := writeEarlier(t, 3)
	opts := testOptions("a")
	opts.Earlier = earlier
	openUnit(t, newSink(t, e.URL(), opts))
	imported := filepath.Join(earlier.Dir, "checkpoint-u0.db.imported")
	if err := os.Rename(imported, strings.TrimSuffix(imported, ".imported")); err != nil {
		t.Fatal(err)
	}
	n := openUnit(t, newSink(t, e.URL(), opts))
	if _, err := os.Stat(imported); err != nil {
		t.Error(err)
	}
	if err := n.Commit(t.Context(), commitOf(0)); err != nil {
		t.Fatal(err)
	}
	if err := n.purge(t.Context(), n.at.all(), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := newSink(t, e.URL(), opts).Open(t.Context(), "u0"); !errors.Is(err, checkpoint.ErrNoUnit) {
		t.Errorf("got %v, want a refusal", err)
	}
}

// TestInterruptedImport stops in the middle: no unit is there, and the next
// start imports all of it.
func TestInterruptedImport(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir())
	earlier, want := writeEarlier(t, 1500)
	opts := testOptions("a")
	opts.Earlier = earlier
	n := newSession(t, e.URL(), "crashed") // only to write as an import does
	if err := n.purge(t.Context(), n.at.all(), 0); err != nil {
		t.Fatal(err)
	}
	n.expect = 0
	i := importer{session: n}
	for k := range 5 {
		if err := i.add(t.Context(), checkpoint.Entry{Key: fmt.Sprintf("acct/sms/b/%d/stray", k), Value: []byte("stray")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := i.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := View(t.Context(), testConfig(), e.URL(), "u0"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want no checkpoint", err)
	}
	if _, err := newSink(t, e.URL(), testOptions("b")).Open(t.Context(), "u0"); !errors.Is(err, checkpoint.ErrNoUnit) || !fault.IsFatal(err) {
		t.Errorf("without the file: got %v, want a refusal", err)
	}
	next := openUnit(t, newSink(t, e.URL(), opts))
	if got := recoverAll(t, next); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, err := next.Get(t.Context(), "acct/sms/b/0/stray"); got != nil || err != nil {
		t.Errorf("got %q, error %v, want what was left behind deleted", got, err)
	}
}

// TestNoUnit refuses to begin where events are, unless asked to.
func TestNoUnit(t *testing.T) {
	t.Parallel()
	for _, dead := range []bool{false, true} {
		e := startEmbedded(t, t.TempDir())
		list := events(0, 1, 1, 10)
		p := newPublisher(t, testConfig(), e.URL(), quiet())
		err := p.Publish(t.Context(), list, nil)
		if dead {
			err = p.Publish(t.Context(), nil, list)
		}
		if err != nil {
			t.Fatal(err)
		}
		opts := testOptions("a")
		s := newSink(t, e.URL(), opts)
		if _, err := s.Open(t.Context(), "u0"); !errors.Is(err, checkpoint.ErrNoUnit) || !fault.IsFatal(err) || !strings.Contains(err.Error(), "NATS stream DELIVERY") {
			t.Errorf("got %v, want a refusal that names the stream", err)
		}
		opts.New = true
		if got := recoverAll(t, openUnit(t, newSink(t, e.URL(), opts))); len(got) != 0 {
			t.Errorf("got %v, want nothing", got)
		}
	}
}

// TestFirstSequence begins in a stream that never held anything, whatever its
// numbers begin with.
func TestFirstSequence(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir())
	cfg := testConfig()
	stream := streamConfig(&cfg)
	stream.FirstSeq = 1000
	if _, err := jetStream(t, e.URL()).CreateStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	if err := newSession(t, e.URL(), "a").Commit(t.Context(), commitOf(0)); err != nil {
		t.Error(err)
	}
}

func TestView(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir())
	if _, err := View(t.Context(), testConfig(), e.URL(), "u0"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no stream: got %v, want it to match fs.ErrNotExist", err)
	}
	n := newSession(t, e.URL(), "a")
	c := startCommits(t, n, 5)
	for range 4 {
		c.progress(t)
		v, err := View(t.Context(), testConfig(), e.URL(), "u0")
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		err = v.Load(t.Context(), func(e checkpoint.Entry) error {
			got[e.Key] = string(e.Value)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var i int
		if _, err := fmt.Sscanf(got[head], "head %d", &i); err != nil {
			t.Fatalf("got %v, want a head: %v", got, err)
		}
		if d := got[fmt.Sprintf("acct/sms/d/%02d", i%4)]; d != fmt.Sprintf("delta %d", i) || len(got) > 5 {
			t.Errorf("got %v, want one commit's state", got)
		}
		if page, err := v.Get(t.Context(), fmt.Sprintf("acct/sms/b/%d/0", i)); err != nil || string(page) != fmt.Sprintf("page %d", i) {
			t.Errorf("got page %q, error %v", page, err)
		}
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	}
	c.check(t, e.URL()) // the owner was not disturbed
	if _, err := View(t.Context(), testConfig(), e.URL(), "u7"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("other unit: got %v, want it to match fs.ErrNotExist", err)
	}
}

// TestSuperseded: only the last message of each key stays, and none of a
// deleted one.
func TestSuperseded(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir())
	n := newSession(t, e.URL(), "a")
	for i := range 80 {
		c := commitOf(i)
		if i >= 10 {
			c.State = append(c.State, checkpoint.Entry{Key: fmt.Sprintf("acct/sms/b/%d/0", i-10)})
		}
		if err := n.Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	// What a crash leaves behind before it deletes.
	clear(n.superseded)
	n.superseded = map[string]uint64{}
	if err := n.store(t.Context(), &batch{state: n.state.Commit(commitOf(0).State, n.state.Fence().At), fenced: true}); err != nil {
		t.Fatal(err)
	}
	next := newSession(t, e.URL(), "b")
	const live, pages = 4 + 1 + 2, 10 + 1 // deltas, head, manifest and fence; the last pages and page 0
	single := func(got map[string]uint64) bool {
		for _, n := range got {
			if n != 1 {
				return false
			}
		}
		return len(got) == live+pages
	}
	got := map[string]uint64{}
	for end := time.Now().Add(time.Minute); !single(got) && time.Now().Before(end); time.Sleep(20 * time.Millisecond) { // nobody waits for the deletions
		var err error
		if got, err = next.subjects(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != live+pages {
		t.Errorf("got %d subjects %v, want %d", len(got), got, live+pages)
	}
	for subject, n := range got {
		if n != 1 {
			t.Errorf("got %d messages of %s, want 1", n, subject)
		}
	}
}

func FuzzKey(f *testing.F) {
	for _, s := range []string{"", "%", "fence", head, "acct/sms/b/1/0", "a.b/*/>", "中文/\xff/h", "_", "%2E", " "} {
		f.Add(s)
	}
	at := place{"delivery.checkpoint.u0"}
	f.Fuzz(func(t *testing.T, key string) {
		subject := at.subject(key)
		if got, err := at.key(subject); err != nil || got != key {
			t.Errorf("%q: got %q back from %s, error %v", key, got, subject, err)
		}
		if strings.Count(subject, ".") != 4 || strings.ContainsAny(subject, "*> \t\r\n\x00") {
			t.Errorf("%q: got %q, which is not one literal token", key, subject)
		}
		_, _ = at.key(key) // must not panic
	})
}
