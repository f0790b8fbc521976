package nats

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// startCluster starts three servers that replicate, and returns their URLs.
func startCluster(t *testing.T) (urls string) {
	t.Helper()
	var routes []string
	servers := make([]*server.Server, 3)
	for i := range servers {
		opts := &server.Options{
			ServerName: fmt.Sprint("s", i), Host: loopback, Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: t.TempDir(), Cluster: server.ClusterOpts{Name: "c", Host: loopback, Port: server.RANDOM_PORT},
			Routes: server.RoutesFromStr(strings.Join(routes, ",")),
		}
		s, err := server.NewServer(opts)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() {
			s.Shutdown()
			s.WaitForShutdown()
		})
		if !s.ReadyForConnections(hang) {
			t.Fatal("server is not ready")
		}
		servers[i] = s
		routes = append(routes, "nats://"+s.ClusterAddr().String())
		urls += "," + s.ClientURL()
	}
	eventually(t, "the cluster has a leader", func() bool { return ready(servers) })
	return urls[1:]
}

func ready(servers []*server.Server) bool {
	for _, s := range servers {
		if s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == len(servers) {
			return true
		}
	}
	return false
}

// TestLeaderMoves lets the leadership of a replicated stream move while
// commits are made.
func TestLeaderMoves(t *testing.T) {
	t.Parallel()
	urls := startCluster(t)
	js := jetStream(t, urls)
	cfg := testConfig()
	cfg.URL = Servers{urls}
	stream := streamConfig(&cfg)
	stream.Replicas = 3
	if _, err := js.CreateStream(within(t, hang), stream); err != nil {
		t.Fatal(err)
	}
	older := newSession(t, urls, "older")
	c := startCommits(t, older, 100)
	for range 2 {
		c.progress(t)
		if _, err := js.Conn().Request("$JS.API.STREAM.LEADER.STEPDOWN.DELIVERY", nil, 5*time.Second); err != nil {
			t.Log(err)
		}
	}
	c.progress(t)
	c.check(t, urls)
	if err := older.Commit(t.Context(), commitOf(0)); err == nil || !strings.Contains(err.Error(), "by next (") {
		t.Errorf("got %v, want fenced by next", err)
	}
	info, err := js.Stream(t.Context(), "DELIVERY")
	if err != nil || info.CachedInfo().Config.Replicas != 3 {
		t.Errorf("got %+v, error %v, want 3 replicas", info, err)
	}
}
