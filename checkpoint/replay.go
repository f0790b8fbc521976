package checkpoint

// replay applies a delta, without what index and pages already hold.
func (l *Ledger) replay(d delta) {
	indexed := d.number <= l.head.indexed
	for _, k := range d.dropped {
		if b := l.buckets[k]; b != nil && !indexed {
			l.sealed[dayOf(k)] = l.sealed[dayOf(k)].with(k, b)
			delete(l.buckets, k)
		}
	}
	for _, p := range d.puts {
		b := l.buckets[p.bucket]
		if b == nil && indexed || b != nil && d.number < b.born {
			continue // the bucket was dropped since
		}
		if b == nil {
			b = l.newBucket(p.bucket, p.reach, d.number)
			l.buckets[p.bucket] = b
		}
		b.reach = p.reach
		switch {
		case !d.guessed:
			b.tally = p.tally
		case !indexed || l.guessed:
			b.guess(d.number, p.entries)
		}
		b.apply(d.number, p.entries, p.names)
	}
}

// apply adds the entries of a commit to the deltas of the bucket's parts.
func (b *bucket) apply(number uint64, entries map[uint64]entry, names map[uint64]name) {
	for id, e := range entries {
		if p := b.of(id); number > p.folded {
			p.set(number, id, e, names[id])
		}
	}
}

// guess counts the entries of a delta that look new. Encoding 2 did not say
// which are.
func (b *bucket) guess(number uint64, entries map[uint64]entry) {
	for id, e := range entries {
		if number > b.of(id).folded && e.revision <= 1 && !e.wasOpen {
			b.records++
		}
	}
}
