package pipeline

import (
	"context"
	"slices"
	"sync"
	"time"

	"connector/internal/budget"
)

// rereading is what a replay and a retry of one stream have in common.
type rereading struct {
	*runner
	over bool // whether all was read; read when reread has returned

	mu       sync.Mutex
	progress Progress
}

func (r *rereading) common() *rereading { return r }

func (r *rereading) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress.Stopped = true
}

// rereader reads one stream again.
type rereader interface {
	common() *rereading
	reread(ctx context.Context) error // until nothing is left, ctx ends, or a fatal error
}

// rereadAll does so with the streams that are there once the unit is taken over and
// prepare has returned. It returns as [Replayer.Run] does.
func rereadAll[S rereader](ctx context.Context, p *Pipeline, prepare func(context.Context) error, streams func() []S) error {
	err := p.prepared(ctx, prepare, func(r *runner, ctx context.Context) error {
		i := slices.IndexFunc(streams(), func(s S) bool { return s.common().runner == r })
		if i < 0 {
			return nil
		}
		s := streams()[i]
		defer s.common().stop()
		return s.reread(ctx)
	})
	if err == nil && slices.ContainsFunc(streams(), func(s S) bool { return !s.common().over }) {
		return ctx.Err()
	}
	return err
}

// progressOf returns how far each stream has come.
func progressOf[S rereader](streams []S) []Progress {
	list := make([]Progress, 0, len(streams))
	for _, s := range streams {
		r := s.common()
		r.mu.Lock()
		list = append(list, r.progress)
		r.mu.Unlock()
	}
	return list
}

// through steps through what is left, as work of the lowest class, until
// nothing is, ctx ends, or a fatal error, which it returns.
func (r *runner) through(ctx context.Context, left func() bool, step func(context.Context) error) error {
	ctx = budget.With(ctx, budget.Rest)
	for left() {
		err := step(ctx)
		switch {
		case err == nil:
			r.retry.reset()
			r.status.good()
		case ctx.Err() != nil:
			return nil //nolint:nilerr // whoever ended ctx knows
		default:
			if err := r.ends(err); err != nil {
				return err
			}
			if !r.status.sleep(ctx, r.failed(err, time.Now())) {
				return nil
			}
		}
	}
	return nil
}
