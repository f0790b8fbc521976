package kafka

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"connector/checkpoint"
	"connector/internal/failpoint"
	"connector/sinks"
)

// importBytes and importEntries bound a batch of an import.
const (
	importBytes   = 1 << 20
	importEntries = 500
)

// begin makes the state of a unit that has none, or only what an interrupted
// import left: from the earlier checkpoint if there is one, else a new one. The
// fence comes last, with what makes the state complete.
func (s *ownership) begin(ctx context.Context) error {
	covered, err := s.sink.ends(ctx)
	if err != nil {
		return err
	}
	i := importer{session: s, imported: map[string]bool{}}
	found, err := i.earlier(ctx, &s.sink.opts)
	if err != nil {
		return err
	}
	if !found {
		if err := s.mayBeNew(covered); err != nil {
			return err
		}
	}
	entries := checkpoint.NewUnit(s.sink.opts.Owner).Commit(i.live, s.mine.fence.At)
	rest := max(0, len(entries)-2) // the manifest, if there is one, and the fence
	for _, e := range entries[:rest] {
		if err := i.add(ctx, e); err != nil {
			return err
		}
	}
	for _, key := range s.state.keys() {
		if !i.imported[key] {
			if err := i.add(ctx, checkpoint.Entry{Key: key}); err != nil {
				return err
			}
		}
	}
	if err := i.flush(ctx); err != nil {
		return err
	}
	failpoint.Hit(failpoint.KafkaImported)
	if err := s.save(ctx, append([]checkpoint.Entry{covered.entry()}, entries[rest:]...)); err != nil {
		return err
	}
	failpoint.Hit(failpoint.KafkaBegun)
	if !found {
		return nil
	}
	s.sink.log.Info("the checkpoint file was imported into the checkpoint topic", "unit", s.state.unit, "topic", s.sink.cfg.CheckpointTopic)
	return s.sink.opts.Earlier.Retire()
}

// retire renames the earlier checkpoint when it was imported by a process that
// died before it did: while nothing was committed since, this is the one. A new
// unit has no manifest.
func (s *ownership) retire(ctx context.Context) error {
	if s.sink.opts.Earlier.Unit != s.state.unit || !s.state.has(checkpoint.ManifestKey) {
		return nil
	}
	value, err := s.state.entry(ctx, checkpoint.FenceKey)
	if err != nil {
		return err
	}
	fence, err := checkpoint.DecodeFence(value)
	if err != nil || fence.Number > 1 {
		return err
	}
	if err := s.sink.opts.Earlier.Retire(); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// mayBeNew refuses to begin where something was published before.
func (s *ownership) mayBeNew(now ends) error {
	if s.sink.opts.New {
		return nil
	}
	used := len(s.state.keys()) > 0
	for _, offset := range now[s.sink.cfg.Topic] {
		used = used || offset > 0
	}
	if used {
		return checkpoint.NoUnit("topic " + s.sink.cfg.Topic)
	}
	return nil
}

// importer writes entries of another store.
type importer struct {
	session  *ownership
	imported map[string]bool
	live     []checkpoint.Entry // those that are not paged
	batch    []checkpoint.Entry
	bytes    int
}

// earlier writes the pages of the earlier checkpoint, if there is one, and
// keeps the rest.
func (i *importer) earlier(ctx context.Context, opts *sinks.Options) (found bool, err error) {
	if opts.Earlier.Unit != i.session.state.unit {
		return false, nil
	}
	found, err = opts.Earlier.Entries(ctx, func(e checkpoint.Entry) error {
		i.imported[e.Key] = true
		if !checkpoint.Paged(e.Key) {
			i.live = append(i.live, e)
			return nil
		}
		return i.add(ctx, e)
	})
	if err != nil {
		return false, fmt.Errorf("importing the checkpoint file: %w", err)
	}
	return found, nil
}

func (i *importer) add(ctx context.Context, e checkpoint.Entry) error {
	i.batch = append(i.batch, e)
	if i.bytes += len(e.Key) + len(e.Value); i.bytes < importBytes && len(i.batch) < importEntries {
		return nil
	}
	return i.flush(ctx)
}

func (i *importer) flush(ctx context.Context) error {
	if len(i.batch) == 0 {
		return nil
	}
	err := i.session.save(ctx, i.batch)
	i.batch, i.bytes = nil, 0
	return err
}
