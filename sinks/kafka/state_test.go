package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"connector/checkpoint"
	checkpointfile "connector/checkpoint/file"
	"connector/internal/fault"
	"connector/internal/testkafka"
	"connector/sinks"
)

// TestCompaction keeps the state, and finds pages where they lie, while the log
// before them is compacted.
func TestCompaction(t *testing.T) {
	brokers := testkafka.Brokers(t)
	if os.Getenv(testkafka.Variable) == "" {
		t.Log("compacting the stand-in")
		cluster := testkafka.Faulty(t)
		testCompaction(t, cluster.ListenAddrs(), cluster.Compact, "segment.bytes", "20000")
		return
	}
	testCompaction(t, brokers, func() {}, "segment.ms", "50")
}

func testCompaction(t *testing.T, brokers []string, compact func(), segments ...string) {
	cfg := testConfig(t, brokers)
	testkafka.Create(t, brokers, cfg.CheckpointTopic, 1, append(segments, "cleanup.policy", "compact", "max.message.bytes", fmt.Sprint(stateBytes),
		"min.cleanable.dirty.ratio", "0.0", "min.compaction.lag.ms", "0", "delete.retention.ms", "0")...)
	s := openUnit(t, cfg, "a")
	page := func(i int) checkpoint.Entry {
		return checkpoint.Entry{Key: fmt.Sprint("acme/sms/b/", i%7), Value: fmt.Append(nil, "page ", i)}
	}
	written, left := 0, 0
	for deadline := time.Now().Add(hang); ; {
		for range 30 {
			written++
			commitTo(t, s, nil, append(headAt(written), page(written)))
		}
		time.Sleep(100 * time.Millisecond) // the next commit begins a segment
		commitTo(t, s, nil, nil)
		compact()
		if left = len(consume(t, brokers, cfg.CheckpointTopic)); left < 2*written {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing was compacted in %v, %d commits", hang, written)
		}
	}
	t.Logf("%d records are left of %d commits", left, written)
	recovered(t, s)
	commitTo(t, s, nil, headAt(written))
	for key, k := range s.state.kept {
		if k.value != nil {
			t.Errorf("the value of %s is kept after the start", key)
		}
	}
	for _, s := range []*idempotent{s, openUnit(t, cfg, "b")} {
		for i := written - 6; i <= written; i++ {
			if got, err := s.Get(t.Context(), page(i).Key); err != nil || string(got) != string(page(i).Value) {
				t.Errorf("got page %q and error %v, want %q", got, err, page(i).Value)
			}
		}
	}
	checkState(t, viewed(t, cfg), append(headAt(written), headAt(written - 1)[1], headAt(written - 2)[1])...)
}

// earlierFile makes a checkpoint file.
func earlierFile(t *testing.T, entries ...checkpoint.Entry) checkpointfile.Earlier {
	t.Helper()
	at := checkpointfile.Earlier{Dir: t.TempDir(), Unit: "u0"}
	store, err := checkpointfile.Open(at.Dir, at.Unit)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(store.Save(t.Context(), entries), store.Close()); err != nil {
		t.Fatal(err)
	}
	return at
}

