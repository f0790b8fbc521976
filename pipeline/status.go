package pipeline

import (
	"context"
	"slices"
	"sync"
	"time"

	"connector/checkpoint"
	"connector/internal/wait"
	"connector/schema"
	"connector/sources"
)

// A stream gives a sign of life at each chunk. Between two of them lie at
// most patientRequests requests, each of which may wait for its turn, and none
// of which takes longer than patience.
const (
	patience        = 10 * time.Minute
	patientRequests = 64
)

// status is what one stream shows to the outside.
type status struct {
	patience time.Duration // between two signs of life

	mu       sync.Mutex
	deadline time.Time // of the next sign of life; zero when none is due
	err      error     // of the latest reading
	failing  time.Time // when the first of the readings that failed in a row did; zero when the latest was in order
	answers  bool      // whether the provider answers this stream
	answered bool      // whether it did since the latest error
	stopped  bool
	read     Reading
	filled   backfilled
}

// Reading says how far a stream was read, by the provider's time.
type Reading struct {
	Frontier    time.Time `json:"frontier,omitzero"`    // everything from the start up to here was read at least once
	End         time.Time `json:"end,omitzero"`         // the latest time read; what lies before may be unread
	Unread      int       `json:"unreadSeconds"`        // how much of the time before End is still to be read
	Backfill    int       `json:"backfillSeconds"`      // how much of the time before the start
	Gaps        int       `json:"gaps"`                 // ranges in which rows may be missing
	SilentSince time.Time `json:"silentSince,omitzero"` // since when no record was found, when that is worth a doubt
}

// seconds returns the time of spans, rounded up.
func seconds(list []sources.Span) int {
	return int((length(list) + time.Duration(len(list))*time.Second - 1) / time.Second)
}

// ReadingOf returns what a ledger says of how far its stream was read.
func ReadingOf(l *checkpoint.Ledger) Reading {
	read := Reading{
		Frontier: l.Frontier(), End: l.End(), Gaps: len(l.In(checkpoint.Gap)),
		Unread: seconds(l.In(checkpoint.Unread)), Backfill: seconds(l.In(checkpoint.Backfill)),
	}
	if since := l.SilentSince(); l.Latest().IsZero() || read.End.Sub(since) > silentAfter {
		read.SilentSince = since
	}
	return read
}

// show takes what the ledger says.
func (s *status) show(l *checkpoint.Ledger) {
	read := ReadingOf(l)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read = read
	s.filled.left = length(l.In(checkpoint.Backfill))
}

// beat is a sign of life; the next one comes within patience after d.
func (s *status) beat(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = time.Now().Add(max(d, 0) + s.patience)
}

// rest says that no sign of life is due: the stream waits for the sink.
func (s *status) rest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = time.Time{}
}

// sleep waits for d and returns true, or false when ctx ends first.
func (s *status) sleep(ctx context.Context, d time.Duration) bool {
	s.beat(d)
	return wait.For(ctx, d) == nil
}

func (s *status) good() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.failing = nil, time.Time{}
	s.answers, s.answered = true, true
}

// answer says that a part of the stream was read.
func (s *status) answer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers, s.answered = true, true
}

// bad notes that a reading failed. The provider answers none the less when it
// did since the failure before.
func (s *status) bad(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers, s.answered = s.answered, false
	if s.err = err; s.failing.IsZero() {
		s.failing = time.Now()
	}
}

func (s *status) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped, s.deadline = true, time.Time{}
	if err != nil {
		s.err = err
	}
}

// StreamStatus is the state of one stream at one moment.
type StreamStatus struct {
	Source  schema.Source `json:"source"`
	Stopped bool          `json:"stopped"`               // after a fatal error, or at the end
	Error   string        `json:"error,omitempty"`       // of the latest reading
	Failing time.Time     `json:"failingSince,omitzero"` // our time since when each reading stopped with an error
	Read    Reading       `json:"read"`
}

// Streams returns the state of every stream.
func (p *Pipeline) Streams() []StreamStatus {
	list := make([]StreamStatus, 0, len(p.runners))
	for _, r := range p.runners {
		r.status.mu.Lock()
		s := StreamStatus{Source: r.from, Stopped: r.status.stopped, Failing: r.status.failing, Read: r.status.read}
		if r.status.err != nil {
			s.Error = r.status.err.Error()
		}
		r.status.mu.Unlock()
		list = append(list, s)
	}
	return list
}

// Alive reports whether every running stream gave a sign of life in time. It
// does not depend on providers or the sink.
func (p *Pipeline) Alive() bool {
	for _, r := range p.runners {
		r.status.mu.Lock()
		late := !r.status.deadline.IsZero() && time.Now().After(r.status.deadline)
		r.status.mu.Unlock()
		if late {
			return false
		}
	}
	return true
}

// Ready reports whether the sink is open and some account works: its provider
// answers a stream of it that is not stopped. It counts as answering from its
// first answer to the second of two failures in a row.
func (p *Pipeline) Ready() bool {
	return p.open.Load() && slices.ContainsFunc(p.runners, func(r *runner) bool { return r.status.works() })
}

func (s *status) works() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answers && !s.stopped
}
