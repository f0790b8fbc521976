package checkpoint

import "connector/sources"

// Gap says that s cannot be proven complete. It is listed until [Batch.Cover]
// is told of it, or it is given up. When there are too many ranges, two gaps
// become one: those that were given up and lie closest, with nothing between
// them that is read; without any, the two that lie closest and have nothing
// between them that is unread or given up.
func (b *Batch) Gap(s sources.Span) {
	b.paint(s, func(was State) State {
		if was.closed() {
			return was
		}
		return Gap
	})
	for len(b.head.ranges) > maxRanges {
		as := Lost
		s, ok := closest(b.head.ranges, Lost)
		if !ok {
			as = Gap
			s, ok = closest(b.head.ranges, Gap)
		}
		if !ok {
			return
		}
		b.paint(s, func(State) State { return as })
	}
}

// closest returns what lies between the gaps that follow each other most
// closely: those in a state, Gap or Lost, and given up likewise.
func closest(ranges coverage, gap State) (between sources.Span, ok bool) {
	for i := 1; i+1 < len(ranges); i++ {
		s := ranges[i].Span
		if ranges[i-1].State != gap || ranges[i+1].State != gap || ranges[i].State.closed() != gap.closed() || ranges[i].State.pending() {
			continue
		}
		if !ok || s.To.Sub(s.From) < between.To.Sub(between.From) {
			between, ok = s, true
		}
	}
	return between, ok
}
