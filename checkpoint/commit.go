package checkpoint

import (
	"cmp"
	"context"
	"maps"
	"slices"
)

// plan is what a commit writes and what it makes of the ledger.
type plan struct {
	entries []Entry
	head    head
	delta   delta
	folds   uint64                // number of the latest delta that pages may take in
	changed map[bucketKey]*bucket // in place of those of the ledger; nil for dropped ones
	pages   map[string]page       // nil for deleted ones
	sealed  map[day]Day           // in place of the ledger's
}

// partRef names a part with changes that its page lacks.
type partRef struct {
	bucket bucketKey
	index  int
	part   *part
}

// Entries returns the changed state, for a commit: the head, what changed as
// one delta, and from time to time pages and index with older deltas folded
// in: at most [MaxEntries]. It reads the pages it folds into.
func (b *Batch) Entries(ctx context.Context) ([]Entry, error) {
	l := b.ledger
	p := &plan{head: b.head, folds: b.head.number, changed: map[bucketKey]*bucket{}, pages: map[string]page{}, sealed: l.sealed}
	dropped := b.dropped()
	if len(dropped) > 0 {
		p.sealed = maps.Clone(l.sealed)
	}
	switch {
	case b.changes+len(b.reached)+len(dropped)+len(l.outdated) > 0:
		p.head.number++
		for _, k := range dropped {
			p.drop(k, l.buckets[k])
		}
		folded, err := b.fold(ctx, p)
		if err != nil {
			return nil, err
		}
		b.put(p, delta{number: p.head.number, dropped: dropped}, folded)
		b.advance(p, len(folded) > 0)
	case l.Behind():
		folded, err := b.fold(ctx, p)
		if err != nil {
			return nil, err
		}
		b.advance(p, len(folded) > 0)
	}
	p.entries = append(p.entries, b.saves...)
	for _, key := range l.outdated {
		p.entries = append(p.entries, Entry{Key: key})
	}
	key := l.prefix + headName
	p.entries = append(p.entries, Entry{Key: key, Value: encodeHead(key, p.head)})
	b.plan = p
	return p.entries, nil
}

func (p *plan) drop(k bucketKey, bk *bucket) {
	p.changed[k] = nil
	p.sealed[dayOf(k)] = p.sealed[dayOf(k)].with(k, bk)
	for i := range bk.parts {
		if bk.parts[i].folded > 0 {
			p.page(bk.parts[i].key, nil)
		}
	}
}

func (p *plan) page(key string, pg page) {
	p.pages[key] = pg
	p.entries = append(p.entries, Entry{Key: key, Value: pg})
}

// dirty lists the parts with deltas, the oldest delta first.
func (l *Ledger) dirty(p *plan) (refs []partRef, entries int) {
	for k, bk := range l.buckets {
		if _, dropped := p.changed[k]; dropped {
			continue
		}
		for i := range bk.parts {
			if len(bk.parts[i].delta) > 0 {
				refs = append(refs, partRef{k, i, &bk.parts[i]})
				entries += bk.parts[i].weight()
			}
		}
	}
	slices.SortFunc(refs, func(x, y partRef) int {
		return cmp.Or(cmp.Compare(x.part.oldest, y.part.oldest), x.bucket.compare(y.bucket), cmp.Compare(x.index, y.index))
	})
	return refs, entries
}

// MaxEntries is the most entries of a commit, an upgrade apart.
const MaxEntries = 400

// Behind reports whether deltas must be folded before anything is added: a
// batch without changes then does that, as far as one commit can.
func (l *Ledger) Behind() bool {
	for _, bk := range l.buckets {
		for i := range bk.parts {
			if p := &bk.parts[i]; len(p.delta) > 0 && l.head.number+1-p.oldest > l.limits.old {
				return true
			}
		}
	}
	return false
}

// fold merges the deltas of earlier commits into the pages of some parts:
// when they are too many, and when they grow old, evenly until the age at
// which they must be gone; as far as one commit can. It returns the parts it
// folded.
func (b *Batch) fold(ctx context.Context, p *plan) ([]partRef, error) {
	l := b.ledger
	refs, entries := l.dirty(p)
	aged, span := 0, uint64(1)
	for _, r := range refs {
		if age := p.head.number - r.part.oldest; age >= l.limits.young || l.outdated != nil {
			aged++
		}
	}
	if aged > 0 {
		if age := p.head.number - refs[0].part.oldest; age < l.limits.old && l.outdated == nil {
			span += l.limits.old - age
		}
	}
	must := (aged + int(span) - 1) / int(span)
	entries += b.changes
	n, written, before := 0, 0, len(p.entries)
	full := func() bool {
		return l.outdated == nil && (written >= l.limits.write || len(p.entries)-before >= l.limits.pages)
	}
	for n < len(refs) && !full() && (n < must || entries > l.limits.delta || aged > 0 && written < l.limits.fold) {
		size, err := l.foldPart(ctx, p, refs[n])
		if err != nil {
			return nil, err
		}
		entries -= refs[n].part.weight()
		written += size
		n++
	}
	return refs[:n], nil
}

