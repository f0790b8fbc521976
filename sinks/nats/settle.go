package nats

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"connector/checkpoint"
	"connector/internal/failpoint"
	"connector/internal/fault"
	"connector/internal/wait"
)

// otherOwner says that the fence is not this session's.
type otherOwner struct{ fence checkpoint.Fence }

func (o *otherOwner) Error() string { return "the unit belongs to " + o.fence.String() }

// store sends b until it is stored, or certain never to be. When several
// attempts of one commit are under way the server stores one at most, because
// they name the same predecessor.
func (s *session) store(ctx context.Context, b *batch) error {
	defer func() {
		maps.Copy(s.older, s.attempts)
		clear(s.attempts)
	}()
	for retry := newRetries(s.log, s.cfg.Stream); ; {
		if err := s.check(b); err != nil {
			return err
		}
		seq, cause := s.attempt(ctx, b)
		if cause != nil {
			failpoint.Hit(failpoint.NATSDoubt)
			var err error
			if seq, err = s.settle(ctx, retry, cause); err != nil {
				return err
			}
		}
		if seq > 0 {
			s.committed(b, seq)
			return nil
		}
		if cause = s.explain(ctx, cause); fault.IsFatal(cause) && ctx.Err() == nil {
			return cause
		}
		if err := retry.pause(ctx, cause, "NATS did not store a commit; trying again", "messages", b.size()); err != nil {
			return err
		}
	}
}

// settle finds out by the fence whether one of the attempts is stored: the
// sequence of its last message, or 0 when none is. It returns an error when the
// commit must not be sent again; when nothing could be found out, no other
// commit either.
func (s *session) settle(ctx context.Context, retry *retries, cause error) (uint64, error) {
	if len(s.attempts) == 0 {
		return 0, nil
	}
	for {
		seq, err := s.ask(ctx)
		if err == nil || s.unknown != nil {
			return seq, err
		}
		if _, ok := errors.AsType[*otherOwner](err); ok {
			return 0, err
		}
		if explained := s.explain(ctx, err); fault.IsFatal(explained) && ctx.Err() == nil {
			s.unknown = explained
			return 0, explained
		}
		if err := retry.pause(ctx, errors.Join(cause, err), "NATS did not say whether a commit is stored; asking again"); err != nil {
			s.unknown = err
			return 0, err
		}
	}
}

// ask reads the fence and deletes what a torn batch left behind it.
func (s *session) ask(ctx context.Context) (uint64, error) {
	fence, err := s.last(ctx, s.at.subject(checkpoint.FenceKey))
	if err != nil {
		return 0, err
	}
	if seq, err := s.judge(fence); err != nil || seq > 0 {
		return seq, err
	}
	return 0, s.repair(ctx, s.expect)
}

// judge says what the durable fence means for the commit under way.
func (s *session) judge(fence *stored) (uint64, error) {
	switch {
	case fence == nil && s.expect == 0:
		return 0, nil
	case fence == nil:
		s.unknown = fault.Fatal(fmt.Errorf("unit %s: the fence of its checkpoint was deleted from NATS stream %s", s.unit, s.cfg.Stream), restoreRemedy)
	case s.attempts[fence.batch()]:
		return fence.seq, nil
	case fence.seq == s.expect:
		return 0, nil
	case s.older[fence.batch()]:
		s.unknown = fault.Fatal(fmt.Errorf("unit %s: NATS stream %s stored an earlier form of a commit after all", s.unit, s.cfg.Stream), "restart the connector; it goes on from what is stored")
	case fence.seq < s.expect:
		s.unknown = fault.Fatal(fmt.Errorf("unit %s: NATS stream %s lost commits that it had acknowledged, events and checkpoint alike", s.unit, s.cfg.Stream),
			"restart the connector; it goes on from what is stored. Set sync_interval: always on a NATS server that may lose power")
	default:
		by, err := checkpoint.DecodeFence(fence.data)
		if err != nil {
			by = checkpoint.Fence{}
		}
		return 0, &otherOwner{by}
	}
	return 0, s.unknown
}

