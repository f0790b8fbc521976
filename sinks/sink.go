// Package sinks defines where events go, and the commit that carries them.
package sinks

import (
	"context"
	"errors"
	"fmt"

	"connector/checkpoint"
	"connector/internal/fault"
	"connector/schema"
)

// Guarantee is what a sink promises to consumers, in words for logs, checks
// and status.
type Guarantee string

// The guarantees a sink can give, the strongest first.
const (
	// ExactlyOnce: events and checkpoint are one commit, which an earlier owner cannot make any more.
	ExactlyOnce Guarantee = "exactly once; earlier owners are fenced"
	// ExactlyOnceCommitted: as above, for consumers that skip what is not committed.
	ExactlyOnceCommitted Guarantee = "exactly once for consumers that read committed messages only; earlier owners are fenced"
	// OnceUnlessZombie: a crash neither loses nor repeats; an earlier owner that still runs may repeat what it was publishing when the newer one took over.
	OnceUnlessZombie Guarantee = "no loss; duplicates, with the same event id, only from an earlier process that still runs"
	// DedupedInWindow: as the next, and the sink drops a repeated event id inside its window.
	DedupedInWindow Guarantee = "no loss; duplicates, with the same event id, only after a crash, and not inside the broker's duplicate window"
	// ExactlyOnceUnlessCrash: a crash between publishing and saving the
	// checkpoint publishes again, with the same event ids.
	ExactlyOnceUnlessCrash Guarantee = "no loss; duplicates, with the same event id, only after a crash"
)

// IsExactlyOnce reports whether nothing repeats an event, a crash or an earlier
// owner included: what CONNECTOR_REQUIRE_EXACTLY_ONCE asks for.
func (g Guarantee) IsExactlyOnce() bool { return g == ExactlyOnce || g == ExactlyOnceCommitted }

// ErrFenced says that a newer owner took the unit; this process must stop.
var ErrFenced = errors.New("fenced")

// Fenced is the error of an owner whose unit another one took; by is the
// other's fence, zero when it could not be read.
func Fenced(unit string, by checkpoint.Fence) error {
	who := "a newer owner"
	if by.Term > 0 {
		who = by.String()
	}
	return fault.Fatal(fmt.Errorf("unit %s: %w by %s", unit, ErrFenced, who), "run one connector per checkpoint; this one stops, and the other one goes on from what was committed")
}

// Limits bound what one commit may hold.
type Limits struct {
	MaxMessageBytes int  // largest schema.Message.Size; 0 = no limit
	MaxMessages     int  // most events, dead letters and entries of state in one commit
	Marks           bool // whether messages must carry their [schema.Message.Mark]
}

// Commit is made durable as one, as far as the sink's guarantee goes.
type Commit struct {
	Events []schema.Message
	Dead   []schema.Message
	State  []checkpoint.Entry
}

// RejectedError lists every message of a call that the sink can never accept.
type RejectedError struct{ Messages []Rejection }

// Rejection names one message and says why it was refused.
type Rejection struct {
	Dead  bool // whether Index counts in Commit.Dead instead of Commit.Events
	Index int
	Err   error
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("%d message(s) rejected by the sink, the first: %v", len(e.Messages), e.Messages[0].Err)
}

// Sink is a destination. Its methods may be called from several goroutines.
type Sink interface {
	// Open takes a unit over: it fences earlier owners and settles doubt.
	Open(ctx context.Context, unit string) (Session, error)
	// Guarantee says what was probed, not what was hoped for.
	Guarantee() Guarantee
	// Close releases connections, after all sessions are closed.
	Close() error
}

// Session is the ownership of one unit. But for Get it is not safe for
// concurrent use.
type Session interface {
	Limits() Limits
	// Recover calls yield for each entry of the unit's streams whose key is not
	// [checkpoint.Paged], and for the mark of each durable message that the
	// state does not cover yet, see [checkpoint.MarkEntry], in the order in
	// which the versions of a record were stored.
	Recover(ctx context.Context, yield func(checkpoint.Entry) error) error
	// Get returns the value of a key of the state, nil when there is none. It
	// may be called from several goroutines, also while Commit runs.
	Get(ctx context.Context, key string) ([]byte, error)
	// Commit returns nil when everything is durable. Otherwise the state is
	// unchanged and the error is ErrFenced, a *RejectedError (call again with
	// other messages in place of the rejected), marked fatal, or transient
	// (call again with the same commit). Versions of one record are published in
	// order. When ctx ends it returns promptly; whether the commit is durable may
	// then be unknown, and only Close may follow.
	Commit(ctx context.Context, c Commit) error
	Close() error
}

// Publisher makes messages durable without state. [Pair] turns one into a
// Sink. Publish returns nil only when every message was acknowledged, and a
// *RejectedError only when every message not listed in it was; calling it
// again after another error may store messages twice where the sink cannot
// dedupe. It is not safe for concurrent use.
type Publisher interface {
	Limits() Limits
	Guarantee() Guarantee
	Publish(ctx context.Context, events, dead []schema.Message) error
	Close() error
}
