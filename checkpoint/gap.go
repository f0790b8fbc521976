package checkpoint

import (
	"slices"
	"time"

	"connector/sources"
)

// Gaps returns the spans that count as covered although rows of them may be
// missing, oldest first.
func (l *Ledger) Gaps() []sources.Span { return slices.Clone(l.head.gaps) }

// Gap says that s cannot be proven complete: it counts as covered, so that
// what comes after it can be, and is listed until [Batch.Cover] is told of a
// span that holds it, or it is forgotten. When there are too many gaps, the
// two that lie closest become one.
func (b *Batch) Gap(s sources.Span, seen time.Time, lateness time.Duration) {
	b.Cover(s, seen, lateness)
	gaps := append(slices.Clone(b.head.gaps), s)
	slices.SortFunc(gaps, func(x, y sources.Span) int { return x.From.Compare(y.From) })
	if len(gaps) > maxGaps {
		i := closest(gaps)
		gaps[i].To = gaps[i+1].To
		gaps = slices.Delete(gaps, i+1, i+2)
	}
	b.head.gaps = gaps
}

// closest returns the index of the gap that is followed most closely.
func closest(gaps []sources.Span) (at int) {
	for i := range len(gaps) - 1 {
		if gaps[i+1].From.Sub(gaps[i].To) < gaps[at+1].From.Sub(gaps[at].To) {
			at = i
		}
	}
	return at
}

// closeGaps drops the gaps that lie in s.
func (b *Batch) closeGaps(s sources.Span) {
	within := func(g sources.Span) bool { return s.Contains(g.From) && s.Contains(g.To) }
	if slices.ContainsFunc(b.head.gaps, within) {
		b.head.gaps = slices.DeleteFunc(slices.Clone(b.head.gaps), within)
	}
}
