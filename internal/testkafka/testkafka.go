// Package testkafka gives tests a Kafka: the real one that KAFKA_TEST_BROKERS
// names (scripts/kafka.sh starts one), or an in-process stand-in. Each test
// that asks says in its log which it got.
package testkafka

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"connector/internal/wait"
)

// Variable names the brokers of a real Kafka: host:port, separated by commas.
const Variable = "KAFKA_TEST_BROKERS"

// standInID is the cluster id that tells the stand-in from a real Kafka.
const standInID = "kfake"

const timeout = 2 * time.Minute

// Brokers returns the addresses of a cluster. It fails the test when
// KAFKA_TEST_BROKERS is set and does not lead to a real Apache Kafka.
func Brokers(tb testing.TB) []string {
	tb.Helper()
	brokers := realBrokers()
	if len(brokers) == 0 {
		tb.Logf("kafka broker: in-process stand-in (kfake), set %s for a real one", Variable)
		return Faulty(tb).ListenAddrs()
	}
	id, err := identify(tb.Context(), brokers)
	if err != nil {
		tb.Fatalf("asking the Kafka of %s=%s who it is: %v", Variable, strings.Join(brokers, ","), err)
	}
	tb.Logf("kafka broker: real Apache Kafka at %s (cluster %s)", strings.Join(brokers, ","), id)
	return brokers
}

func realBrokers() []string {
	if value := os.Getenv(Variable); value != "" {
		return strings.Split(value, ",")
	}
	return nil
}

// Faulty returns a stand-in whose faults and leaders the test controls, also
// when there is a real Kafka. It has one broker unless opts say otherwise.
func Faulty(tb testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	tb.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.ClusterID(standInID)}, opts...)...)
	if err != nil {
		tb.Fatalf("starting the stand-in for Kafka: %v", err)
	}
	tb.Cleanup(cluster.Close)
	return cluster
}

var unfit = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// Topic returns a name that no other test uses. On a real Kafka the topic, if
// there is one by then, is deleted when the test ends.
func Topic(tb testing.TB) string {
	tb.Helper()
	name := unfit.ReplaceAllString(tb.Name(), "-")
	name = name[:min(len(name), 80)] + "-" + rand.Text()[:10]
	if brokers := realBrokers(); len(brokers) > 0 {
		tb.Cleanup(func() { remove(tb, brokers, name) })
	}
	return name
}

// Create makes a topic, and returns when its partitions have leaders. configs are pairs of name and value, such as
// "max.message.bytes", "2000".
func Create(tb testing.TB, brokers []string, topic string, partitions int, configs ...string) {
	tb.Helper()
	tc := kafka.TopicConfig{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1}
	for i := 0; i+1 < len(configs); i += 2 {
		tc.ConfigEntries = append(tc.ConfigEntries, kafka.ConfigEntry{ConfigName: configs[i], ConfigValue: configs[i+1]})
	}
	err := with(tb.Context(), brokers, topic, func(ctx context.Context, c *kafka.Client) error {
		res, err := c.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{tc}})
		if err != nil {
			return err
		}
		return res.Errors[topic]
	})
	if err == nil {
		err = awaitLeaders(tb.Context(), brokers, topic, partitions)
	}
	if err != nil {
		tb.Fatalf("creating topic %s: %v", topic, err)
	}
}

// awaitLeaders waits until all partitions of a topic have leaders: brokers know
// of a topic a while after it was created.
func awaitLeaders(ctx context.Context, brokers []string, topic string, partitions int) error {
	for end := time.Now().Add(timeout); ; {
		n, err := leaders(ctx, brokers, topic)
		if err != nil || n == partitions {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d of its %d partitions have leaders after %v", n, partitions, timeout)
		}
		if err := wait.For(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// leaders counts the partitions that have leaders, by a client of its own: a
// client answers from what it knows.
func leaders(ctx context.Context, brokers []string, topic string) (n int, err error) {
	err = with(ctx, brokers, topic, func(ctx context.Context, c *kafka.Client) error {
		meta, err := c.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
		if err != nil {
			return err
		}
		for _, t := range meta.Topics {
			for _, p := range t.Partitions {
				if p.Error == nil && p.Leader.Host != "" {
					n++
				}
			}
		}
		return nil
	})
	return n, err
}

func remove(tb testing.TB, brokers []string, topic string) {
	tb.Helper()
	err := with(context.Background(), brokers, topic, func(ctx context.Context, c *kafka.Client) error {
		res, err := c.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
		if err != nil {
			return err
		}
		return res.Errors[topic]
	})
	if err != nil && !errors.Is(err, kafka.UnknownTopicOrPartition) {
		tb.Errorf("deleting topic %s: %v", topic, err)
	}
}

// identify returns the id of a cluster, or an error if it is not an Apache Kafka.
func identify(ctx context.Context, brokers []string) (id string, err error) {
	err = with(ctx, brokers, "none", func(ctx context.Context, c *kafka.Client) error {
		meta, err := c.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{}})
		if err != nil {
			return err
		}
		if id = meta.ClusterID; id == standInID || len(meta.Brokers) == 0 {
			return fmt.Errorf("cluster %q is not a real Kafka", id)
		}
		// Of all that speak the protocol, only Apache Kafka has process roles.
		configs, err := c.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{
			ResourceType: kafka.ResourceTypeBroker, ResourceName: strconv.Itoa(meta.Brokers[0].ID), ConfigNames: []string{"process.roles"},
		}}})
		if err != nil {
			return err
		}
		if r := configs.Resources; len(r) == 0 || len(r[0].ConfigEntries) == 0 || !strings.Contains(r[0].ConfigEntries[0].ConfigValue, "broker") {
			return fmt.Errorf("cluster %q is not an Apache Kafka: its brokers have no process.roles", id)
		}
		return nil
	})
	return id, err
}

func with(ctx context.Context, brokers []string, topic string, do func(context.Context, *kafka.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	transport := &kafka.Transport{MetadataTopics: []string{topic}, MetadataTTL: timeout} // no topic would mean all; the TTL also bounds asking
	defer transport.CloseIdleConnections()
	return do(ctx, &kafka.Client{Addr: kafka.TCP(brokers...), Transport: transport})
}
