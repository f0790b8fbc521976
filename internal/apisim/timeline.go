package apisim

import "time"

// End lets no more rows be created, but for the next one of each stream. Late rows still appear and rows still change, within
// MaxLate and MaxChange. It returns when the answers under way have ended.
func (s *simulator) End() {
	s.answering.Lock()
	defer s.answering.Unlock()
	if s.Every <= 0 {
		return
	}
	if rows := int(s.clock().Sub(s.Start)/s.Every) + 1; s.Limit == 0 || rows < s.Limit {
		s.Limit = rows
	}
}

// Timeline is a row and all that answers may have shown of it so far.
type Timeline struct {
	Versions []Version // in their order, the present one last; none for a poison row
	Poison   *Poisoned // a poison row, as JSON with all switches off; nil for a good one
}

// Timelines lists the rows of a stream that answers may have shown by now, in order of creation: also rows and versions that no
// client asked for. It does not know of rows that left the log before.
func (s *simulator) Timelines(stream string) ([]Timeline, error) {
	s.answering.RLock()
	defer s.answering.RUnlock()
	now := s.clock()
	var list []Timeline
	for it := range s.world.rows(query{stream: stream, from: time.Unix(0, 0), to: now.AddDate(1, 0, 0), now: now}) {
		if it.poison != "" {
			p, err := s.poison(it)
			if err != nil {
				return nil, err
			}
			list = append(list, Timeline{Poison: p})
			continue
		}
		list = append(list, Timeline{Versions: s.shown(it, now)})
	}
	return list, nil
}

// shown returns the versions up to now that were not overwritten before the row was visible.
func (s *simulator) shown(it item, now time.Time) []Version {
	var versions []Version
	for v := it.version(it.visible); v <= it.version(now); v++ {
		_, e := s.show(it, it.versions[v])
		versions = append(versions, e.Version)
	}
	return versions
}

func (s *simulator) poison(it item) (*Poisoned, error) {
	fields, e := s.show(it, it.versions[0])
	_, err := s.encode(s.provider.json, fields, &e)
	return &Poisoned{e.Version, e.poison, e.size, e.sum}, err
}