// TestImport takes a checkpoint file over, after an attempt that was
// interrupted and left what the file does not hold any more.
func TestImport(t *testing.T) {
	cfg := testConfig(t, testkafka.Brokers(t))
	publish(t, start(t, cfg), messages(0, 10), nil)
	large := bytes.Repeat([]byte("page "), 50_000)
	entries, err := newLedgerMarks().batch.Entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	live := len(entries)
	for i := range 20 {
		entries = append(entries, checkpoint.Entry{Key: fmt.Sprint("acme/sms/b/", i), Value: append(fmt.Append(nil, i, " "), large...)})
	}
	earlier := earlierFile(t, entries...)
	openSink(t, cfg, sinks.Options{}) // makes the topics
	stray := []checkpoint.Entry{{Key: "acme/sms/b/3", Value: []byte("old")}, {Key: "acme/sms/d/77", Value: []byte("stray")}, {Key: "gone/sms/h", Value: []byte("stray")}}
	if err := writeState(t.Context(), cfg, 0, 1, stray...); err != nil {
		t.Fatal(err)
	}
	if _, err := View(t.Context(), cfg, "u0"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v after an interrupted import, want fs.ErrNotExist", err)
	}
	s := openSession(t, openSink(t, cfg, sinks.Options{Owner: "a", Earlier: earlier}))
	state, marks := recovered(t, s)
	checkState(t, state, entries[:live]...)
	if len(marks) > 0 {
		t.Errorf("got %d marks, want none", len(marks))
	}
	for _, e := range entries[live:] {
		if got, err := s.Get(t.Context(), e.Key); err != nil || !bytes.Equal(got, e.Value) {
			t.Errorf("%s: got %.10q… and error %v, want %.10q…", e.Key, got, err, e.Value)
		}
	}
	if list, _ := filepath.Glob(filepath.Join(earlier.Dir, "*")); len(list) != 1 || !strings.HasSuffix(list[0], ".imported") {
		t.Errorf("got files %v, want it renamed", list)
	}
	// A process that dies before it renames the file leaves that to the next.
	if err := os.Rename(filepath.Join(earlier.Dir, "checkpoint-u0.db.imported"), filepath.Join(earlier.Dir, "checkpoint-u0.db")); err != nil {
		t.Fatal(err)
	}
	s = openSession(t, openSink(t, cfg, sinks.Options{Owner: "a", Earlier: earlier}))
	if list, _ := filepath.Glob(filepath.Join(earlier.Dir, "*.imported")); len(list) != 1 {
		t.Error("the imported file kept its name")
	}
	recovered(t, s)
	commitTo(t, s, nil, headAt(2))
	again := openSession(t, openSink(t, cfg, sinks.Options{Owner: "b", Earlier: earlierFile(t, entries...)}))
	state, _ = recovered(t, again)
	checkState(t, state, headAt(2)...)
}

// TestNoCheckpoint begins only where nothing was published, or when told to.
func TestNoCheckpoint(t *testing.T) {
	cfg := testConfig(t, testkafka.Brokers(t))
	publish(t, start(t, cfg), messages(0, 10), nil)
	s := openSink(t, cfg, sinks.Options{Owner: "a"})
	for range 2 { // the first attempt leaves its claim
		if _, err := s.Open(t.Context(), "u0"); !errors.Is(err, checkpoint.ErrNoUnit) || !fault.IsFatal(err) || !strings.Contains(err.Error(), cfg.Topic) {
			t.Errorf("got %v, want a fatal ErrNoUnit that names the topic", err)
		}
	}
	n := openSession(t, openSink(t, cfg, sinks.Options{Owner: "b", New: true}))
	if state, marks := recovered(t, n); len(state)+len(marks) > 0 {
		t.Errorf("got %d entries and %d marks, want none", len(state), len(marks))
	}
	commitTo(t, n, messages(10, 10), headAt(1))
	state, _ := recovered(t, openUnit(t, cfg, "c"))
	checkState(t, state, headAt(1)...)
}

// TestStrayState refuses state without a fence.
func TestStrayState(t *testing.T) {
	cfg := testConfig(t, testkafka.Brokers(t))
	s := openSink(t, cfg, sinks.Options{})
	if err := writeState(t.Context(), cfg, 0, 3, headAt(1)...); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(t.Context(), "u0"); !errors.Is(err, checkpoint.ErrNoUnit) {
		t.Errorf("got %v, want ErrNoUnit", err)
	}
	n := openSession(t, openSink(t, cfg, sinks.Options{New: true}))
	if state, _ := recovered(t, n); len(state) > 0 {
		t.Errorf("got %v, want nothing", state)
	}
}

