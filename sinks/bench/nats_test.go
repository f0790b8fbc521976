//go:build linux

package bench

import (
	"context"
	"log/slog"
	"testing"

	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"connector/checkpoint"
	"connector/checkpoint/file"
	"connector/schema"
	"connector/sinks"
	"connector/sinks/nats"
)

// BenchmarkNATS compares with asynchronous publishing, at most 1000 messages
// without an answer.
func BenchmarkNATS(b *testing.B) {
	url := startBroker(b, natsKind)
	raw := rawNATS(b, url)
	b.Run("exactly once", func(b *testing.B) {
		sink, err := nats.NewSink(b.Context(), natsConfig("BATCH"), url, sinks.Options{Owner: "bench", Log: slog.New(slog.DiscardHandler)})
		compare(b, raw, committing(open(b, sink, err)))
	})
	b.Run("fallback", func(b *testing.B) {
		p, err := nats.NewPublisher(b.Context(), natsConfig("WINDOW"), url, slog.New(slog.DiscardHandler))
		compare(b, raw, committing(open(b, paired(b, p), err)))
	})
}

func natsConfig(stream string) nats.Config {
	return nats.Config{Stream: stream, SubjectPrefix: stream}
}

func paired(b *testing.B, p sinks.Publisher) sinks.Sink {
	dir := b.TempDir()
	return sinks.Pair(p, func(_ context.Context, unit string) (checkpoint.Store, error) { return file.Open(dir, unit) })
}

func rawNATS(b *testing.B, url string) raw {
	b.Helper()
	nc, err := natsio.Connect(url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(1000))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := js.CreateStream(b.Context(), jetstream.StreamConfig{Name: "RAW", Subjects: []string{"raw.>"}, Storage: jetstream.FileStorage}); err != nil {
		b.Fatal(err)
	}
	publishing := func(header func(*schema.Message) natsio.Header) side {
		return func(events []schema.Message) func(context.Context) error {
			messages := make([]*natsio.Msg, len(events))
			for i := range events {
				messages[i] = &natsio.Msg{Subject: "raw.event.submail.acct.sms", Header: header(&events[i]), Data: events[i].Body}
			}
			return func(context.Context) error { return publishAsync(js, messages) }
		}
	}
	return raw{
		bare: publishing(func(*schema.Message) natsio.Header { return nil }),
		ready: publishing(func(m *schema.Message) natsio.Header {
			h := natsio.Header{}
			for _, a := range m.Attributes() {
				h["ce-"+a.Name] = []string{a.Value}
			}
			return h
		}),
	}
}

func publishAsync(js jetstream.JetStream, messages []*natsio.Msg) error {
	futures := make([]jetstream.PubAckFuture, len(messages))
	for i, m := range messages {
		var err error
		if futures[i], err = js.PublishMsgAsync(m); err != nil {
			return err
		}
	}
	<-js.PublishAsyncComplete()
	for _, f := range futures {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			return err
		}
	}
	return nil
}
