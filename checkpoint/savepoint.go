package checkpoint

import (
	"context"
	"fmt"
	"slices"
	"time"

	"connector/sources"
)

// How many savepoints are kept: the latest ones, and before them one a day.
const (
	latestSaves = 48
	dailySaves  = 30
)

func savepointName(at time.Time) string { return fmt.Sprintf("%s%d", saveName, at.Unix()) }

// Savepoints returns the times, to the second, to which coverage can be rewound; oldest first.
func (l *Ledger) Savepoints() []time.Time { return slices.Clone(l.head.saved) }

// Savepoint returns what was known of which time when a savepoint was made.
func (l *Ledger) Savepoint(ctx context.Context, at time.Time) ([]Range, error) {
	key := l.prefix + savepointName(at)
	value, err := l.pages.get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("reading checkpoint entry %q: %w", key, err)
	}
	if value == nil {
		return nil, damaged(key, errMissing)
	}
	_, body, err := unseal(key, value)
	if err != nil {
		return nil, damaged(key, err)
	}
	r := reader{b: body}
	ranges := r.ranges(r.time())
	if err := r.end(); err != nil {
		return nil, damaged(key, err)
	}
	return ranges, nil
}

// Save stages a savepoint of the durable ranges under a time, and drops the
// savepoints that are too many. A second one of the same second replaces the first.
func (b *Batch) Save(at time.Time) {
	at = at.Truncate(time.Second).UTC()
	key := b.ledger.prefix + savepointName(at)
	start := b.ledger.head.start
	body := appendRanges(appendTime([]byte{encodingVersion}, start), start, b.ledger.head.ranges)
	b.saves = append(b.saves, Entry{Key: key, Value: seal(key, body)})
	saved := slices.DeleteFunc(slices.Clone(b.head.saved), at.Equal)
	saved = append(saved, at)
	slices.SortFunc(saved, time.Time.Compare)
	b.head.saved = b.head.saved[:0:0]
	for i, t := range saved {
		if keepsSave(saved, i) {
			b.head.saved = append(b.head.saved, t)
			continue
		}
		b.saves = append(b.saves, Entry{Key: b.ledger.prefix + savepointName(t)})
	}
}

// keepsSave reports whether the savepoint at i of all is kept: it is among the latest,
// or the first of its day.
func keepsSave(all []time.Time, i int) bool {
	switch {
	case i >= len(all)-latestSaves:
		return true
	case all[len(all)-1].Sub(all[i]) > dailySaves*24*time.Hour:
		return false
	}
	return i == 0 || !sameDay(all[i-1], all[i])
}

func sameDay(a, b time.Time) bool {
	return a.Truncate(24 * time.Hour).Equal(b.Truncate(24 * time.Hour))
}

// Rewind stages that what was read since a savepoint of the given ranges is to
// be read again; before the start, as backfill. What is given up stays so, entries
// are kept: reading again publishes only what is new (invariant 12). It returns
// what it reopened.
func (b *Batch) Rewind(saved []Range) []sources.Span {
	tick := b.ledger.tick
	var reopened []sources.Span
	was := coverage(saved)
	for _, now := range slices.Clone(b.head.ranges) {
		if now.State.closed() || now.State.pending() {
			continue
		}
		for _, r := range was.within(now.Span, tick) {
			if r.State.pending() || r.State == Young && now.State == Watched {
				b.restore(r)
				reopened = append(reopened, r.Span)
			}
		}
	}
	return join(reopened, tick)
}

// restore gives a range the state it had. Before the start, where Unread is
// what nothing reads and whose records are forgotten, that is Backfill.
func (b *Batch) restore(r Range) {
	if r.State == Unread {
		b.paint(sources.Span{From: r.From, To: earlier(r.To, b.head.start.Add(-b.ledger.tick))}, func(State) State { return Backfill })
		r.From = later(r.From, b.head.start)
	}
	b.paint(r.Span, func(State) State { return r.State })
}

// join merges spans, ascending, that touch.
func join(list []sources.Span, tick time.Duration) []sources.Span {
	var joined []sources.Span
	for _, s := range list {
		if n := len(joined); n > 0 && joined[n-1].To.Add(tick).Equal(s.From) {
			joined[n-1].To = s.To
			continue
		}
		joined = append(joined, s)
	}
	return joined
}
