package nats

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"connector/checkpoint"
	"connector/internal/failpoint"
	"connector/internal/fault"
	"connector/sinks"
)

// errChanged says that the owner committed, or another one took over: what was
// read is outdated.
var errChanged = errors.New("its owner committed at the same time")

// Open implements [sinks.Sink]. It tries again until ctx ends, unless an error
// is fatal.
func (s *sink) Open(ctx context.Context, unit string) (sinks.Session, error) {
	defer s.conn.unblock(ctx)()
	a, err := newAnswers(s.conn)
	if err != nil {
		return nil, err
	}
	at := placeOf(&s.cfg, unit)
	n := &session{
		client: s.client, unit: unit, at: at, answers: a, encoder: newEncoder(&s.cfg, at, s.stream.AllowMsgTTL),
		attempts: map[string]bool{}, older: map[string]bool{}, superseded: map[string]uint64{},
	}
	for retry := newRetries(s.log, s.cfg.Stream); ; {
		err := n.open(ctx, &s.opts)
		if err == nil {
			return n, nil
		}
		if err = n.explain(ctx, err); fault.IsFatal(err) || n.unknown != nil {
			return nil, errors.Join(err, a.close())
		}
		if errors.Is(err, errChanged) {
			retry.backoff.Reset() // to come between two commits of the owner
		}
		if err := retry.pause(ctx, err, "NATS did not let a unit be taken over; trying again", "unit", unit); err != nil {
			return nil, errors.Join(fmt.Errorf("taking over unit %s: %w", unit, err), a.close())
		}
	}
}

// open takes the unit over, which fences its earlier owner, and loads the state.
func (s *session) open(ctx context.Context, opts *sinks.Options) error {
	if err := s.purge(ctx, s.at.all(), 1); err != nil { // nothing, but it shows a missing right now
		return err
	}
	fence, err := s.lastFence(ctx)
	switch {
	case err != nil:
		return err
	case fence == nil:
		s.expect = 0
		err = s.begin(ctx, opts)
	default:
		err = s.resume(ctx, opts, fence)
	}
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.NATSTakenOver)
	if err := s.load(ctx, opts.Owner); err != nil {
		return err
	}
	failpoint.Hit(failpoint.NATSLoaded)
	return s.sweep(ctx)
}

// lastFence returns the unit's fence, nil when there is none, with nothing of a
// torn batch behind it. As a rule it is the last of our messages, and one
// request tells both: a busy owner leaves little time for a takeover.
func (s *session) lastFence(ctx context.Context) (*stored, error) {
	subject := s.at.subject(checkpoint.FenceKey)
	m, err := s.last(ctx, s.cfg.SubjectPrefix+".>")
	if err != nil || m == nil || m.subject == subject {
		return m, err
	}
	fence, err := s.last(ctx, subject)
	if err != nil || fence == nil {
		return nil, err
	}
	return fence, s.repair(ctx, fence.seq)
}

// resume takes over a unit that has state. It reads no more than it needs for
// that: an owner that goes on committing meanwhile makes it begin again.
func (s *session) resume(ctx context.Context, opts *sinks.Options, fence *stored) error {
	s.expect = fence.seq
	state, err := checkpoint.TakeUnit(opts.Owner, fence.data)
	if err != nil {
		return err
	}
	s.state = state
	if err := s.retireEarlier(ctx, opts); err != nil {
		return err
	}
	return s.takeOver(ctx, &batch{state: state.Commit(nil, time.Now()), fenced: true})
}

// retireEarlier renames the file of an import whose process died before it did.
func (s *session) retireEarlier(ctx context.Context, opts *sinks.Options) error {
	if s.state.Fence().Number > 1 || opts.Earlier.Unit != s.unit {
		return nil
	}
	manifest, err := s.value(ctx, s.at, checkpoint.ManifestKey)
	if manifest == nil || err != nil { // a unit that was not imported begins without streams
		return err
	}
	if err := opts.Earlier.Retire(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// takeOver stores the first commit of this owner.
func (s *session) takeOver(ctx context.Context, b *batch) error {
	failpoint.Hit(failpoint.NATSTakeover)
	err := s.store(ctx, b)
	if _, ok := errors.AsType[*otherOwner](err); ok {
		return errChanged
	}
	return err
}

// unlessChanged returns err when the fence is still the one that was read.
func (s *session) unlessChanged(ctx context.Context, err error) error {
	fence, readErr := s.last(ctx, s.at.subject(checkpoint.FenceKey))
	switch {
	case readErr != nil:
		return readErr
	case fence == nil && s.expect == 0, fence != nil && fence.seq == s.expect:
		return err
	}
	return errChanged
}

// begin takes over a unit without a fence: it imports an earlier checkpoint, or
// begins a new one where that publishes nothing again.
func (s *session) begin(ctx context.Context, opts *sinks.Options) error {
	stray, err := s.last(ctx, s.at.all())
	if err != nil {
		return err
	}
	found, err := s.importEarlier(ctx, opts, stray)
	if found || err != nil {
		return err
	}
	held, err := s.holdsEvents(ctx)
	if err != nil {
		return err
	}
	if (held || stray != nil) && !opts.New {
		return s.unlessChanged(ctx, checkpoint.NoUnit("NATS stream "+s.cfg.Stream))
	}
	emptied, err := s.emptied(ctx)
	if err != nil {
		return err
	}
	if emptied && !opts.New {
		return s.unlessChanged(ctx, checkpoint.Emptied("NATS stream "+s.cfg.Stream))
	}
	if err := s.clear(ctx, stray); err != nil {
		return err
	}
	s.state = checkpoint.NewUnit(opts.Owner)
	return s.takeOver(ctx, &batch{state: s.state.Commit(nil, time.Now()), fenced: true})
}

// holdsEvents reports whether the stream holds events or dead letters.
func (s *session) holdsEvents(ctx context.Context) (bool, error) {
	for _, kind := range []string{eventToken, deadToken} {
		if m, err := s.last(ctx, subjectOf(s.cfg.SubjectPrefix, kind)); m != nil || err != nil {
			return m != nil, err
		}
	}
	return false, nil
}

// emptied reports whether the stream held messages and holds none: a purge takes
// the checkpoint along.
func (s *session) emptied(ctx context.Context) (bool, error) {
	var info *jetstream.StreamInfo
	err := s.guard(ctx, func(ctx context.Context) error {
		stream, err := s.js.Stream(ctx, s.cfg.Stream)
		if err == nil {
			info = stream.CachedInfo()
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("asking what NATS stream %s holds: %w", s.cfg.Stream, err)
	}
	return info.State.Msgs == 0 && info.State.LastSeq >= max(1, info.Config.FirstSeq), nil
}

// clear deletes the unit's state messages up to stray, the last one without a
// fence.
func (s *session) clear(ctx context.Context, stray *stored) error {
	if stray == nil {
		return nil
	}
	return s.purge(ctx, s.at.all(), stray.seq+1)
}
