package nats

import (
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"connector/internal/fault"
)

func TestCreatedStream(t *testing.T) {
	e := startEmbedded(t, t.TempDir())
	newPublisher(t, testConfig(), e.URL(), quiet())
	s, err := jetStream(t, e.URL()).Stream(t.Context(), "DELIVERY")
	if err != nil {
		t.Fatal(err)
	}
	got := s.CachedInfo().Config
	if want := []string{"delivery.event.>", "delivery.deadletter.>", "delivery.checkpoint.>"}; !slices.Equal(got.Subjects, want) {
		t.Errorf("got subjects %q, want %q", got.Subjects, want)
	}
	if !got.AllowAtomicPublish || !got.AllowMsgTTL || got.AllowRollup {
		t.Errorf("got atomic publish %v, message TTL %v, rollup %v; want the first two", got.AllowAtomicPublish, got.AllowMsgTTL, got.AllowRollup)
	}
	if got.Storage != jetstream.FileStorage || got.Discard != jetstream.DiscardNew || got.Duplicates != 2*time.Minute || got.MaxBytes != embeddedStreamBytes {
		t.Errorf("got %+v, want file storage, discard new, a window of 2m, %d bytes", got, int64(embeddedStreamBytes))
	}
	other := testConfig()
	other.URL = Servers{e.URL()}
	if got := streamConfig(&other).MaxBytes; got != -1 {
		t.Errorf("got max bytes %d on a server of one's own, want no limit", got)
	}
}

func TestExistingStream(t *testing.T) {
	base := func(change func(*jetstream.StreamConfig)) jetstream.StreamConfig {
		c := jetstream.StreamConfig{Subjects: []string{"delivery.>"}, MaxMsgs: 1000, Discard: jetstream.DiscardNew}
		change(&c)
		return c
	}
	tests := []struct {
		name string
		have jetstream.StreamConfig
		want string // in the fatal error; "" when the stream is fine
		warn string // in the log
	}{
		{"covers", base(func(*jetstream.StreamConfig) {}), "", ""},
		{"exact subjects", base(func(c *jetstream.StreamConfig) { c.Subjects = []string{"delivery.event.>", "delivery.deadletter.>"} }), "", ""},
		{"no dead letters", base(func(c *jetstream.StreamConfig) { c.Subjects = []string{"delivery.event.>"} }), "do not include delivery.deadletter.>; add the subject", ""},
		{"one token short", base(func(c *jetstream.StreamConfig) { c.Subjects = []string{"delivery.*.*.*.*"} }), "do not include", ""},
		{"other prefix", base(func(c *jetstream.StreamConfig) { c.Subjects = []string{"else.>"} }), "do not include delivery.event.>", ""},
		{"interest", base(func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy }), "limits retention", ""},
		{"work queue", base(func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }), "limits retention", ""},
		{"no ack", base(func(c *jetstream.StreamConfig) { c.NoAck = true }), "no_ack", ""},
		{"transform", base(func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "delivery.>", Destination: "moved.>"}
		}), "transform", ""},
		{"memory", base(func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }), "", "kept in memory"},
		{"discard old", base(func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld }), "", "drops the oldest"},
		{"short window", base(func(c *jetstream.StreamConfig) { c.Duplicates = time.Second }), "", "duplicate window"},
	}
	e := startEmbedded(t, t.TempDir())
	js := jetStream(t, e.URL())
	// Deleting the last stream races with creating the next in nats-server 2.15.
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "KEEP", Subjects: []string{"keep"}}); err != nil {
		t.Fatal(err)
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig()
			cfg.Stream = fmt.Sprintf("STREAM-%d", i)
			tt.have.Name = cfg.Stream
			s, err := js.CreateStream(t.Context(), tt.have)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = js.DeleteStream(t.Context(), cfg.Stream) }()
			before := s.CachedInfo().Config
			log := &testLog{}
			p, err := NewPublisher(t.Context(), cfg, e.URL(), slog.New(slog.NewTextHandler(log, nil)))
			if err == nil {
				defer func() { _ = p.Close() }()
			}
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("got error %v, want none", err)
			case tt.want != "" && (!fault.IsFatal(err) || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got error %v, want a fatal one with %q", err, tt.want)
			case !strings.Contains(log.String(), tt.warn), tt.warn == "" && log.String() != "":
				t.Errorf("got log %q, want %q", log, tt.warn)
			}
			info, err := s.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(info.Config, before) {
				t.Errorf("the stream was changed: got %+v, want %+v", info.Config, before)
			}
		})
	}
}

func TestSubjectsOfAnotherStream(t *testing.T) {
	e := startEmbedded(t, t.TempDir())
	js := jetStream(t, e.URL())
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "THEIRS", Subjects: []string{"delivery.event.>"}}); err != nil {
		t.Fatal(err)
	}
	_, err := NewPublisher(t.Context(), testConfig(), e.URL(), quiet())
	if !fault.IsFatal(err) || !strings.Contains(err.Error(), "THEIRS") {
		t.Errorf("got %v, want a fatal error that names the other stream", err)
	}
}

// TestSecondStream asks the embedded server for a second stream: the first has all its room.
func TestSecondStream(t *testing.T) {
	e := startEmbedded(t, t.TempDir())
	cfg := testConfig()
	newPublisher(t, cfg, e.URL(), quiet())
	cfg.Stream, cfg.SubjectPrefix = "OTHER", "other"
	if _, err := NewPublisher(t.Context(), cfg, e.URL(), quiet()); !fault.IsFatal(err) || !strings.Contains(err.Error(), "set another CONNECTOR_DATA_DIR") {
		t.Errorf("got %v, want a fatal error that says what to do", err)
	}
}

func TestCovers(t *testing.T) {
	tests := []struct {
		filter string
		want   bool
	}{
		{">", true}, {"a.>", true}, {"a.event.>", true}, {"*.event.>", true}, {"a.*.>", true}, {"*.*.>", true},
		{"a.event.*", false}, {"a.event", false}, {"a.event.x.>", false}, {"a", false}, {"b.>", false}, {"a.event.*.>", false}, {"", false},
	}
	for _, tt := range tests {
		if got := covers([]string{"other", tt.filter}, "a.event.>"); got != tt.want {
			t.Errorf("covers(%q): got %v, want %v", tt.filter, got, tt.want)
		}
	}
}
