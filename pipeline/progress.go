package pipeline

import (
	"time"

	"connector/schema"
)

// Progress says how far the work is that a stream was asked for, such as the
// reading of the ranges marked for backfill.
type Progress struct {
	Source       schema.Source
	Done, Total  time.Duration // provider time that was read, of all that is to be; both 0 until that is known
	Rows, Events int64         // rows read of it and events published of them, since the start of the process
	DeadLetters  int64         // rows of it that can never become an event
	Gaps         int           // ranges of it in which rows may be missing
	Stopped      bool          // nothing more will be done
}

// Progress returns how far the backfill of each chosen stream is.
func (p *Pipeline) Progress() []Progress {
	var list []Progress
	for _, r := range p.runners {
		if p.opts.Backfill.chooses(r.from) {
			list = append(list, r.status.progress(r.from))
		}
	}
	return list
}

// backfilled is what a stream read of the ranges marked for backfill.
type backfilled struct {
	marked, left       time.Duration
	rows, events, dead int64
	gaps               int
}

func (s *status) progress(from schema.Source) Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.filled
	return Progress{
		Source: from, Done: max(0, f.marked-f.left), Total: f.marked,
		Rows: f.rows, Events: f.events, DeadLetters: f.dead, Gaps: f.gaps, Stopped: s.stopped,
	}
}

// mark notes that what is left now is all there is to backfill.
func (s *status) mark() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.filled.marked = s.filled.left
}

// count adds what a commit made durable.
func (s *status) count(b *batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.filled.rows += int64(b.rows)
	s.filled.events += int64(len(b.events))
	s.filled.dead += int64(len(b.dead))
}

func (s *status) countGap() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.filled.gaps++
}
