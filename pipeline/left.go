package pipeline

import (
	"context"
	"strconv"
	"strings"
	"time"

	"connector/checkpoint"
	"connector/internal/privacy"
	"connector/schema"
	"connector/sources"
)

// maxAbsent bounds the records that one commit notes as absent.
const maxAbsent = 500

// presence collects what the scan under way showed, to tell which records left.
type presence struct {
	seen   *checkpoint.Sightings // nil: nothing is told of this scan
	window sources.Span
	swept  time.Time // up to it, the ledger was told
	moved  bool      // whether a row ever lay outside its window: then the provider selects by another time
}

// begin begins a scan.
func (p *presence) begin(s sources.Stream, w sources.Span) {
	*p = presence{window: w, swept: w.From.Add(-s.Tick), moved: p.moved}
	if s.Leaves && !p.moved {
		p.seen = new(checkpoint.Sightings)
	}
}

// add notes rows of the scan. After some, nothing can be told of it.
func (p *presence) add(records []sources.Record, tick time.Duration) (reason string) {
	near := sources.Span{From: p.window.From.Add(-2 * tick), To: p.window.To.Add(2 * tick)}
	for i := range records {
		rec := &records[i]
		switch {
		case p.seen == nil:
			return ""
		case rec.Fault != nil && strings.HasPrefix(rec.ID, privacy.Hashed):
			reason, p.seen = "a row has no id", nil
		case !rec.Created.IsZero() && !near.Contains(rec.Created):
			reason, p.seen, p.moved = "a row was created outside the window", nil, true
		case !p.seen.Add(rec.ID):
			reason, p.seen = "it has too many rows", nil
		}
	}
	return reason
}

// sweep stages the records that left the part of the window which a chunk
// newly proves, in as many commits as they need: the batch it returns takes
// the coverage.
func (r *runner) sweep(ctx context.Context, b *batch, chunk sources.Chunk, now time.Time) (*batch, error) {
	if reason := r.present.add(chunk.Records, r.stream.Tick); reason != "" {
		r.log.Debug("it is not told which records left", "window", r.present.window, "reason", reason)
	}
	span := sources.Span{From: r.present.swept.Add(r.stream.Tick), To: chunk.Proven.To}
	if r.present.seen == nil || span.Empty() {
		return b, nil
	}
	r.present.swept = span.To
	for {
		room := r.commits.most() - b.messages()
		room = min(maxAbsent, max(room/2, min(room, 1))) // some resolve dead letters, too
		if room > 0 {
			gone, all, err := b.ledger.Absent(ctx, checkpoint.Reading{Span: span, Seen: r.present.seen, At: now, Apart: r.account.Lateness, Most: room})
			if err != nil {
				return nil, err
			}
			b.leave(gone)
			if all {
				return b, nil
			}
		}
		if err := r.commits.commit(ctx, b); err != nil {
			return nil, err
		}
		var err error
		if b, err = r.stage(ctx); err != nil {
			return nil, err
		}
	}
}

// leave adds the events of records that left.
func (b *batch) leave(gone []checkpoint.Absent) {
	for _, a := range gone {
		rec := sources.Record{ID: a.ID, Created: a.Created, Print: "left\x00" + strconv.Itoa(a.Revision)}
		m, err := b.runner.leftEvent(a, rec.Print)
		if err != nil {
			b.bury(rec, err)
			continue
		}
		if a.Resolves {
			b.settle(rec)
		}
		b.publish(rec, m)
	}
	if len(gone) > 0 {
		b.runner.log.Info("records left the provider's log", "records", len(gone), "first", gone[0].ID)
	}
}

// leftEvent is the version of a record that is no longer in the log. Nothing
// else is known of it.
func (r *runner) leftEvent(a checkpoint.Absent, print string) (schema.Message, error) {
	return r.encode(schema.Event{
		SchemaVersion: schema.Version, Source: r.from, Record: schema.Record{ID: a.ID, Revision: a.Revision, Left: true},
		Channel: r.stream.Channel, Status: schema.Unknown, CreatedAt: a.Created.UTC(), ObservedAt: time.Now().UTC(),
		ID: schema.EventID(r.from.Account, r.from.Stream, a.ID, print),
	}, sources.Record{})
}
