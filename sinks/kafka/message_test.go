package kafka

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"connector/schema"
)

// TestMessagesEqualKmsg compares batches of messages with franz-go's encoder,
// byte for byte.
func TestMessagesEqualKmsg(t *testing.T) {
	for _, origin := range []string{"", "topic/u0/"} {
		e := newEncoder("none", batchBytes, batchBytes)
		p := &publisher{headers: newHeaderEncoder()}
		p.headers.origin = origin
		rapid.Check(t, func(t *rapid.T) {
			messages := rapid.SliceOfN(drawMessage(), 1, 20).Draw(t, "messages")
			now := time.UnixMilli(rapid.Int64Range(0, 1<<42).Draw(t, "now"))
			records := make([]testRecord, len(messages))
			for i := range messages {
				m := &messages[i]
				records[i] = testRecord{record{time: now.UnixMilli(), key: []byte(m.Key()), value: m.Body}, wantHeaders(m, origin)}
			}
			got, err := e.encode(route(p, messages), now)
			if err != nil {
				t.Fatal(err)
			}
			stamp(got.set, producerID{7, 3}, 5)
			if want := seal(kmsgBatch(records, 0, producerID{7, 3}, 5)); !bytes.Equal(got.set[prefixBytes:], want) {
				t.Fatalf("got  %x\nwant %x", got.set[prefixBytes:], want)
			}
		})
	}
}

// route returns the items of messages that have one partition.
func route(p *publisher, messages []schema.Message) []item {
	part := &partition{topic: "topic"}
	p.topic, p.partitions = part.topic, map[string][]*partition{part.topic: {part}}
	return p.route(messages, nil)[part]
}

func drawMessage() *rapid.Generator[schema.Message] {
	text := rapid.String()
	blob := rapid.OneOf(rapid.Just([]byte(nil)), rapid.SliceOfN(rapid.Byte(), 0, 300))
	return rapid.Custom(func(t *rapid.T) schema.Message {
		return schema.Message{
			ID: text.Draw(t, "id"), Type: text.Draw(t, "type"), DataSchema: text.Draw(t, "schema"),
			Source:   schema.Source{System: "submail", Account: rapid.SampledFrom([]string{"acme", "a/b"}).Draw(t, "account"), Stream: "sms"},
			RecordID: text.Draw(t, "record"), Time: time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "time"), 0),
			Replay: rapid.SampledFrom([]string{"", "r1"}).Draw(t, "replay"), Structured: rapid.Bool().Draw(t, "structured"),
			Body: blob.Draw(t, "body"), Mark: blob.Draw(t, "mark"),
		}
	})
}

func wantHeaders(m *schema.Message, origin string) (list []kmsg.Header) {
	if m.Structured {
		list = append(list, kmsg.Header{Key: "content-type", Value: []byte("application/cloudevents+json")})
	}
	for _, a := range m.Attributes() {
		name := "ce_" + a.Name
		if a.Name == "datacontenttype" {
			name = "content-type"
		}
		list = append(list, kmsg.Header{Key: name, Value: []byte(a.Value)})
	}
	if origin != "" && m.Mark != nil {
		list = append(list, kmsg.Header{Key: markHeader, Value: append([]byte(origin), m.Mark...)})
	}
	return list
}

// TestLargestMessage encodes up to a message that is one byte larger than
// allowed, whatever its headers take beside its attributes.
func TestLargestMessage(t *testing.T) {
	for _, structured := range []bool{false, true} {
		events := messages(0, 3)
		for i := range events {
			if structured {
				events[i].Structure()
			}
		}
		events[1].Body = append(events[1].Body, ' ')
		items := route(&publisher{headers: newHeaderEncoder()}, events)
		tests := []struct{ from, largest, want int }{
			{0, events[0].Size(), 1}, {0, events[1].Size(), 3}, {1, events[0].Size(), 0}, {2, events[0].Size(), 1},
		}
		for _, tt := range tests {
			t.Run(fmt.Sprint(structured, tt), func(t *testing.T) {
				got, err := newEncoder("none", batchBytes, tt.largest).encode(items[tt.from:], time.Now())
				if err != nil || (got == nil) != (tt.want == 0) || got != nil && got.count != tt.want {
					t.Errorf("got %+v and error %v, want %d messages", got, err, tt.want)
				}
			})
		}
	}
}