const restoreRemedy = `restore the stream from a backup, or name a new NATS_STREAM and NATS_SUBJECT_PREFIX`

// JetStream's error codes for atomic batches.
const (
	codeBatchDisabled   jetstream.ErrorCode = 10174
	codeBatchIncomplete jetstream.ErrorCode = 10176
	codeBatchTooLarge   jetstream.ErrorCode = 10199
	codeBatchTooMany    jetstream.ErrorCode = 10210
	codeResources       jetstream.ErrorCode = 10023
)

// explain says more about why a batch was not stored, and marks what sending
// it again cannot change. A server answers only the last message, so that what
// is wrong with another one is looked for in the stream's limits.
func (s *session) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	if !ok {
		return s.diagnose(ctx, err)
	}
	switch api.ErrorCode {
	case codeBatchIncomplete, codeBatchDisabled, codeHeaderTooLarge, jetstream.JSErrCodeStreamMessageExceedsMaximum:
		if changed := s.refresh(ctx); changed != nil {
			return changed
		}
		return fmt.Errorf("NATS stream %s did not take every message of a batch (free space when the server's disk is full): %w", s.cfg.Stream, err)
	case codeBatchTooLarge:
		return fault.Fatal(fmt.Errorf("NATS stream %s: %w", s.cfg.Stream, err), fmt.Sprintf("raise max_batch_size in the server's limits to %d", maxBatch))
	case codeBatchTooMany:
		return fmt.Errorf("NATS stream %s has too many batches open: %w", s.cfg.Stream, err)
	case codeResources:
		return fmt.Errorf("the NATS server's or account's storage is full (delete old messages, or raise its limit): %w", err)
	default:
		return s.diagnose(ctx, err)
	}
}

// refresh reads the stream's limits again, and refuses what cannot take
// batches any more.
func (s *session) refresh(ctx context.Context) error {
	var found jetstream.StreamConfig
	err := s.guard(ctx, func(ctx context.Context) error {
		stream, err := s.js.Stream(ctx, s.cfg.Stream)
		if err == nil {
			found = stream.CachedInfo().Config
		}
		return err
	})
	if err != nil {
		return err
	}
	s.stream = found
	if lacks := s.streamLacks(); len(lacks) > 0 {
		return lacksError(s.cfg.Stream, lacks)
	}
	return nil
}

// tornPatience is how long a batch must look torn to be deleted.
const tornPatience = 500 * time.Millisecond

// repair deletes what the stream holds of a batch behind the fence with
// sequence fence that was not stored to its end, because storage ran out.
func (c *client) repair(ctx context.Context, fence uint64) error {
	torn, err := c.tornTail(ctx, fence)
	if err != nil || torn == nil {
		return err
	}
	if err := wait.For(ctx, tornPatience); err != nil {
		return err
	}
	again, err := c.tornTail(ctx, fence)
	if err != nil || again == nil || again.seq != torn.seq {
		return err
	}
	failpoint.Hit(failpoint.NATSRepair)
	n := 0
	for m := again; m != nil && m.batch() == torn.batch(); n++ {
		if err := c.remove(ctx, m.seq); err != nil {
			return err
		}
		failpoint.Hit(failpoint.NATSRepairDeleted)
		if m, err = c.tornTail(ctx, fence); err != nil {
			return err
		}
	}
	c.log.Warn("NATS had stored a part of a commit only, because its storage was full; the part is deleted", "stream", c.cfg.Stream, "messages", n)
	return nil
}

// tornTail returns the last of our messages when it lies behind the fence and
// belongs to a batch without an end; else nil.
func (c *client) tornTail(ctx context.Context, fence uint64) (*stored, error) {
	m, err := c.last(ctx, c.cfg.SubjectPrefix+".>")
	if err != nil || m == nil || m.seq <= fence || !m.torn() {
		return nil, err
	}
	return m, nil
}
