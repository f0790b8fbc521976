package checkpoint

import (
	"container/list"
	"context"
	"fmt"
	"sync"

	"connector/internal/fault"
)

// DefaultPageBytes is the memory for pages that suits most processes.
const DefaultPageBytes = 32 << 20

// Get returns the value of a key of the state, nil when there is none; see [Store].
type Get func(ctx context.Context, key string) ([]byte, error)

// Pages reads the pages of ledgers and keeps those used last. It is shared by
// all ledgers of a unit and safe for concurrent use.
type Pages struct {
	get    Get
	budget int

	mu     sync.Mutex
	used   int
	recent *list.List // of *cached, the one used last in front
	cached map[string]*list.Element
}

type cached struct {
	key  string
	page page
}

// NewPages returns pages read by get, of which at most budget bytes stay in
// memory.
func NewPages(get Get, budget int) *Pages {
	return &Pages{get: get, budget: budget, recent: list.New(), cached: map[string]*list.Element{}}
}

// read returns the page of a part, which has one.
func (p *Pages) read(ctx context.Context, of *part) (page, error) {
	if pg, ok := p.lookup(of.key); ok && pg.is(of) {
		return pg, nil
	}
	value, err := p.get(ctx, of.key)
	if err != nil {
		return nil, fmt.Errorf("reading checkpoint entry %q: %w", of.key, err)
	}
	if value == nil {
		return nil, damaged(of.key, errMissing)
	}
	pg, err := decodePage(of.key, value)
	if err != nil {
		return nil, damaged(of.key, err)
	}
	if !pg.is(of) {
		return nil, damaged(of.key, errOther)
	}
	p.put(of.key, pg)
	return pg, nil
}

func (p *Pages) lookup(key string) (page, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	el, ok := p.cached[key]
	if !ok {
		return nil, false
	}
	p.recent.MoveToFront(el)
	return el.Value.(*cached).page, true
}

// put keeps a page, and drops the ones used longest ago beyond the budget.
func (p *Pages) put(key string, pg page) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(key)
	p.cached[key] = p.recent.PushFront(&cached{key, pg})
	p.used += len(pg)
	for p.used > p.budget {
		p.remove(p.recent.Back().Value.(*cached).key)
	}
}

// drop forgets the page of a key.
func (p *Pages) drop(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(key)
}

func (p *Pages) remove(key string) {
	if el, ok := p.cached[key]; ok {
		p.used -= len(el.Value.(*cached).page)
		p.recent.Remove(el)
		delete(p.cached, key)
	}
}

// damaged marks what is wrong with an entry of the state. It is never read as
// a new stream.
func damaged(key string, err error) error {
	return fault.Fatal(fmt.Errorf("checkpoint entry %q: %w", key, err),
		"restore the checkpoint from a backup; it is not read as a new stream, which would publish everything again")
}