// foldPart stages the page of a part, or several when it grew too large.
func (l *Ledger) foldPart(ctx context.Context, p *plan, r partRef) (written int, err error) {
	var old content
	if r.part.count > 0 {
		pg, err := l.pages.read(ctx, r.part)
		if err != nil {
			return 0, err
		}
		old = pg.content()
	}
	parts, pieces := l.split(r, old.merge(r.part.delta, r.part.names))
	for i := range parts {
		part := &parts[i]
		part.folded = p.folds
		part.count, part.open = len(pieces[i].entries)/entrySize, pieces[i].open()
		p.page(part.key, newPage(part.key, part.folded, pieces[i]))
		written += pieces[i].size()
	}
	bk := p.changed[r.bucket]
	if bk == nil {
		bk = l.buckets[r.bucket].clone()
		p.changed[r.bucket] = bk
	}
	i := slices.IndexFunc(bk.parts, func(o part) bool { return o.start == r.part.start })
	bk.parts = slices.Replace(bk.parts, i, i+1, parts...)
	return written, nil
}

// split halves the range of a part until each half fits a page.
func (l *Ledger) split(r partRef, all content) ([]part, []content) {
	parts := l.buckets[r.bucket].parts
	end := uint64(1) << 16 // in upper 16 bits
	if r.index+1 < len(parts) {
		end = parts[r.index+1].start >> 48
	}
	var made []part
	var pieces []content
	var halve func(start, end uint64, c content)
	halve = func(start, end uint64, c content) {
		if c.size() <= l.limits.page || end-start == 1 {
			made = append(made, part{start: start << 48, key: l.prefix + pageName(r.bucket, start<<48)})
			pieces = append(pieces, c)
			return
		}
		middle := start + (end-start)/2
		before, after := c.split(place(c.entries, middle<<48))
		halve(start, middle, before)
		halve(middle, end, after)
	}
	halve(r.part.start>>48, end, all)
	return made, pieces
}

// put stages the delta of the commit and the buckets it touches.
func (b *Batch) put(p *plan, d delta, folded []partRef) {
	l := b.ledger
	puts := b.staged()
	for _, r := range folded { // whose page now holds the entry that the delta had
		staged := puts[r.bucket]
		for id, was := range r.part.delta {
			if e, ok := staged.entries[id]; ok {
				e.wasOpen = was.open()
				staged.entries[id] = e
			}
		}
	}
	for _, k := range sortedKeys(puts) {
		bk := p.changed[k]
		switch {
		case bk != nil:
		case l.buckets[k] != nil:
			bk = l.buckets[k].clone()
		default:
			bk = l.newBucket(k, reach{}, d.number)
		}
		p.changed[k] = bk
		if r, ok := b.reached[k]; ok {
			bk.reach = r
		}
		bk.tally = bk.plus(puts[k].tally)
		staged := puts[k]
		staged.bucket, staged.reach, staged.tally = k, bk.reach, bk.tally
		d.puts = append(d.puts, staged)
	}
	p.delta = d
	key := l.prefix + slotName(d.number)
	p.entries = append(p.entries, Entry{Key: key, Value: encodeDelta(key, d)})
}

// advance writes the index when it changed by a fold, or because the slots
// run out, and deletes the deltas that it and the pages hold.
func (b *Batch) advance(p *plan, folded bool) {
	l := b.ledger
	if !folded && p.head.number-p.head.folded < l.limits.young {
		return
	}
	buckets := maps.Clone(l.buckets)
	for k, bk := range p.changed {
		buckets[k] = bk
		if bk == nil {
			delete(buckets, k)
		}
	}
	p.head.indexed = p.head.number
	key := l.prefix + indexName
	p.entries = append(p.entries, Entry{Key: key, Value: encodeIndex(key, index{number: p.head.number, buckets: buckets, sealed: p.sealed})})
	was := p.head.folded
	p.head.folded = p.head.number - 1
	if b.changes == 0 {
		p.head.folded++
	}
	for _, bk := range buckets {
		for i := range bk.parts {
			if len(bk.parts[i].delta) > 0 {
				p.head.folded = min(p.head.folded, bk.parts[i].oldest-1)
			}
		}
	}
	for n := was + 1; n <= min(p.head.folded, p.head.number-1); n++ {
		p.entries = append(p.entries, Entry{Key: l.prefix + slotName(n)})
	}
}

// Apply makes what the latest Entries returned the ledger's state; call it
// once that is durable.
func (b *Batch) Apply() {
	l, p := b.ledger, b.plan
	l.head, l.sealed, l.outdated, l.unsaved = p.head, p.sealed, nil, false
	for k, bk := range p.changed {
		l.buckets[k] = bk
		if bk == nil {
			delete(l.buckets, k)
		}
	}
	for _, put := range p.delta.puts {
		l.buckets[put.bucket].apply(p.delta.number, put.entries, put.names)
	}
	for key, pg := range p.pages {
		if pg == nil {
			l.pages.drop(key)
			continue
		}
		l.pages.put(key, pg)
	}
	l.forgotten = max(l.forgotten, b.sealed)
}
