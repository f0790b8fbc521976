package checkpoint

import "connector/sources"

// Known returns what the ledger knows of a record whose version [Batch.Admit]
// just called a stale read: the revision of its latest event, 0 when it has
// none, and whether r is its latest version and not an older one.
func (b *Batch) Known(r sources.Record) (revision int, current bool) {
	s, ok := b.records[hash(r.ID)]
	if !ok || !s.known {
		return 0, false
	}
	print, was := hash(r.Print)>>16, s.entry
	current = print == was.print
	if r.Rank == sources.UnknownRank { // Admit keeps the print of such a version as the one before
		current = current || was.prev != 0 && uint32(print>>16) == was.prev
	}
	return int(was.revision), current
}
