package nats

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"connector/internal/fault"
	"connector/schema"
	"connector/sinks"
)

// TestFullStream keeps the versions of a record in order when the server
// refuses a large one and would take the small next one (invariant 2).
func TestFullStream(t *testing.T) {
	e := startEmbedded(t, t.TempDir())
	js := jetStream(t, e.URL())
	cfg := streamConfig(&Config{Stream: "DELIVERY", SubjectPrefix: "delivery"})
	cfg.MaxBytes = 20_000
	if _, err := js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	log := &testLog{}
	p := newPublisher(t, testConfig(), e.URL(), slog.New(slog.NewTextHandler(log, nil)))
	all := events(0, 6, 2, 100)
	all[2].Body = []byte(`"` + strings.Repeat("x", 30_000) + `"`)
	err := cancelled(t, func(ctx context.Context) error { return p.Publish(ctx, all, nil) },
		"the server refuses", func() bool { return strings.Contains(log.String(), "maximum bytes") })
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "maximum bytes") {
		t.Errorf("got %v, want the context's error with the cause", err)
	}
	if strings.Count(log.String(), "maximum bytes") != 1 { // the end of ctx may cut the connection, which is logged, too
		t.Errorf("got log %s, want one line with the cause", log)
	}
	for _, id := range ids(t, testConfig(), e.URL()) {
		if id == all[4].ID {
			t.Error("version 3 of a record is stored before version 2")
		}
	}
	done := make(chan error, 1)
	go func() { done <- p.Publish(within(t, hang), all, nil) }()
	time.Sleep(100 * time.Millisecond)
	cfg.MaxBytes = 1 << 20
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	checkStored(t, ids(t, testConfig(), e.URL()), all)
}

// TestStreamGone deletes or changes the stream of a running publisher.
func TestStreamGone(t *testing.T) {
	tests := []struct {
		name   string
		change func(ctx context.Context, js jetstream.JetStream) error
		want   string
	}{
		{"deleted", func(ctx context.Context, js jetstream.JetStream) error {
			return js.DeleteStream(ctx, "DELIVERY")
		}, "restart to create it again"},
		{"without our subjects", func(ctx context.Context, js jetstream.JetStream) error {
			_, err := js.UpdateStream(ctx, jetstream.StreamConfig{Name: "DELIVERY", Subjects: []string{"else.>"}, AllowAtomicPublish: true, AllowMsgTTL: true, Discard: jetstream.DiscardNew})
			return err
		}, "add the subject"},
		{"replaced by another", func(ctx context.Context, js jetstream.JetStream) error {
			if err := js.DeleteStream(ctx, "DELIVERY"); err != nil {
				return err
			}
			_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"delivery.>"}})
			return err
		}, "another stream has its subjects"},
		{"sealed", func(ctx context.Context, js jetstream.JetStream) error {
			c := streamConfig(&Config{Stream: "DELIVERY", SubjectPrefix: "delivery"})
			c.Sealed = true
			_, err := js.UpdateStream(ctx, c)
			return err
		}, "sealed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := startEmbedded(t, t.TempDir())
			p := newPublisher(t, testConfig(), e.URL(), quiet())
			if err := tt.change(t.Context(), jetStream(t, e.URL())); err != nil {
				t.Fatal(err)
			}
			err := p.Publish(within(t, hang), events(0, 3, 3, 10), nil)
			if !fault.IsFatal(err) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want a fatal error with %q", err, tt.want)
			}
		})
	}
}

// TestSmallerLimits rejects what a changed stream or long attributes make too large.
func TestSmallerLimits(t *testing.T) {
	e := startEmbedded(t, t.TempDir())
	js := jetStream(t, e.URL())
	p := newPublisher(t, testConfig(), e.URL(), quiet())
	if got, want := p.Limits().MaxMessageBytes, embeddedPayload-headroom; got != want {
		t.Errorf("got limit %d, want %d", got, want)
	}
	c := streamConfig(&Config{Stream: "DELIVERY", SubjectPrefix: "delivery", URL: Servers{embedded}})
	c.MaxMsgSize = 50_000
	if _, err := js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	all := events(0, 5, 5, 10)
	all[1].Body = []byte(`"` + strings.Repeat("x", 60_000) + `"`) // known only to the server
	all[3].RecordID = strings.Repeat("长", 10_000)                 // 90,000 bytes of header
	err := p.Publish(t.Context(), all, nil)
	rejected, ok := errors.AsType[*sinks.RejectedError](err)
	if !ok || len(rejected.Messages) != 2 {
		t.Fatalf("got %v, want two rejections", err)
	}
	for _, r := range rejected.Messages {
		if class, _ := fault.Class(r.Err); class != "too_large" || r.Index != 1 && r.Index != 3 {
			t.Errorf("got rejection of %d, class %q, want 1 and 3, too_large", r.Index, class)
		}
	}
	checkStored(t, ids(t, testConfig(), e.URL()), []schema.Message{all[0], all[2], all[4]})
	again := newPublisher(t, testConfig(), e.URL(), quiet())
	if got, want := again.Limits().MaxMessageBytes, 50_000-headroom; got != want {
		t.Errorf("got limit %d, want the stream's %d", got, want)
	}
}

func permissions(publish ...string) *server.Permissions {
	return &server.Permissions{Publish: &server.SubjectPermission{Allow: publish}}
}

func TestPermissions(t *testing.T) {
	user := func(p *server.Permissions) *server.User {
		return &server.User{Username: "u", Password: "canary-p", Permissions: p}
	}
	noInbox := permissions(">")
	noInbox.Subscribe = &server.SubjectPermission{Allow: []string{"else.>"}}
	tests := []struct {
		name string
		user *server.User
		open bool // whether opening works
	}{
		{"nothing", user(permissions("else.>")), false},
		{"no inbox", user(noInbox), false},
		{"no events", user(permissions("$JS.API.>", "delivery.deadletter.>")), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := startServer(t, &server.Options{JetStream: true, StoreDir: t.TempDir(), Users: []*server.User{tt.user}})
			cfg := testConfig()
			cfg.User, cfg.Password = "u", secretOf("canary-p")
			start := time.Now()
			p, err := NewPublisher(t.Context(), cfg, s.ClientURL(), quiet())
			if tt.open {
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = p.Close() }()
				err = p.Publish(within(t, hang), events(0, 3, 3, 10), nil)
			}
			if !fault.IsFatal(err) || !strings.Contains(err.Error(), "let the user publish to delivery.>") {
				t.Errorf("got %v, want a fatal error that names the permissions", err)
			}
			if d := time.Since(start); d > promptly {
				t.Errorf("it took %v to notice", d)
			}
		})
	}
}

// TestRevokedUser is a login that stops working while connected.
func TestRevokedUser(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	opts := &server.Options{JetStream: true, StoreDir: dir, Username: "u", Password: "canary-old"}
	s := startServer(t, opts)
	cfg := testConfig()
	cfg.User, cfg.Password = "u", secretOf("canary-old")
	p := newPublisher(t, cfg, s.ClientURL(), quiet())
	changed := *opts
	changed.Password = "new"
	if err := s.ReloadOptions(&changed); err != nil {
		t.Fatal(err)
	}
	err := p.Publish(within(t, hang), events(0, 3, 3, 10), nil)
	if !fault.IsFatal(err) || !strings.Contains(err.Error(), "NATS_PASSWORD") {
		t.Errorf("got %v, want a fatal error that names the login", err)
	}
}