// TestUnusable names what is wrong with what was found, and what to do.
func TestUnusable(t *testing.T) {
	t.Parallel()
	brokers := testkafka.Brokers(t)
	for _, tt := range []struct {
		name    string
		prepare func(t *testing.T, cfg *Config)
		want    string
	}{
		{"deletes", func(t *testing.T, cfg *Config) {
			testkafka.Create(t, brokers, cfg.CheckpointTopic, 1, "max.message.bytes", fmt.Sprint(stateBytes))
		}, "cleanup.policy=compact"},
		{"compacts and deletes", func(t *testing.T, cfg *Config) {
			testkafka.Create(t, brokers, cfg.CheckpointTopic, 1, "cleanup.policy", "compact,delete", "max.message.bytes", fmt.Sprint(stateBytes))
		}, "cleanup.policy=compact"},
		{"small messages", func(t *testing.T, cfg *Config) {
			testkafka.Create(t, brokers, cfg.CheckpointTopic, 1, "cleanup.policy", "compact")
		}, "max.message.bytes=8388608"},
		{"missing", func(t *testing.T, cfg *Config) {
			testkafka.Create(t, brokers, cfg.Topic, 1)
			testkafka.Create(t, brokers, cfg.DeadletterTopic, 1)
			cfg.CreateTopics = false
		}, "KAFKA_CHECKPOINT_TOPIC"},
		{"used by others", func(t *testing.T, cfg *Config) {
			testkafka.Create(t, brokers, cfg.CheckpointTopic, 1, "cleanup.policy", "compact", "max.message.bytes", fmt.Sprint(stateBytes))
			if err := store(t.Context(), brokers, &kgo.Record{Topic: cfg.CheckpointTopic, Key: []byte("k"), Value: []byte("v")}); err != nil {
				t.Fatal(err)
			}
		}, "KAFKA_CHECKPOINT_TOPIC"},
		{"a claim that cannot be read", func(t *testing.T, cfg *Config) {
			openUnit(t, *cfg, "a")
			if err := writeState(t.Context(), *cfg, 0, 7, checkpoint.Entry{Key: takeoverKey, Value: []byte("x")}); err != nil {
				t.Fatal(err)
			}
		}, "took unit u0 over"},
		{"ends that cannot be read", func(t *testing.T, cfg *Config) {
			openUnit(t, *cfg, "a")
			if err := writeState(t.Context(), *cfg, 0, 7, checkpoint.Entry{Key: endsKey, Value: []byte("x")}); err != nil {
				t.Fatal(err)
			}
		}, "restore the checkpoint topic"},
		{"a topic that was created again", func(t *testing.T, cfg *Config) {
			commitTo(t, openUnit(t, *cfg, "a"), messages(0, 50), headAt(1))
			again := *cfg
			again.Topic = testkafka.Topic(t)
			testkafka.Create(t, brokers, again.Topic, 4)
			lost := ends{again.Topic: {3, 0, 0, 0}}
			if err := writeState(t.Context(), *cfg, 0, 7, lost.entry()); err != nil {
				t.Fatal(err)
			}
			*cfg = again
		}, "deleted and created again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig(t, brokers)
			tt.prepare(t, &cfg)
			s, err := newSink(t.Context(), cfg, sinks.Options{Owner: "b", Log: slog.New(slog.DiscardHandler)}, new(net.Dialer).DialContext)
			if err == nil {
				defer s.Close()
				_, err = s.Open(t.Context(), "u0")
			}
			if !fault.IsFatal(err) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want a fatal error with %s", err, tt.want)
			}
		})
	}
}

// TestRetention has retention delete what was not covered, and what was.
func TestRetention(t *testing.T) {
	cluster := testkafka.Faulty(t)
	cfg := testConfig(t, cluster.ListenAddrs())
	cfg.Partitions = 1
	a, m := openUnit(t, cfg, "a"), newLedgerMarks()
	commitTo(t, a, m.marked(t, 0, 10), headAt(1))
	if err := a.publisher.Publish(t.Context(), m.marked(t, 10, 10), nil); err != nil {
		t.Fatal(err)
	}
	if err := cluster.DeleteRecords(cfg.Topic, 0, 15); err != nil {
		t.Fatal(err)
	}
	if _, marks := recovered(t, openUnit(t, cfg, "b")); len(marks) != 5 {
		t.Errorf("got %d marks, want the 5 that are left", len(marks))
	}
}

