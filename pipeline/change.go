package pipeline

import (
	"context"

	"connector/checkpoint"
	"connector/sources"
)

// Change takes the checkpoint over instead of [Pipeline.Run] and makes durable
// what change stages in the ledger of each stream that has one; for nil,
// nothing. change is called from several goroutines, once for a stream.
func (p *Pipeline) Change(ctx context.Context, change func(context.Context, Account, sources.Stream, *checkpoint.Ledger) (*checkpoint.Batch, error)) error {
	return p.each(ctx, func(r *runner, ctx context.Context) error {
		if r.ledger == nil {
			return nil
		}
		staged, err := change(ctx, r.account, r.stream, r.ledger)
		if staged == nil || err != nil {
			return err
		}
		return r.commits.commit(ctx, &batch{runner: r, ledger: staged})
	})
}
