package checkpoint

import "connector/sources"

// Known is what the ledger knows of a record and of one version of it.
type Known struct {
	Record     bool // whether it knows the record at all
	Revision   int  // of the latest event; 0 when there is none
	Current    bool // whether the version is the latest one and not an older one
	Dead       bool // whether the version is the latest one and became a dead letter, and no event
	Unresolved bool // whether a dead letter of the record was followed by no event
}

// Known returns what the ledger knows of a record that [Batch.Read] or
// [Batch.Admit] looked up, and of its version r, unless that was just called fresh.
func (b *Batch) Known(r sources.Record) Known {
	s, ok := b.records[hash(r.ID)]
	if !ok || !s.known {
		return Known{}
	}
	print, was := hash(r.Print)>>16, s.entry
	k := Known{Record: true, Revision: int(was.revision), Current: print == was.print, Unresolved: was.unresolved()}
	k.Dead = k.Current && was.dead
	if r.Rank == sources.UnknownRank { // Admit keeps the print of such a version as the one before
		k.Current = k.Current || was.prev != 0 && uint32(print>>16) == was.prev
	}
	return k
}