// TestCheckpointTopicLost creates the checkpoint topic again under an owner.
func TestCheckpointTopicLost(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		ctx := t.Context()
		sink := func() *sink {
			s, err := newSink(ctx, b.cfg, sinks.Options{Owner: "a", Log: b.log.logger()}, b.network.DialContext)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		first := sink()
		defer first.Close()
		s, err := first.Open(ctx, "u0")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(ctx, sinks.Commit{Events: messages(0, 10), State: headAt(1)}); err != nil {
			t.Fatal(err)
		}
		if err := b.cluster.DeleteTopic(b.cfg.CheckpointTopic); err != nil {
			t.Fatal(err)
		}
		defer sink().Close() // creates it
		err = s.Commit(ctx, sinks.Commit{Events: messages(10, 10), State: headAt(2)})
		if !fault.IsFatal(err) || !strings.Contains(err.Error(), "restore it from a backup") {
			t.Errorf("got %v, want a fatal error", err)
		}
		checkStored(t, consume(t, b.cfg.Brokers, b.cfg.Topic, kgo.Dialer(b.network.DialContext)), messages(0, 10))
	})
}

func TestViewNothing(t *testing.T) {
	cfg := testConfig(t, testkafka.Brokers(t))
	look := func(unit string) {
		t.Helper()
		if v, err := View(t.Context(), cfg, unit); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v and %v, want fs.ErrNotExist", v, err)
		}
	}
	look("u0")
	openUnit(t, cfg, "a")
	look("u1")
}

// modelLog is a partition of the checkpoint topic in memory.
type modelLog struct {
	records []modelRecord
	next    int64
}

type modelRecord struct {
	record
	offset int64
}

func (l *modelLog) append(records ...record) {
	for _, r := range records {
		l.records = append(l.records, modelRecord{r, l.next})
		l.next++
	}
}

// read applies what s has not read yet.
func (l *modelLog) read(t *rapid.T, s *unitState) {
	for _, r := range l.records {
		if r.offset < s.next {
			continue
		}
		var read kmsg.Record
		if err := read.ReadFrom(r.append(nil, r.size(0, 0), 0, 0)); err != nil {
			t.Fatal(err)
		}
		var headers []protocol.Header
		for _, h := range read.Headers {
			headers = append(headers, protocol.Header(h))
		}
		if err := s.apply(&protocol.Record{Offset: r.offset, Key: protocol.NewBytes(r.key), Value: protocol.NewBytes(r.value), Headers: headers}); err != nil {
			t.Fatal(err)
		}
	}
	s.next = l.next
}

// compact leaves the last record of each key before an offset, and of those
// only some that delete.
func (l *modelLog) compact(before int64, dropTombstones bool) {
	latest := map[string]int64{}
	for _, r := range l.records {
		if r.offset < before {
			latest[string(r.key)] = r.offset
		}
	}
	var left []modelRecord
	for _, r := range l.records {
		if r.offset >= before || latest[string(r.key)] == r.offset && (r.value != nil || !dropTombstones) {
			left = append(left, r)
		}
	}
	l.records = left
}

