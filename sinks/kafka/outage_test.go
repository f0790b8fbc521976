package kafka

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"connector/internal/fault"
)

// bubble is a stand-in whose network is in memory, where time passes only
// when everything waits, and a publisher.
type bubble struct {
	network   kfake.VirtualNetwork
	cluster   *kfake.Cluster
	cfg       Config
	publisher *publisher
	log       logs
}

func inBubble(t *testing.T, test func(t *testing.T, b *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var b bubble
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(b.network.Listen))
		if err != nil {
			t.Fatal(err)
		}
		defer cluster.Close()
		b.cluster, b.cfg = cluster, testConfig(t, cluster.ListenAddrs())
		b.publisher, err = newPublisher(t.Context(), &b.cfg, b.log.logger(), b.network.DialContext)
		if err != nil {
			t.Fatal(err)
		}
		defer b.publisher.client.close()
		test(t, &b)
	})
}

// TestOutage lasts ten minutes: the producer keeps trying, and says so now
// and then.
func TestOutage(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		ctx := t.Context()
		outage := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
		time.AfterFunc(10*time.Minute, outage.Remove)
		if err := b.publisher.Publish(ctx, messages(0, 1), nil); err != nil {
			t.Fatal(err)
		}
		if got := b.log.count("trying again"); got < 10 || got > 21 {
			t.Errorf("got %d lines about failures in ten minutes, want about 20:\n%s", got, b.log.String())
		}
		if got := b.log.count("accepts requests again"); got != 1 {
			t.Errorf("got %d lines about the end of the outage, want 1", got)
		}
		if got := outage.Hits(); got < 250 || got > 600 {
			t.Errorf("got %d attempts in ten minutes, want one every 2 s or so", got)
		}
	})
}

// TestTopicDeleted deletes the topic under the producer.
func TestTopicDeleted(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		ctx := t.Context()
		if err := b.cluster.DeleteTopic(b.cfg.Topic); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		err := b.publisher.Publish(ctx, messages(0, 1), nil)
		if !fault.IsFatal(err) || !strings.Contains(err.Error(), "KAFKA_TOPIC") {
			t.Errorf("got %v, want a fatal error with KAFKA_TOPIC", err)
		}
		if d := time.Since(began); d < missingTimeout || d > 2*missingTimeout {
			t.Errorf("gave up after %v, want %v", d, missingTimeout)
		}
	})
}
