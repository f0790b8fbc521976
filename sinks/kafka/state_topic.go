package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/createtopics"

	"connector/internal/fault"
	"connector/internal/wait"
)

// stateBytes is what max.message.bytes of the checkpoint topic must allow: one
// commit's state is one batch, and folds up to 6 MiB of the ledger.
const stateBytes = 8 << 20

// checkpointSettings are those of a checkpoint topic that is created. Small
// segments keep small what a start reads; what is older than
// min.compaction.lag.ms only is compacted, so that a repair of what an earlier
// owner overwrote finds what it needs.
var checkpointSettings = []createtopics.RequestConfig{
	{Name: "cleanup.policy", Value: "compact"},
	{Name: "segment.bytes", Value: strconv.Itoa(16 << 20)},
	{Name: "segment.ms", Value: milliseconds(time.Hour)},
	{Name: "min.cleanable.dirty.ratio", Value: "0.1"},
	{Name: "min.compaction.lag.ms", Value: milliseconds(5 * time.Minute)},
	{Name: "max.message.bytes", Value: strconv.Itoa(stateBytes)},
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// verifyCheckpointTopic refuses a checkpoint topic that would forget state or
// take no large commit.
func verifyCheckpointTopic(ctx context.Context, c *client, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	settings, err := awaitSettings(ctx, c, topic)
	if err != nil {
		return err
	}
	if policy := settings["cleanup.policy"]; strings.TrimSpace(policy) != "compact" {
		return fault.Fatal(fmt.Errorf("the checkpoint topic %s has cleanup.policy=%s and would forget the checkpoint", topic, policy),
			fmt.Sprintf("set cleanup.policy=compact on topic %s, or name another one in KAFKA_CHECKPOINT_TOPIC", topic))
	}
	if n, err := strconv.Atoi(settings["max.message.bytes"]); err != nil || n < stateBytes {
		return fault.Fatal(fmt.Errorf("the checkpoint topic %s has max.message.bytes=%s: too few for a large commit", topic, settings["max.message.bytes"]),
			fmt.Sprintf("set max.message.bytes=%d on topic %s", stateBytes, topic))
	}
	return nil
}

// awaitSettings describes a topic, which brokers may not know for a moment
// after it was created.
func awaitSettings(ctx context.Context, c *client, topic string) (map[string]string, error) {
	for {
		settings, err := describe(ctx, c, topic, "cleanup.policy", "max.message.bytes")
		if err == nil {
			return settings, nil
		}
		err = fmt.Errorf("reading the settings of topic %s: %w", topic, err)
		if code, ok := errors.AsType[kafkago.Error](err); ok && judgeCode(code) != repeat {
			return nil, fault.Fatal(err, fmt.Sprintf("grant the user of KAFKA_SASL_USERNAME the operation DESCRIBE_CONFIGS on topic %s", topic))
		}
		if wait.For(ctx, 100*time.Millisecond) != nil {
			return nil, err
		}
		c.renew()
	}
}

// describe returns settings of a topic by name.
func describe(ctx context.Context, c *client, topic string, names ...string) (map[string]string, error) {
	res, err := c.api.DescribeConfigs(ctx, &kafkago.DescribeConfigsRequest{Resources: []kafkago.DescribeConfigRequestResource{{
		ResourceType: kafkago.ResourceTypeTopic, ResourceName: topic, ConfigNames: names,
	}}})
	if err != nil {
		return nil, err
	}
	settings := map[string]string{}
	for _, r := range res.Resources {
		if r.Error != nil {
			return nil, r.Error
		}
		for _, e := range r.ConfigEntries {
			settings[e.ConfigName] = e.ConfigValue
		}
	}
	return settings, nil
}

// partitionOf returns the partition of a unit in the checkpoint topic: that of
// u<n> is n.
func partitionOf(unit string) (int32, error) {
	digits, ok := strings.CutPrefix(unit, "u")
	n, err := strconv.ParseUint(digits, 10, 31)
	if !ok || err != nil || "u"+strconv.FormatUint(n, 10) != unit {
		return 0, fmt.Errorf("unit %q is not named u<number>", unit)
	}
	return int32(n), nil
}

// within refuses a topic that has too few partitions for the unit.
func (s *unitState) within(partitions int) error {
	if int(s.view.partition) < partitions {
		return nil
	}
	return fault.Fatal(fmt.Errorf("the checkpoint topic %s has %d partition(s), unit %s needs partition %d", s.view.topic, partitions, s.unit, s.view.partition),
		fmt.Sprintf("add partitions to topic %s", s.view.topic))
}
