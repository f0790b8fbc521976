package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"connector/internal/fault"
	"connector/internal/wait"
)

const (
	// startTimeout bounds each step of finding and creating topics.
	startTimeout = 15 * time.Second
	// assumedMessageBytes is the limit when the cluster does not tell: a
	// little below Kafka's default of max.message.bytes, 1,048,588.
	assumedMessageBytes = 1_000_000
	// maxMessageBytes bounds the limit itself: brokers cut the connection at
	// requests above 100 MiB (socket.request.max.bytes).
	maxMessageBytes = 64 << 20
	// messageOverhead is what the key, the mark (2 KiB, after the name of a
	// topic), and the framing of a batch, a record and its headers add to body
	// and attributes.
	messageOverhead = 4608
)

// provideTopics returns the number of partitions of each topic. Missing topics
// are created if cfg says so.
func provideTopics(ctx context.Context, c *client, cfg *Config, log *slog.Logger, topics ...string) (map[string]int, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	res, missing, err := lookUp(ctx, c, cfg, topics)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		if !cfg.CreateTopics {
			return nil, fault.Fatal(fmt.Errorf("topics missing: %s", strings.Join(missing, ", ")),
				"create them, set KAFKA_CREATE_TOPICS=true, or check KAFKA_TOPIC, KAFKA_DEADLETTER_TOPIC and KAFKA_CHECKPOINT_TOPIC")
		}
		if err := createTopics(ctx, c, cfg, missing); err != nil {
			return nil, err
		}
		log.Info("created Kafka topics", "topics", missing)
	}
	return awaitTopics(ctx, c, res, log, topics)
}

// findTopics returns the number of partitions of each topic, which must exist.
func findTopics(ctx context.Context, c *client, cfg *Config, log *slog.Logger, topics ...string) (map[string]int, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	res, missing, err := lookUp(ctx, c, cfg, topics)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		return nil, fault.Fatal(fmt.Errorf("topics missing: %s", strings.Join(missing, ", ")),
			"publish something first, or check KAFKA_TOPIC and KAFKA_DEADLETTER_TOPIC")
	}
	return awaitTopics(ctx, c, res, log, topics)
}

// lookUp makes the first contact.
func lookUp(ctx context.Context, c *client, cfg *Config, topics []string) (res *metadata.Response, missing []string, err error) {
	if res, err = c.metadata(ctx, topics...); err != nil {
		return nil, nil, connectError(err, cfg)
	}
	missing, err = missingTopics(res)
	return res, missing, err
}

func missingTopics(res *metadata.Response) (missing []string, err error) {
	for i := range res.Topics {
		t := &res.Topics[i]
		switch code := kafkago.Error(t.ErrorCode); code {
		case 0, kafkago.LeaderNotAvailable:
		case kafkago.UnknownTopicOrPartition:
			missing = append(missing, t.Name)
		default:
			answer := &answerError{code: code}
			return nil, fault.Fatal(fmt.Errorf("looking up topic %s: %w", t.Name, answer), topicRemedy(code, t.Name))
		}
	}
	return missing, nil
}

// createTopics creates topics; one that another process has just created is
// taken as it is.
func createTopics(ctx context.Context, c *client, cfg *Config, topics []string) error {
	for {
		answer, err := requestTopics(ctx, c, cfg, topics)
		if err == nil && answer == nil {
			return nil
		}
		if answer != nil {
			err = answer
		}
		err = fmt.Errorf("creating topics %s: %w", strings.Join(topics, ", "), err)
		if answer != nil && judgeCode(answer.code) != repeat {
			return fault.Fatal(err, createRemedy(answer.code))
		}
		if wait.For(ctx, 100*time.Millisecond) != nil {
			return err
		}
		c.renew()
	}
}

func requestTopics(ctx context.Context, c *client, cfg *Config, topics []string) (*answerError, error) {
	req := &createtopics.Request{TimeoutMs: int32(ackTimeout.Milliseconds())}
	for _, name := range topics {
		t := createtopics.RequestTopic{
			Name:              name,
			NumPartitions:     orDefault(int32(cfg.Partitions)),
			ReplicationFactor: orDefault(int16(cfg.ReplicationFactor)),
		}
		if name == cfg.CheckpointTopic {
			t.NumPartitions, t.Configs = 1, checkpointSettings
		}
		req.Topics = append(req.Topics, t)
	}
	m, err := c.roundTrip(ctx, req)
	if err != nil {
		return nil, err
	}
	for _, t := range m.(*createtopics.Response).Topics {
		if code := kafkago.Error(t.ErrorCode); code != 0 && code != kafkago.TopicAlreadyExists {
			return &answerError{code: code, message: t.ErrorMessage}, nil
		}
	}
	return nil, nil
}

// orDefault turns our 0 into the protocol's -1: the broker's default.
func orDefault[T int16 | int32](n T) T {
	if n == 0 {
		return -1
	}
	return n
}

