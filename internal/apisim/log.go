package apisim

import (
	"maps"
	"slices"
	"sync"
)

// Version names one version of one record, the way a reader of the published events can name it too.
type Version struct {
	System   string // "ekuaibao" or "submail"
	Stream   string // ekuaibao: messageType; SUBMAIL: "sms"
	RecordID string // ekuaibao: id; SUBMAIL: sendID
	// Version is the row's version (ekuaibao) or result_status (SUBMAIL). Where versions of one placed row share it, it is
	// version|updateTime|state|active or result_status|sent_date as the answer spells them.
	Version string
}

// Stats counts what a simulator did since it was made.
type Stats struct {
	Requests map[string]int    // by path
	Answers  int               // complete answers to queries of the log
	Rows     int               // rows in them, repeated ones counted again, poison included
	Faults   map[FaultKind]int // faults injected
}

// entry is one row of an answer, to be logged once the answer is complete.
type entry struct {
	Version
	rank   int // index of the version in the row's timeline
	poison PoisonKind
	size   int
	sum    string
}

// truth is the log of what clients were given.
type truth struct {
	off bool

	mu        sync.Mutex
	served    []Version
	overtaken []Version
	poisoned  []Poisoned
	seen      map[any]struct{} // Version or Poisoned
	top       map[record]int   // highest rank served
	stats     Stats
}

func newTruth(off bool) *truth {
	return &truth{
		off: off, seen: map[any]struct{}{}, top: map[record]int{},
		stats: Stats{Requests: map[string]int{}, Faults: map[FaultKind]int{}},
	}
}

// complete logs the rows of an answer that reached its client.
func (t *truth) complete(rows int, entries []entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats.Answers++
	t.stats.Rows += rows
	for _, e := range entries {
		t.add(e)
	}
}

func (t *truth) add(e entry) {
	var key any = e.Version
	if e.poison != "" {
		key = Poisoned{e.Version, e.poison, e.size, e.sum}
	}
	if _, known := t.seen[key]; known {
		return
	}
	t.seen[key] = struct{}{}
	rec := record{e.Stream, e.RecordID}
	if p, ok := key.(Poisoned); ok {
		t.poisoned = append(t.poisoned, p)
		t.top[rec] = e.rank
		return
	}
	if top, ok := t.top[rec]; ok && e.rank < top {
		t.overtaken = append(t.overtaken, e.Version)
		return
	}
	t.top[rec] = e.rank
	t.served = append(t.served, e.Version)
}

// lastServed returns the rank of the latest version of a row that complete answers carried, false when none did.
func (t *truth) lastServed(rec record) (rank int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	rank, ok = t.top[rec]
	return rank, ok
}

func (t *truth) request(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats.Requests[path]++
}

func (t *truth) fault(kind FaultKind) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats.Faults[kind]++
}

// Served lists the distinct record versions that complete answers carried, in the order first served: what a reader of the log
// must have published, each once, in this order per record. Rows of answers that were cut, reset or abandoned by the client do
// not count, nor do versions overwritten between two reads. A client that dies with a complete answer in hand was served:
// compare with Current then.
func (t *truth) Served() []Version {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.served)
}

// Overtaken lists versions first served after a later version of the same record, by a stale answer or a concurrent one.
// A reader that received them in that order must not publish them; they are not in Served.
func (t *truth) Overtaken() []Version {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.overtaken)
}

// Poisoned lists the distinct poison rows that complete answers carried, in the order first served: what a reader must have
// put aside as dead letters. They are not in Served.
func (t *truth) Poisoned() []Poisoned {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.poisoned)
}

// Stats returns the counters.
func (t *truth) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.stats
	s.Requests, s.Faults = maps.Clone(s.Requests), maps.Clone(s.Faults)
	return s
}
