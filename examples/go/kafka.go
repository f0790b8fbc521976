package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// readKafka passes the id and the body of every event of a topic to receive, from the beginning to the present end. The
// versions of one row come in their order, because they share a key and so a partition.
func readKafka(ctx context.Context, brokers []string, topic string, receive func(id string, body []byte) error) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(brokers...),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		// Without this a consumer also gets the events of transactions that were aborted.
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// The marks at the end of transactions have offsets, too. They tell how far a partition was read.
		kgo.KeepControlRecords(),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	left, err := unread(ctx, client, topic)
	if err != nil {
		return err
	}
	for len(left) > 0 {
		fetched := client.PollFetches(ctx)
		if err := fetched.Err(); err != nil {
			return fmt.Errorf("reading topic %s: %w", topic, err)
		}
		for r := range fetched.RecordsAll() {
			if !r.Attrs.IsControl() {
				if err := receive(header(r, "ce_id"), r.Value); err != nil {
					return err
				}
			}
			if end, ok := left[r.Partition]; ok && r.Offset+1 >= end {
				delete(left, r.Partition)
			}
		}
	}
	return nil
}

// unread returns the ends of the partitions that hold anything.
func unread(ctx context.Context, client *kgo.Client, topic string) (map[int32]int64, error) {
	admin := kadm.NewClient(client)
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("asking for the beginning of topic %s: %w", topic, err)
	}
	ends, err := admin.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("asking for the end of topic %s: %w", topic, err)
	}
	left := map[int32]int64{}
	ends.Each(func(end kadm.ListedOffset) {
		if start, ok := starts.Lookup(topic, end.Partition); ok && start.Offset < end.Offset {
			left[end.Partition] = end.Offset
		}
	})
	return left, ends.Error()
}

// header returns a header of a record. Those of CloudEvents begin with ce_.
func header(r *kgo.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}
