package kafka

import (
	"context"

	"connector/checkpoint"
	"connector/internal/failpoint"
	"connector/sinks"
)

// ownership is what both ways to deliver share: the state of a unit, and its
// takeover.
type ownership struct {
	sink  *sink
	state *unitState
	unit  *checkpoint.Unit
	mine  takeover
	save  func(context.Context, []checkpoint.Entry) error // appends entries to the state as one, and learns where they lie

	saved   ends               // of the state
	reached ends               // up to which messages were read back
	marks   []checkpoint.Entry // of those that were
}

// open takes the unit over: first the claim, then the state up to there, then
// the messages that the state does not cover.
func (s *ownership) open(ctx context.Context, claim func(context.Context, takeover) error) error {
	if err := s.state.take(ctx, s.sink.opts.Owner, claim); err != nil {
		return err
	}
	s.mine = s.state.takeover
	failpoint.Hit(failpoint.KafkaTakenOver)
	var err error
	if s.state.has(checkpoint.FenceKey) {
		err = s.retire(ctx)
	} else {
		err = s.begin(ctx)
	}
	if err != nil {
		return err
	}
	if s.unit, err = s.state.unitOf(ctx, s.sink.opts.Owner); err != nil {
		return err
	}
	if err := s.repair(ctx); err != nil {
		return err
	}
	failpoint.Hit(failpoint.KafkaLoaded)
	if err := s.readBack(ctx); err != nil {
		return err
	}
	failpoint.Hit(failpoint.KafkaReadBack)
	return nil
}

// covered returns up to where the state covers messages once it is saved, after
// those of p if there were any. Until then, and until the marks are recovered,
// that is no farther than it was: marks are committed one stream at a time.
func (s *ownership) covered(p *publisher, c *sinks.Commit) ends {
	if len(s.marks) > 0 || len(c.Events)+len(c.Dead) == 0 {
		return s.saved
	}
	return s.saved.with(s.reached).with(p.ends())
}

// Recover yields the state, then the marks of messages that it may not cover.
func (s *ownership) Recover(ctx context.Context, yield func(checkpoint.Entry) error) error {
	if err := s.state.each(ctx, yield); err != nil {
		return err
	}
	for _, e := range s.marks {
		if err := yield(e); err != nil {
			return err
		}
	}
	s.marks = nil
	s.state.forget()
	return nil
}

// Get reads what is not in memory from the checkpoint topic, trying as long as
// it takes.
func (s *ownership) Get(ctx context.Context, key string) ([]byte, error) {
	return s.state.entry(ctx, key)
}

// repair repeats what an earlier owner's late write hides.
func (s *ownership) repair(ctx context.Context) error {
	if err := s.state.rival(s.mine); err != nil {
		return err
	}
	if len(s.state.stale) == 0 {
		return nil
	}
	entries, err := s.state.repairs(ctx)
	if err != nil {
		return err
	}
	s.sink.log.Warn("an earlier connector wrote to the checkpoint after it was taken over: repeating what it hides",
		"unit", s.state.unit, "entries", len(entries))
	return s.save(ctx, entries)
}
