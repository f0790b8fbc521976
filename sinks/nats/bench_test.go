package nats

import (
	"context"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"connector/schema"
)

// BenchmarkPublish compares Publish with bare asynchronous publishing of the
// same bytes and the same headers, in calls of 1000 messages of 1 KB.
func BenchmarkPublish(b *testing.B) {
	const batch, size = 1000, 1000
	server := startServer(b, &server.Options{JetStream: true, StoreDir: b.TempDir(), Port: server.RANDOM_PORT})
	p := newPublisher(b, testConfig(), server.ClientURL(), quiet())
	plain := func(encode func(m *schema.Message) *natsio.Msg) func(context.Context, []schema.Message) error {
		return func(_ context.Context, all []schema.Message) error {
			for i := range all {
				if _, err := p.js.PublishMsgAsync(encode(&all[i])); err != nil {
					return err
				}
			}
			<-p.js.PublishAsyncComplete()
			return nil
		}
	}
	const subject = "delivery.event.submail.acct.sms"
	tests := []struct {
		name    string
		publish func(context.Context, []schema.Message) error
		records int
	}{
		{"publisher", func(ctx context.Context, all []schema.Message) error { return p.Publish(ctx, all, nil) }, batch},
		{"publisher 10 versions each", func(ctx context.Context, all []schema.Message) error { return p.Publish(ctx, all, nil) }, batch / 10},
		{"bare", plain(func(m *schema.Message) *natsio.Msg { return &natsio.Msg{Subject: subject, Data: m.Body} }), batch},
		{"bare, msg-id", plain(func(m *schema.Message) *natsio.Msg {
			return &natsio.Msg{Subject: subject, Data: m.Body, Header: natsio.Header{jetstream.MsgIDHeader: {m.ID}}}
		}), batch},
		{"bare, all headers", plain(func(m *schema.Message) *natsio.Msg { return encode("delivery", "DELIVERY", m, false) }), batch},
	}
	n := 0
	for _, tt := range tests {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				n++
				all := events(n, batch, tt.records, size)
				b.StartTimer()
				if err := tt.publish(b.Context(), all); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(batch*b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}
