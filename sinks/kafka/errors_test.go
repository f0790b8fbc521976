package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// TestJudge goes through every code of the protocol that matters to a producer
// (https://kafka.apache.org/41/design/protocol/#error-codes), by number.
func TestJudge(t *testing.T) {
	want := map[verdict][]int{
		stored:   {0, 46},
		repeat:   {-1, 2, 3, 5, 6, 7, 8, 9, 13, 14, 15, 16, 19, 20, 41, 51, 56, 72, 74, 75, 78, 89, 100, 103},
		renumber: {45, 48, 49, 55, 59},
		refused:  {10, 18, 32, 87},
		fenced:   {47, 52, 90},
		stopped:  {17, 21, 29, 31, 35, 42, 43, 44, 53, 76, 999},
	}
	for v, codes := range want {
		for _, code := range codes {
			err := fmt.Errorf("wrapped: %w", &answerError{code: kafkago.Error(code)})
			if got := judge(err); got != v {
				t.Errorf("code %d: got verdict %d, want %d", code, got, v)
			}
		}
	}
	if got := judge(nil); got != stored {
		t.Errorf("no error: got verdict %d, want %d", got, stored)
	}
	for _, err := range []error{io.EOF, context.DeadlineExceeded, protocol.NewErrNoTopic("t"), errors.New("any"), kafkago.BrokerNotAvailable} {
		if got := judge(err); got != repeat {
			t.Errorf("%v: got verdict %d, want %d", err, got, repeat)
		}
	}
	if got := judge(kafkago.SASLAuthenticationFailed); got != stopped {
		t.Errorf("login refused: got verdict %d, want %d", got, stopped)
	}
}