// TestStateModel has owners that take over, commit, are stopped and write
// late, while what was repaired is compacted: a reader always finds what the
// last valid owner wrote.
func TestStateModel(t *testing.T) {
	blank := func() *unitState {
		s, err := newUnitState(nil, slog.New(slog.DiscardHandler), "c", "u0")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	rapid.Check(t, func(t *rapid.T) {
		var log modelLog
		var owners []*unitState // the last one is the valid one
		var claims []takeover
		want := map[string]string{}
		values := 0
		clean := int64(0) // what lies before may be compacted
		entries := rapid.Custom(func(t *rapid.T) checkpoint.Entry {
			e := checkpoint.Entry{Key: rapid.SampledFrom([]string{"a/s/h", "a/s/d/01", "b/s/h", "fence"}).Draw(t, "key")}
			if rapid.IntRange(0, 3).Draw(t, "deletes") > 0 {
				values++
				e.Value = fmt.Append(nil, values)
			}
			return e
		})
		commit := func(i int) {
			list := rapid.SliceOfN(entries, 1, 3).Draw(t, "entries")
			s := owners[i]
			fresh := s.next == log.next
			log.append(s.records(list)...)
			if fresh {
				s.wrote(log.next-int64(len(list)), list)
			}
			if i < len(owners)-1 {
				return
			}
			for _, e := range list {
				if want[e.Key] = string(e.Value); e.Value == nil {
					delete(want, e.Key)
				}
			}
			log.read(t, s)
			repairs, err := s.repairs(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			log.append(s.records(repairs)...)
			s.wrote(log.next-int64(len(repairs)), repairs)
			clean = log.next
			reader := blank()
			if log.read(t, reader); len(reader.stale) > 0 {
				t.Fatalf("got %v to repair after a repair, want nothing", reader.stale)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"take over": func(t *rapid.T) {
				s := blank()
				log.read(t, s)
				claim := newTakeover("owner", s.term+1)
				log.append(claim.record())
				if rapid.Bool().Draw(t, "at the same time") { // and dies, or would try again
					log.append(newTakeover("loser", claim.term).record())
				}
				log.read(t, s)
				if s.takeover.id != claim.id {
					t.Fatalf("the claim to term %d does not count", claim.term)
				}
				owners, claims = append(owners, s), append(claims, claim)
				commit(len(owners) - 1)
			},
			"commit": func(t *rapid.T) {
				if len(owners) > 0 {
					commit(len(owners) - 1)
				}
			},
			"write late": func(t *rapid.T) {
				if len(owners) > 1 {
					commit(rapid.IntRange(0, len(owners)-2).Draw(t, "zombie"))
				}
			},
			"compact": func(t *rapid.T) { log.compact(clean, rapid.Bool().Draw(t, "drop tombstones")) },
			"": func(t *rapid.T) {
				s := blank()
				log.read(t, s)
				got := map[string]string{}
				for key, k := range s.kept {
					if key != takeoverKey {
						got[key] = string(k.value)
					}
				}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Fatalf("got %v, want %v", got, want)
				}
				for i := range owners {
					if err := s.rival(claims[i]); (err != nil) != (i < len(owners)-1) {
						t.Fatalf("owner %d of %d: got %v", i, len(owners), err)
					}
				}
			},
		})
	})
}

// FuzzState feeds records that anyone may have written.
func FuzzState(f *testing.F) {
	good := newTakeover("owner", 3)
	f.Add([]byte(takeoverKey), good.fence.Encode(), []byte("3"))
	f.Add([]byte("fence"), good.fence.Encode(), []byte("2"))
	f.Add([]byte(endsKey), ends{"t": {1}}.entry().Value, []byte("18446744073709551616"))
	f.Fuzz(func(t *testing.T, key, value, term []byte) {
		s, _ := newUnitState(nil, slog.New(slog.DiscardHandler), "c", "u0")
		r := &protocol.Record{Key: protocol.NewBytes(key), Value: protocol.NewBytes(value), Headers: []protocol.Header{{Key: termHeader, Value: term}}}
		if err := s.apply(r); err != nil {
			return
		}
		if got := s.kept[string(key)]; string(got.value) != string(value) && !checkpoint.Paged(string(key)) {
			t.Errorf("got %q, want %q", got.value, value)
		}
		if e, err := decodeEnds(value); err == nil {
			_ = e.with(ends{"t": {5}, "u": nil}).with(e)
		}
	})
}
