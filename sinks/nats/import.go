package nats

import (
	"context"
	"time"

	"connector/checkpoint"
	"connector/internal/failpoint"
	"connector/sinks"
)

// Bounds of one batch of an import.
const (
	importEntries = maxBatch - reserve
	importBytes   = 8 << 20
)

// importEarlier stores the earlier checkpoint, if there is one, and takes the
// unit over with its last batch, the only one with a fence: an import that was
// interrupted is none, and done anew.
func (s *session) importEarlier(ctx context.Context, opts *sinks.Options, stray *stored) (found bool, err error) {
	if opts.Earlier.Unit != s.unit {
		return false, nil
	}
	var live []checkpoint.Entry
	i := importer{session: s}
	found, err = opts.Earlier.Entries(ctx, func(e checkpoint.Entry) error {
		if stray != nil { // of an interrupted import
			if err := s.clear(ctx, stray); err != nil {
				return err
			}
			stray = nil
		}
		if !checkpoint.Paged(e.Key) {
			live = append(live, checkpoint.Entry{Key: e.Key, Value: e.Value})
			return nil
		}
		return i.add(ctx, e)
	})
	if !found || err != nil {
		return false, err
	}
	s.state = checkpoint.NewUnit(opts.Owner)
	entries := s.state.Commit(live, time.Now())
	end := len(entries) - reserve
	for _, e := range entries[:max(end, 0)] {
		if err := i.add(ctx, e); err != nil {
			return false, err
		}
	}
	if err := i.flush(ctx); err != nil {
		return false, err
	}
	if err := s.takeOver(ctx, &batch{state: entries[max(end, 0):], fenced: true}); err != nil {
		return false, err
	}
	failpoint.Hit(failpoint.NATSImported)
	s.log.Info("the checkpoint file was imported into the NATS stream", "unit", s.unit, "stream", s.cfg.Stream)
	return true, opts.Earlier.Retire()
}

// importer stores entries in batches without a fence.
type importer struct {
	session *session
	entries []checkpoint.Entry
	bytes   int
}

func (i *importer) add(ctx context.Context, e checkpoint.Entry) error {
	if len(i.entries) == importEntries || i.bytes+len(e.Value) > importBytes {
		if err := i.flush(ctx); err != nil {
			return err
		}
	}
	i.entries, i.bytes = append(i.entries, e), i.bytes+len(e.Value)
	return nil
}

func (i *importer) flush(ctx context.Context) error {
	if len(i.entries) == 0 {
		return nil
	}
	if err := i.session.store(ctx, &batch{state: i.entries}); err != nil {
		return err
	}
	failpoint.Hit(failpoint.NATSImportWritten)
	i.entries, i.bytes = nil, 0
	return nil
}
