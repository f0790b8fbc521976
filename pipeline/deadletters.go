package pipeline

import (
	"context"
	"slices"
	"sync"

	"connector/schema"
	"connector/sources"
)

// Letter is a dead letter that is tried again.
type Letter struct {
	ID       string // CloudEvents id
	Source   schema.Source
	RecordID string
	Digest   string       // of the row
	Replay   string       // id of the replay that wrote it last; empty when none did
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
	return rereadAll(ctx, a.pipeline, a.prepare, func() []*retrier { return a.streams })
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
		s := &retrier{rereading: rereading{runner: r}, what: a.what, pending: map[string][]int{}}
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
	return progressOf(a.streams)
}
