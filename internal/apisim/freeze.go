package apisim

import (
	"iter"
	"slices"
	"time"
)

// Freeze makes answers show, from now on, the versions that complete answers have carried last, and no others, so that a reader
// which goes on reading catches up with what it was served. It returns when the answers under way have ended: then Served,
// Poisoned and Overtaken grow no more. It needs them, so that with NoLog nothing is shown any more.
func (s *simulator) Freeze() {
	s.answering.Lock()
	defer s.answering.Unlock()
	s.frozen = true
}

// rows is [world.rows] as far as the simulator is not frozen.
func (s *simulator) rows(q query) iter.Seq[item] {
	all := s.world.rows(q)
	if !s.frozen {
		return all
	}
	return func(yield func(item) bool) {
		for it := range all {
			if was, ok := s.asServed(it); ok && !yield(was) {
				return
			}
		}
	}
}

// asServed returns a row as it was served last, false for one that never was.
func (s *simulator) asServed(it item) (item, bool) {
	_, e := s.show(it, it.created)
	v, ok := s.lastServed(record{it.stream, e.RecordID})
	it.versions = slices.Clone(it.versions)
	for later := v + 1; later < len(it.versions); later++ {
		it.versions[later] = never
	}
	return it, ok
}

// never is later than any time that a clock shows.
var never = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