func createRemedy(code kafkago.Error) string {
	switch code {
	case kafkago.InvalidReplicationFactor:
		return "set KAFKA_REPLICATION_FACTOR to at most the number of brokers"
	case kafkago.InvalidPartitionNumber:
		return "set KAFKA_PARTITIONS to a number the cluster allows"
	case kafkago.TopicAuthorizationFailed, kafkago.ClusterAuthorizationFailed:
		return "create the topics KAFKA_TOPIC, KAFKA_DEADLETTER_TOPIC and KAFKA_CHECKPOINT_TOPIC (compacted) yourself, or grant the user of KAFKA_SASL_USERNAME the operation CREATE"
	default:
		return "create the topics KAFKA_TOPIC, KAFKA_DEADLETTER_TOPIC and KAFKA_CHECKPOINT_TOPIC (compacted) yourself and set KAFKA_CREATE_TOPICS=false"
	}
}

// awaitTopics waits until every topic has its partitions and counts them.
func awaitTopics(ctx context.Context, c *client, res *metadata.Response, log *slog.Logger, topics []string) (map[string]int, error) {
	for {
		name := unfinished(res)
		if name == "" {
			break
		}
		if err := wait.For(ctx, 100*time.Millisecond); err != nil {
			return nil, fmt.Errorf("waiting for the partitions of topic %s: %w", name, err)
		}
		next, err := c.metadata(ctx, topics...)
		if err != nil {
			return nil, fmt.Errorf("waiting for the partitions of topic %s: %w", name, err)
		}
		res = next
	}
	counts := make(map[string]int, len(topics))
	for i := range res.Topics {
		counts[res.Topics[i].Name] = len(res.Topics[i].Partitions)
	}
	return counts, probeLeaders(ctx, c, res, log)
}

func unfinished(res *metadata.Response) string {
	for i := range res.Topics {
		if t := &res.Topics[i]; t.ErrorCode != 0 || len(t.Partitions) == 0 {
			return t.Name
		}
	}
	return ""
}

// probeLeaders asks each broker that leads a partition for something small: a
// wrong advertised.listeners, or a certificate for another name, shows only
// there. It fails if none can be reached.
func probeLeaders(ctx context.Context, c *client, res *metadata.Response, log *slog.Logger) error {
	leaders := leaders(res)
	failures := make(map[string]error)
	for _, b := range res.Brokers {
		p, leads := leaders[b.NodeID]
		if !leads {
			continue
		}
		_, err := c.offset(ctx, view{topic: p.topic, partition: p.id}, last)
		if _, answered := errors.AsType[*answerError](err); err != nil && !answered {
			failures[net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))] = err
		}
	}
	for address, err := range failures {
		if len(failures) < len(leaders) {
			log.Warn("a Kafka broker cannot be reached at the address it announces", "address", address, "error", err)
			continue
		}
		err = fmt.Errorf("connecting to %s, as a Kafka broker announces itself: %w", address, err)
		if remedy := connectionRemedy(err); remedy != "" {
			return fault.Fatal(err, remedy)
		}
		return fmt.Errorf("%w; check the brokers' advertised.listeners and the network", err)
	}
	return nil
}

// leaders returns one partition of each broker that leads any.
func leaders(res *metadata.Response) map[int32]partition {
	found := make(map[int32]partition)
	for i := range res.Topics {
		for j := range res.Topics[i].Partitions {
			if p := &res.Topics[i].Partitions[j]; p.LeaderID >= 0 { // else there is none at the moment
				found[p.LeaderID] = partition{topic: res.Topics[i].Name, id: p.PartitionIndex}
			}
		}
	}
	return found
}

// messageBytes returns the lowest max.message.bytes of topics, or an
// assumption where the cluster does not say.
func messageBytes(ctx context.Context, c *client, log *slog.Logger, topics ...string) int {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	req := &kafkago.DescribeConfigsRequest{}
	for _, name := range topics {
		req.Resources = append(req.Resources, kafkago.DescribeConfigRequestResource{
			ResourceType: kafkago.ResourceTypeTopic, ResourceName: name, ConfigNames: []string{"max.message.bytes"},
		})
	}
	limit := maxMessageBytes
	res, err := c.api.DescribeConfigs(ctx, req)
	if err != nil {
		res = &kafkago.DescribeConfigsResponse{Resources: []kafkago.DescribeConfigResponseResource{{Error: err}}}
	}
	for _, r := range res.Resources {
		n, err := configuredBytes(&r)
		if err != nil {
			log.Info("assuming Kafka's default size limit", "topic", r.ResourceName, "bytes", assumedMessageBytes, "error", err)
			n = assumedMessageBytes
		}
		limit = min(limit, n)
	}
	return limit
}

func configuredBytes(r *kafkago.DescribeConfigResponseResource) (int, error) {
	if r.Error != nil {
		return 0, r.Error
	}
	if len(r.ConfigEntries) == 0 {
		return 0, errors.New("max.message.bytes is not described")
	}
	return strconv.Atoi(r.ConfigEntries[0].ConfigValue)
}
