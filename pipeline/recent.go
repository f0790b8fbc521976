package pipeline

import (
	"hash/maphash"

	"connector/sources"
)

// recent remembers the record versions seen last, in bounded memory: at least
// keepRecent of them and at most twice as many.
type recent struct {
	seed       maphash.Seed
	young, old map[uint64]struct{}
}

const keepRecent = 1 << 16

func newRecent() *recent {
	return &recent{seed: maphash.MakeSeed(), young: map[uint64]struct{}{}}
}

// add reports whether a version is not remembered, and remembers it.
func (s *recent) add(r sources.Record) bool {
	key := s.key(r)
	_, young := s.young[key]
	_, old := s.old[key]
	if young || old {
		return false
	}
	if len(s.young) == keepRecent {
		s.young, s.old = map[uint64]struct{}{}, s.young
	}
	s.young[key] = struct{}{}
	return true
}

// forget forgets versions.
func (s *recent) forget(records []sources.Record) {
	for _, r := range records {
		key := s.key(r)
		delete(s.young, key)
		delete(s.old, key)
	}
}

func (s *recent) key(r sources.Record) uint64 {
	return maphash.Comparable(s.seed, [2]string{r.ID, r.Print})
}
