//go:build unix

package chaos

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// abortTransaction aborts, as an administrator could, a transaction that is open
// under id. It waits half a second for one.
func abortTransaction(t *testing.T, brokers []string, id string) {
	// Of later versions the end of a transaction gives the producer a new epoch, which fences the connector.
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.MaxVersions(kversion.V3_8_0()))
	if err != nil {
		t.Error(err)
		return
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	for ctx.Err() == nil {
		found, err := kadm.NewClient(client).DescribeTransactions(ctx, id)
		if err != nil || found[id].State != "Ongoing" {
			continue
		}
		end := kmsg.NewPtrEndTxnRequest()
		end.TransactionalID, end.ProducerID, end.ProducerEpoch = id, found[id].ProducerID, found[id].ProducerEpoch
		if res, err := end.RequestWith(ctx, client); err == nil && res.ErrorCode == 0 {
			return // else the connector was faster
		}
	}
}
