package testkafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBrokers(t *testing.T) {
	brokers := Brokers(t)
	topic := Topic(t)
	Create(t, brokers, topic, 3)
	t.Log(topic)
}

func TestIdentifyRefusesStandIn(t *testing.T) {
	for _, id := range []string{standInID, "a-real-looking-id"} {
		cluster := Faulty(t, kfake.ClusterID(id))
		if got, err := identify(t.Context(), cluster.ListenAddrs()); err == nil {
			t.Errorf("cluster id %s: got %q, want an error", id, got)
		} else {
			t.Log(err)
		}
	}
}
