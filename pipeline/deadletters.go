package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"connector/checkpoint"
	"connector/internal/budget"
	"connector/schema"
	"connector/sources"
)

// Letter is a dead letter that is tried again.
type Letter struct {
	ID       string // CloudEvents id
	Source   schema.Source
	RecordID string
	Digest   string       // of the row
	Position sources.Span // in which it was read; empty when that is not known
}

func (l *Letter) located() bool { return !l.Position.From.IsZero() && !l.Position.Empty() }

// Retry says which dead letters are tried again.
type Retry struct {
	ID string // marks, as a replay's, events of records that the ledger has forgotten
	// Letters returns the unresolved dead letters to try. It is called once the
	// unit is taken over, so that nobody else resolves any meanwhile.
	Letters func(context.Context) ([]Letter, error)
	Dry     bool // publish nothing, and commit nothing
}

// Fate is what became of a dead letter in a retry.
type Fate string

// The fates of a dead letter. Published and superseded ones are resolved.
const (
	Published  Fate = "published"  // its row was published as an event
	Superseded Fate = "superseded" // a later version of its record was, now or before
	Failing    Fate = "failing"    // no event can be made of the row still
	Gone       Fate = "gone"       // the provider does not show the row any more
	Stale      Fate = "stale"      // the provider shows an older version than the one published last
	Unproven   Fate = "unproven"   // the provider did not show the row, and does not show everything
	Unread     Fate = "unread"     // it was not looked for
)

// Retried says what became of one dead letter.
type Retried struct {
	Letter
	Fate    Fate
	Reason  string // in words; empty of a resolved one
	EventID string // of the event that resolves it, where that is known
}

// Retrier tries dead letters again.
type Retrier struct {
	pipeline *Pipeline
	what     *Retry

	mu      sync.Mutex
	streams []*retrier
	others  []Retried // of streams that are not configured
}

// Retry prepares to try dead letters again instead of [Pipeline.Run].
func (p *Pipeline) Retry(what Retry) *Retrier { return &Retrier{pipeline: p, what: &what} }

// Run reads the positions of the dead letters again and publishes what can be
// an event now, each with its resolution. Coverage stays as it is. Transient
// errors are tried again without end. It returns as [Replayer.Run] does.
func (a *Retrier) Run(ctx context.Context) error {
	err := a.pipeline.prepared(ctx, a.prepare, func(r *runner, ctx context.Context) error {
		i := slices.IndexFunc(a.streams, func(s *retrier) bool { return s.runner == r })
		if i < 0 {
			return nil
		}
		defer a.streams[i].stop()
		return a.streams[i].retry(ctx)
	})
	if err == nil && slices.ContainsFunc(a.streams, func(s *retrier) bool { return !s.over }) {
		return ctx.Err()
	}
	return err
}

// prepare sorts the dead letters by their streams.
func (a *Retrier) prepare(ctx context.Context) error {
	letters, err := a.what.Letters(ctx)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.pipeline.runners {
		r.validate.strict = true // else one that was found invalid is published because it is not its turn
		s := &retrier{runner: r, what: a.what, pending: map[string][]int{}}
		for _, l := range letters {
			if l.Source == r.from {
				s.add(l)
			}
		}
		if len(s.list) > 0 {
			s.plan()
			a.streams = append(a.streams, s)
		}
	}
	for _, l := range letters {
		if !slices.ContainsFunc(a.pipeline.runners, func(r *runner) bool { return r.from == l.Source }) {
			a.others = append(a.others, Retried{Letter: l, Fate: Unread, Reason: "the stream is not configured"})
		}
	}
	return nil
}

// Results returns what became of the dead letters so far. It may be called at any time.
func (a *Retrier) Results() []Retried {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := slices.Clone(a.others)
	for _, s := range a.streams {
		s.mu.Lock()
		list = append(list, s.list...)
		s.mu.Unlock()
	}
	return list
}

// Progress returns how far each stream has come. It may be called at any time.
func (a *Retrier) Progress() []Progress {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := make([]Progress, 0, len(a.streams))
	for _, s := range a.streams {
		s.mu.Lock()
		list = append(list, s.progress)
		s.mu.Unlock()
	}
	return list
}

// retrier tries the dead letters of one stream again.
type retrier struct {
	*runner
	what    *Retry
	pending map[string][]int // record id, and "digest of the row", of those that are not resolved, to their places in list
	left    []sources.Span   // to be read
	gaps    []sources.Span
	over    bool // whether all was read; read when run has returned

	mu       sync.Mutex
	list     []Retried
	progress Progress
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

func (r *retrier) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress.Stopped = true
}

