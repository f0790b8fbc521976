package checkpoint

// Shrink makes pages and deltas so small that a test with few records splits,
// folds and reads pages.
func (l *Ledger) Shrink(pageRecords, deltaRecords int, young, old uint64) {
	l.limits = limits{page: pageRecords * entrySize, delta: deltaRecords, fold: 1, write: 4 << 20, pages: 1 << 20, young: young, old: old}
}

// Slots is the number of delta slots.
const Slots = slots

// Parts counts the pages of the ledger.
func (l *Ledger) Parts() int {
	n := 0
	for _, b := range l.buckets {
		n += len(b.parts)
	}
	return n
}

// Pages returns the keys of the ledger's pages.
func (l *Ledger) Pages() []string {
	var keys []string
	for _, b := range l.buckets {
		for i := range b.parts {
			if b.parts[i].folded > 0 {
				keys = append(keys, b.parts[i].key)
			}
		}
	}
	return keys
}

// SealMark completes the value of a mark.
func SealMark(b []byte) []byte { return seal(markName, b) }
