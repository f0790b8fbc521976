package checkpoint

import "connector/sources"

// Gap says that s cannot be proven complete. It is listed until [Batch.Cover]
// is told of it, or it is given up. When there are too many ranges, the two
// gaps that lie closest, and have nothing between them that is unread or given
// up, become one.
func (b *Batch) Gap(s sources.Span) {
	b.paint(s, func(was State) State {
		if was.closed() {
			return was
		}
		return Gap
	})
	for len(b.head.ranges) > maxRanges {
		s, ok := closest(b.head.ranges)
		if !ok {
			return
		}
		b.paint(s, func(State) State { return Gap })
	}
}

// closest returns what lies between the gaps that follow each other most closely.
func closest(ranges coverage) (between sources.Span, ok bool) {
	for i := 1; i+1 < len(ranges); i++ {
		s := ranges[i].Span
		if ranges[i-1].State != Gap || ranges[i+1].State != Gap || ranges[i].State.closed() || ranges[i].State.pending() {
			continue
		}
		if !ok || s.To.Sub(s.From) < between.To.Sub(between.From) {
			between, ok = s, true
		}
	}
	return between, ok
}