// retry goes on until nothing is left, ctx ends, or a fatal error.
func (r *retrier) retry(ctx context.Context) error {
	if r.ledger == nil {
		r.over = true
		r.tell("this checkpoint never read the stream: connector run publishes it")
		return nil
	}
	for len(r.left) > 0 {
		err := r.step(budget.With(ctx, budget.Rest))
		switch {
		case err == nil:
			r.runner.retry.reset()
			r.status.good()
		case ctx.Err() != nil:
			return nil //nolint:nilerr // Retrier.Run tells
		default:
			if err := r.ends(err); err != nil {
				return err
			}
			if !r.status.sleep(ctx, r.failed(err, time.Now())) {
				return nil
			}
		}
	}
	r.over = true
	return nil
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

// match returns the places of the dead letters that a record is of.
func (r *retrier) match(rec sources.Record) []int {
	list := append(slices.Clone(r.pending[r.shortID(rec.ID)]), r.pending[digestKey(r.account.Privacy.RowDigest(rec))]...)
	slices.Sort(list)
	return slices.Compact(list)
}

// attempt is one record in a batch of a retry, and its dead letters.
type attempt struct {
	rec     sources.Record
	places  []int
	fate    func(i int) Fate // of a resolved one
	event   string
	reason  string // why it failed, or empty
	failing Fate
}

// some tries as many records as one commit takes, each id once, and returns
// how many that were.
func (r *retrier) some(ctx context.Context, records []sources.Record, w sources.Span) (n int, err error) {
	b := r.newBatch()
	if !r.what.Dry {
		if b, err = r.stage(ctx); err != nil {
			return 0, err
		}
	}
	if err := r.own(b); err != nil {
		return 0, err
	}
	near := sources.Span{From: w.From.Add(-r.stream.Tick), To: w.To.Add(r.stream.Tick)}
	records, _ = r.commits.first(records)
	if err := b.ledger.Read(ctx, records, near); err != nil {
		return 0, err
	}
	tried := map[string]*attempt{}
	messages := 0
	for _, rec := range records {
		places := r.match(rec)
		if tried[rec.ID] != nil || messages > 0 && messages+1+len(places) > r.commits.most() {
			break
		}
		if n++; len(places) == 0 {
			continue
		}
		a := &attempt{rec: rec, places: places}
		if err := r.one(ctx, b, a, near); err != nil {
			return 0, err
		}
		tried[rec.ID] = a
		messages += 1 + len(places)
	}
	if !r.what.Dry {
		if err := r.commits.commit(ctx, b); err != nil {
			return 0, err
		}
	}
	for _, a := range tried {
		r.done(a)
	}
	return n, nil
}

// one stages what becomes of a record.
func (r *retrier) one(ctx context.Context, b *batch, a *attempt, near sources.Span) error {
	rec := a.rec
	undo := b.ledger.Undo(rec.ID)
	refuse := func(fate Fate, err error) {
		a.failing, a.reason = fate, cut(r.account.Privacy.Reason(err), maxReason)
		undo()
	}
	m, v, err := r.attempt(ctx, b, rec, near)
	if stop, ok := errors.AsType[ledgerError](err); ok {
		return stop.error
	}
	switch {
	case errors.Is(err, errOlder):
		refuse(Stale, err)
		return nil
	case err != nil:
		refuse(Failing, err)
		return nil
	}
	a.fate = func(i int) Fate {
		if v.revived || r.list[i].Digest == r.account.Privacy.RowDigest(rec) {
			return Published
		}
		return Superseded
	}
	list := make([]resolved, 0, len(a.places))
	for _, i := range a.places {
		list = append(list, resolved{r.list[i].RecordID, r.list[i].ID, schema.Outcome(a.fate(i))})
	}
	if a.event = m.ID; v.known {
		b.dead = append(b.dead, r.resolutions(list, m.ID)...)
		return nil
	}
	b.retry(rec, &trial{undo: undo, refused: func(err error) { a.failing, a.reason = Failing, cut(r.account.Privacy.Reason(err), maxReason) }})
	b.settle(rec, list...)
	b.publish(rec, m)
	return nil
}

// ledgerError says that the ledger could not be read.
type ledgerError struct{ error }

var errOlder = errors.New("the provider shows an older version than the one published last")

// version is what a retry finds a record to be.
type version struct {
	revived bool // the version that the dead letter is of
	known   bool // published before
}

// attempt makes the event of a record, which the ledger then calls published.
func (r *retrier) attempt(ctx context.Context, b *batch, rec sources.Record, near sources.Span) (m schema.Message, v version, err error) {
	if m, err = r.event(rec, checkpoint.Version{Revision: 1}, nil); err != nil {
		return m, v, err
	}
	if !b.ledger.Known(rec).Record && r.forgotten(rec, near) {
		m, err = r.event(rec, checkpoint.Version{}, &Replay{ID: r.what.ID})
		return m, v, err
	}
	found, err := b.ledger.Admit(ctx, rec, near)
	if err != nil {
		return m, v, ledgerError{err}
	}
	if !found.Fresh {
		known := b.ledger.Known(rec)
		switch {
		case known.Dead:
			found, v.revived = b.ledger.Revive(rec), true
		case known.Current:
			return m, version{known: true}, nil
		default:
			return m, v, fmt.Errorf("revision %d: %w", known.Revision, errOlder)
		}
	}
	m, err = r.event(rec, found, nil)
	return m, v, err
}

// forgotten reports whether the ledger keeps nothing of the time of a record.
func (r *retrier) forgotten(rec sources.Record, near sources.Span) bool {
	at := rec.Created
	if !near.Contains(at) {
		at = near.To
	}
	return r.ledger.Closed(at)
}

// done notes what became of the dead letters of an attempt.
func (r *retrier) done(a *attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range a.places {
		l := &r.list[i]
		if a.reason != "" {
			l.Fate, l.Reason = a.failing, a.reason
			continue
		}
		l.Fate, l.Reason, l.EventID = a.fate(i), "", a.event
		for _, key := range []string{l.RecordID, digestKey(l.Digest)} {
			r.pending[key] = slices.DeleteFunc(r.pending[key], func(at int) bool { return at == i })
		}
	}
	if a.reason == "" {
		r.progress.Events++
	}
}
