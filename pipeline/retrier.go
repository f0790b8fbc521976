package pipeline

import (
	"context"
	"errors"
	"slices"
	"time"

	"connector/sources"
)

// retrier tries the dead letters of one stream again.
type retrier struct {
	rereading
	what    *Retry
	pending map[string][]int // record id, and "digest of the row", of those that are not resolved, to their places in list
	left    []sources.Span   // to be read
	gaps    []sources.Span
	list    []Retried // guarded by mu
}

// digestKey keeps digests of rows and record ids apart.
func digestKey(digest string) string { return "\x00" + digest }

func (r *retrier) add(l Letter) {
	i := len(r.list)
	r.list = append(r.list, Retried{Letter: l, Fate: Unread, Reason: "it was not read"})
	for _, key := range []string{l.RecordID, digestKey(l.Digest)} {
		r.pending[key] = append(r.pending[key], i)
	}
}

// plan merges the positions. One tick lies between two that touch.
func (r *retrier) plan() {
	for i := range r.list {
		if l := &r.list[i]; !l.located() {
			l.Reason = "it does not say where its row was read: connector replay publishes it"
		} else {
			r.left = append(r.left, l.Position)
		}
	}
	slices.SortFunc(r.left, func(a, b sources.Span) int { return a.From.Compare(b.From) })
	merged := r.left[:0]
	for _, s := range r.left {
		if n := len(merged); n > 0 && !s.From.After(merged[n-1].To.Add(r.stream.Tick)) {
			if s.To.After(merged[n-1].To) {
				merged[n-1].To = s.To
			}
			continue
		}
		merged = append(merged, s)
	}
	r.left = merged
	r.progress = Progress{Source: r.from}
	for _, s := range r.left {
		r.progress.Total += s.To.Sub(s.From) + r.stream.Tick
	}
}

func (r *retrier) reread(ctx context.Context) error {
	if r.ledger == nil {
		r.over = true
		r.tell("this checkpoint never read the stream: connector run publishes it")
		return nil
	}
	err := r.through(ctx, func() bool { return len(r.left) > 0 }, r.step)
	r.over = err == nil && len(r.left) == 0
	return err
}

// tell gives every dead letter that was not looked for a reason.
func (r *retrier) tell(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.list {
		r.list[i].Reason = reason
	}
}

// step reads the first window of what is left. Behind what cannot be proven
// complete, reading goes on.
func (r *retrier) step(ctx context.Context) error {
	w := r.cut(r.left[0])
	reached, err := r.scan(ctx, w, turn{}, r.again)
	if gap, ok := errors.AsType[*sources.GapError](err); ok {
		r.log.Warn("the provider may hold rows that it does not show", "from", gap.Span.From, "to", gap.Span.To, "reason", gap.Reason)
		r.gaps = append(r.gaps, gap.Span)
		reached, err = gap.Span.To, nil
	}
	next := reached.Add(r.stream.Tick)
	r.mu.Lock()
	r.progress.Done += max(0, min(next.Sub(r.left[0].From), r.left[0].To.Sub(r.left[0].From)+r.stream.Tick))
	r.progress.Gaps = len(r.gaps)
	r.mu.Unlock()
	if next.After(r.left[0].From) {
		r.left[0].From = next
	}
	if r.left[0].Empty() {
		r.left = r.left[1:]
	}
	if err == nil {
		r.missed(reached)
	}
	return err
}

// missed says of the dead letters whose position ends by a time that they were
// not met.
func (r *retrier) missed(reached time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.list {
		l := &r.list[i]
		if l.Fate != Unread || !l.located() || l.Position.To.After(reached) {
			continue
		}
		l.Fate, l.Reason = Gone, "the provider does not show the row any more"
		if slices.ContainsFunc(r.gaps, func(g sources.Span) bool { return !g.From.After(l.Position.To) && !g.To.Before(l.Position.From) }) {
			l.Fate, l.Reason = Unproven, "the provider did not show the row, and does not show all rows of its time"
		}
	}
}

// again tries the records of a chunk that dead letters name.
func (r *retrier) again(ctx context.Context, chunk sources.Chunk, w sources.Span, _ turn) error {
	r.metrics.rows.Add(float64(len(chunk.Records)))
	var matched []sources.Record
	for _, rec := range chunk.Records {
		if len(r.match(rec)) > 0 {
			matched = append(matched, rec)
		}
	}
	for len(matched) > 0 {
		n, err := r.some(ctx, matched, w)
		if err != nil {
			return err
		}
		matched = matched[n:]
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress.Rows += int64(len(chunk.Records))
	return nil
}
