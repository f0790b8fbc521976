package main

// key names a row of a provider's log. Ids are unique within a stream of an account, not beyond.
type key struct {
	source Source
	id     string
}

// State is the latest version of every row.
type State struct {
	seen map[string]bool // ids of the events that were applied
	rows map[key]Event
}

// NewState returns the state before the first event.
func NewState() *State {
	return &State{seen: map[string]bool{}, rows: map[key]Event{}}
}

// Apply takes an event in, and reports whether it was new. id is the CloudEvents id: the same version of a row has the
// same id however often it arrives. A real consumer forgets ids after as long as duplicates may take to arrive.
func (s *State) Apply(id string, e Event) bool {
	if s.seen[id] {
		return false
	}
	s.seen[id] = true
	k := key{e.Source, e.Record.ID}
	if was, ok := s.rows[k]; ok {
		if !later(e, was) {
			return true // a replay with new ids brings versions again that were overtaken
		}
		if e.Record.Left { // says nothing of the call itself: keep what is known
			e.Webhook, e.SMS = was.Webhook, was.SMS
		}
	}
	s.rows[k] = e
	return true
}

// later reports whether event e is a later version than the one that is known. The revision decides. Where it is
// absent, or the same, the time at which the connector read the version does.
func later(e, known Event) bool {
	if e.Record.Revision > 0 && known.Record.Revision > 0 && e.Record.Revision != known.Record.Revision {
		return e.Record.Revision > known.Record.Revision
	}
	return e.Read.After(known.Read)
}
