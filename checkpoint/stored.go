package checkpoint

import (
	"bytes"
	"context"
	"strings"
	"time"
)

// Read collects what load yields, the non-paged state of a unit such as
// [Store.Load] gives it, by the prefix of the stream it belongs to.
func Read(ctx context.Context, load func(context.Context, func(Entry) error) error) (map[string][]Entry, error) {
	state := map[string][]Entry{}
	err := load(ctx, func(e Entry) error {
		prefix := streamPrefix(e.Key)
		state[prefix] = append(state[prefix], Entry{Key: e.Key, Value: bytes.Clone(e.Value)})
		return nil
	})
	return state, err
}

// streamPrefix returns the part of a state key that names its stream.
func streamPrefix(key string) string {
	_, rest, _ := strings.Cut(key, "/")
	stream, _, _ := strings.Cut(rest, "/")
	return key[:len(key)-len(rest)] + stream + "/"
}

// SplitPrefix returns what [Prefix] was made of.
func SplitPrefix(prefix string) (account, stream, filters string) {
	account, rest, _ := strings.Cut(strings.TrimSuffix(prefix, "/"), "/")
	stream, filters, _ = strings.Cut(rest, "?")
	return account, stream, filters
}

// Inspect is [Load] for looking at a stream whose configuration, and so its tick, is
// not known: the tick is taken from the ranges. The ledger must not be changed.
func Inspect(prefix string, entries []Entry, pages *Pages) (*Ledger, error) {
	l := blank(prefix, time.Millisecond, pages)
	if err := l.load(entries); err != nil {
		return nil, err
	}
	l.tick = tickOf(l.head)
	return l, nil
}

// tickOf returns a second when every range begins and ends on one, else a millisecond.
func tickOf(h head) time.Duration {
	whole := h.start.Nanosecond() == 0
	for _, r := range h.ranges {
		whole = whole && r.From.Nanosecond() == 0 && r.To.Nanosecond() == 0
	}
	if whole {
		return time.Second
	}
	return time.Millisecond
}

// Held returns how many records the ledger knows, given up ones apart. It reads
// no page.
func (l *Ledger) Held() int {
	n := 0
	for _, b := range l.buckets {
		n += b.records
	}
	return n
}

// SilentSince returns from where on no record was found.
func (l *Ledger) SilentSince() time.Time {
	if l.head.latest.IsZero() {
		return l.head.start
	}
	return l.head.latest.Add(l.tick)
}
