package kafka

import (
	"context"
	"crypto/rand"
	"strconv"
	"time"

	"connector/checkpoint"
	"connector/internal/wait"
	"connector/sinks"
)

// takeover is the claim to a unit that is written before its state is read.
type takeover struct {
	term  uint64
	id    string
	fence checkpoint.Fence
}

// newTakeover returns a claim of owner to a term, as of now.
func newTakeover(owner string, term uint64) takeover {
	return takeover{term: term, id: rand.Text()[:8], fence: checkpoint.Fence{
		Owner: checkpoint.NewUnit(owner).Owner(), Term: term, Number: term, At: time.Now().UTC().Truncate(time.Second),
	}}
}

// precedes reports whether t, the last valid claim, makes a later one void.
// The owner may repeat its own.
func (t takeover) precedes(later takeover) bool {
	return later.term < t.term || later.term == t.term && later.id != t.id
}

// record is the claim in the checkpoint topic.
func (t takeover) record() record {
	h := headers{}.with(termHeader, strconv.FormatUint(t.term, 10)).with(takeoverHeader, t.id)
	return record{time: time.Now().UnixMilli(), key: []byte(takeoverKey), value: t.fence.Encode(), headers: h}
}

// apply returns a fence as it is after the claim: a claim counts as a commit.
func (t takeover) apply(fence []byte) ([]byte, error) {
	f, err := checkpoint.DecodeFence(fence)
	if err != nil || f.Term >= t.term {
		return fence, err
	}
	f.Owner, f.Term, f.At = t.fence.Owner, t.term, t.fence.At
	f.Number = max(f.Number+1, t.term)
	return f.Encode(), nil
}

// take makes owner the owner of the unit and reads the state up to there:
// nobody else can change it afterwards. claim stores the record of a claim in
// the unit's partition and returns when it is durable.
func (s *unitState) take(ctx context.Context, owner string, claim func(context.Context, takeover) error) error {
	if err := s.read(ctx); err != nil {
		return err
	}
	for {
		t := newTakeover(owner, s.term+1)
		if err := claim(ctx, t); err != nil {
			return err
		}
		for s.term < t.term {
			if err := s.read(ctx); err != nil {
				return err
			}
			if s.term < t.term { // a transaction, that of the claim or one before it, is still open
				if err := wait.For(ctx, markerPause); err != nil {
					return err
				}
			}
		}
		if s.takeover.id == t.id {
			return nil
		}
		s.log.Info("another connector took the unit over at the same time: taking it over again", "unit", s.unit, "from", s.takeover.fence.Owner)
	}
}

// repairs returns the entries that repeat what records of an earlier owner
// hide: to be written by the owner, who then calls wrote.
func (s *unitState) repairs(ctx context.Context) ([]checkpoint.Entry, error) {
	var list []checkpoint.Entry
	for key := range s.stale {
		value, err := s.entry(ctx, key)
		if err != nil {
			return nil, err
		}
		list = append(list, checkpoint.Entry{Key: key, Value: value})
	}
	return list, nil
}

// rival returns the error of an owner of a term when the unit was taken by
// another one since, else nil.
func (s *unitState) rival(mine takeover) error {
	if s.takeover.id == mine.id && s.term == mine.term {
		return nil
	}
	by := s.takeover.fence
	if s.takeover.term < s.term { // its claim is not there any more
		by = checkpoint.Fence{}
	}
	return sinks.Fenced(s.unit, by)
}
