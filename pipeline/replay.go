package pipeline

import (
	"context"
	"errors"
	"slices"
	"time"

	"connector/checkpoint"
	"connector/schema"
	"connector/sources"
)

// Replay says what is published again, and how it is marked.
type Replay struct {
	ID     string                   // of the replay; the same id again repeats the same publications
	Span   sources.Span             // of the providers' time
	NewIDs bool                     // whether events get ids of the replay's own instead of those they had
	Only   func(schema.Source) bool // chooses streams; nil chooses all
}

// mark makes e the replay's; a nil replay marks nothing.
func (w *Replay) mark(e *schema.Event, rec sources.Record) {
	if w == nil {
		return
	}
	e.Replay = w.ID
	if w.NewIDs {
		e.ID = schema.ReplayEventID(e.Source.Account, e.Source.Stream, rec.ID, rec.Print, w.ID)
	}
}

// Replayed says what a replay did with one stream.
type Replayed struct {
	Source schema.Source
	Rows   int64          // read
	Again  int64          // events published again
	News   int64          // events of versions that were not published before, which bear no mark
	Dead   int64          // dead letters, new ones and those published again
	Unread []sources.Span // not replayed: they were never read
	Gaps   []sources.Span // in which rows may be missing
}

// Replayer publishes the present versions of the records of a range again.
type Replayer struct {
	pipeline *Pipeline
	streams  []*replayer
}

// Replay prepares a replay instead of [Pipeline.Run].
func (p *Pipeline) Replay(what Replay) *Replayer {
	all := &Replayer{pipeline: p}
	for _, r := range p.runners {
		if what.Only == nil || what.Only(r.from) {
			all.streams = append(all.streams, &replayer{
				rereading: rereading{runner: r, progress: Progress{Source: r.from}},
				what:      &what, seen: newRecent(), done: Replayed{Source: r.from},
			})
		}
	}
	return all
}

// Run reads what was read before of the range, oldest first, and publishes it
// again. Coverage stays as it is. Transient errors are tried again without end. It
// returns nil at the end, gaps or not; the error of ctx when that ends before;
// or what ended single streams, when the others have come to their end.
func (a *Replayer) Run(ctx context.Context) error {
	return rereadAll(ctx, a.pipeline, func(context.Context) error { return nil }, func() []*replayer { return a.streams })
}

// Results returns what was done so far. It may be called at any time.
func (a *Replayer) Results() []Replayed {
	list := make([]Replayed, 0, len(a.streams))
	for _, s := range a.streams {
		s.mu.Lock()
		done := s.done
		done.Unread, done.Gaps = slices.Clone(done.Unread), slices.Clone(done.Gaps)
		s.mu.Unlock()
		list = append(list, done)
	}
	return list
}

// Progress returns how far each stream has come. It may be called at any time.
func (a *Replayer) Progress() []Progress { return progressOf(a.streams) }

// replayer replays one stream.
type replayer struct {
	rereading
	what *Replay
	seen *recent
	left []stretch // to be replayed
	done Replayed  // guarded by mu
}

// stretch is time that was read. What was published of it is either
// remembered or forgotten.
type stretch struct {
	sources.Span
	begin     time.Time // of Span when nothing of it was replayed
	forgotten bool
}

func (r *replayer) reread(ctx context.Context) error {
	r.prepare()
	err := r.through(ctx, func() bool { return len(r.left) > 0 }, r.step)
	r.over = err == nil && len(r.left) == 0
	return err
}

// prepare lists what of the range is to be replayed, and what was never read.
func (r *replayer) prepare() {
	tick := r.stream.Tick
	s := sources.Span{From: r.what.Span.From.Add(tick - 1).Truncate(tick), To: r.what.Span.To.Truncate(tick)}
	var unread, total []sources.Span
	for _, known := range r.ranges() {
		if known.State == checkpoint.Unread || known.State == checkpoint.Backfill || known.To.Before(s.From) || known.From.After(s.To) {
			continue
		}
		if known.From.After(s.From) {
			unread = append(unread, sources.Span{From: s.From, To: known.From.Add(-tick)})
			s.From = known.From
		}
		part := sources.Span{From: s.From, To: known.To}
		if s.To.Before(part.To) {
			part.To = s.To
		}
		r.add(part, known.State == checkpoint.Sealed || known.State == checkpoint.Lost)
		s.From = part.To.Add(tick)
	}
	if !s.Empty() {
		unread = append(unread, s)
	}
	for _, s := range r.left {
		total = append(total, s.Span)
	}
	for _, s := range unread {
		r.log.Warn("skipped in the replay: it was never read, so nothing of it was published", "from", s.From, "to", s.To)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done.Unread, r.progress.Total = unread, length(total)
}

// ranges returns what the ledger says, nothing when there is none.
func (r *replayer) ranges() []checkpoint.Range {
	if r.ledger == nil {
		return nil
	}
	return r.ledger.Ranges()
}

// add appends to what is left, to its last stretch when that touches and is alike.
func (r *replayer) add(s sources.Span, forgotten bool) {
	if n := len(r.left); n > 0 && r.left[n-1].forgotten == forgotten && r.left[n-1].To.Add(r.stream.Tick).Equal(s.From) {
		r.left[n-1].To = s.To
		return
	}
	r.left = append(r.left, stretch{s, s.From, forgotten})
}

// step replays the first window of what is left. What cannot be proven
// complete is noted, and replaying goes on behind it.
func (r *replayer) step(ctx context.Context) error {
	w := r.cut(r.left[0].Span)
	reached, err := r.scan(ctx, w, turn{}, r.republish)
	if gap, ok := errors.AsType[*sources.GapError](err); ok {
		r.log.Error("gap: the provider may hold rows that it does not show; the replay goes on behind it", "from", gap.Span.From, "to", gap.Span.To, "reason", gap.Reason)
		r.mu.Lock()
		r.done.Gaps = append(r.done.Gaps, gap.Span)
		r.progress.Gaps++
		r.mu.Unlock()
		reached, err = gap.Span.To, nil
	}
	r.reached(reached)
	return err
}

// reached takes the time up to an instant from what is left.
func (r *replayer) reached(at time.Time) {
	s := &r.left[0]
	next := at.Add(r.stream.Tick)
	r.mu.Lock()
	r.progress.Done += min(next.Sub(s.From), s.To.Sub(s.From))
	r.mu.Unlock()
	if s.From = next; s.Empty() {
		r.left = r.left[1:]
	}
}

// republish publishes the records of a chunk again, in commits of the size that
// the sink takes.
func (r *replayer) republish(ctx context.Context, chunk sources.Chunk, w sources.Span, _ turn) error {
	for records := chunk.Records; len(records) > 0; {
		b, rest, err := r.readmit(ctx, records, w)
		if err == nil {
			err = r.commits.commit(ctx, b)
		}
		if err != nil {
			r.seen.forget(records)
			return err
		}
		r.count(b.rows, b)
		records = rest
	}
	return nil
}

func (r *replayer) count(rows int, b *batch) {
	again := 0
	for i := range b.events {
		if b.events[i].Replay != "" {
			again++
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done.Rows += int64(rows)
	r.done.Again += int64(again)
	r.done.News += int64(len(b.events) - again)
	r.done.Dead += int64(len(b.dead))
	r.progress.Rows, r.progress.Events, r.progress.DeadLetters = r.done.Rows, r.done.Again+r.done.News, r.done.Dead
}
