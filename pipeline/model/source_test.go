package model

import (
	"context"
	"errors"
	"iter"
	"strings"
	"time"

	"connector/internal/fault"
	"connector/schema"
	"connector/sources"
	"connector/sources/scan"
)

const (
	system     = "toy"
	account    = "a"
	streamName = "s"
	sinkLimit  = 4096 // bytes of a message
)

var (
	errCold = errors.New("provider has a cold")
	errCut  = errors.New("answer ends early")
	errBusy = errors.New("too many requests")
)

// source is the provider as one process sees it.
type source struct {
	h       *history
	p       *process
	held    time.Time // no request before, by our clock
	scanned int       // windows since the latest Now
	size    int       // rows a page
	limit   int       // the hidden cap, or 0
	listed  []*row    // in the order of answers; nil: the world's

	told, toldAt time.Time // the latest answer of Now, and when it came, by our clock
	lied         bool      // it was wrong
	asOf         time.Time // what the latest answer shows
}

func (*source) Owner() string { return "company" }

func (s *source) Streams() []sources.Stream {
	return []sources.Stream{{Name: streamName, Tick: s.h.plan.tick, MaxWindow: s.h.plan.window, Leaves: !s.h.plan.paged, Channel: schema.ChannelSMS}}
}

func (s *source) Now(ctx context.Context) (time.Time, error) {
	h := s.h
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.p.reach(atNow, false) {
		return time.Time{}, context.Canceled
	}
	if time.Now().Before(s.held) {
		h.violated(7, "a reading begins at %v, throttled until %v", h.at(time.Now()), h.at(s.held))
	}
	if s.scanned > 1 {
		h.counts[manyWindows]++
	}
	s.scanned = 0
	if err := h.pause(ctx, h.latency()); err != nil {
		return time.Time{}, err
	}
	if h.fails(h.plan.rates.now) {
		h.counts[faultNow]++
		return time.Time{}, errCold
	}
	return s.tell(h.world.clock(time.Now()).Add(-upTo(h.rand, h.plan.dawdle))), nil
}

// tell returns now, or once a time far ahead: neither the first answer of a
// process nor two in a row, which it could not tell from a clock that was set.
func (s *source) tell(now time.Time) time.Time {
	h := s.h
	if s.lied = !s.lied && !s.told.IsZero() && !h.calm() && sometimes(h.more, h.plan.rates.wrong); s.lied {
		h.counts[clockWrong]++
		now = s.told.Add(time.Since(s.toldAt) + 2*time.Minute + upTo(h.more, 4*h.plan.active))
	} else if now.After(h.now) {
		h.now = now
	}
	s.told, s.toldAt = now, time.Now()
	return now
}

func (s *source) Scan(ctx context.Context, _ sources.Stream, w sources.Span) iter.Seq2[sources.Chunk, error] {
	s.begin(w)
	if s.h.plan.paged {
		return scan.Keyset(ctx, w, s.h.plan.tick, s.page)
	}
	return scan.Run(w, s.h.plan.tick, func(c *scan.Chunks) error {
		rows, err := s.ask(ctx, s.reach(w), 0)
		if err != nil {
			return err
		}
		s.h.mu.Lock()
		rows, cut := s.jumble(rows)
		s.h.mu.Unlock()
		for i, r := range rows {
			if i == cut {
				return errCut
			}
			if s.crashed() {
				return context.Canceled
			}
			if err := c.Add(r); err != nil {
				return err
			}
		}
		return c.Prove(w.To)
	})
}

// begin checks and counts a window.
func (s *source) begin(w sources.Span) {
	h := s.h
	h.mu.Lock()
	defer h.mu.Unlock()
	s.scanned++
	if w.To.After(h.now.Add(-h.plan.lag)) {
		h.violated(6, "window %s passes the provider's %v less the lag", w, h.now)
	}
	if !w.To.After(h.truth.settled) {
		h.counts[watchRead]++
	}
	h.tracef("scan %s", w)
}

// jumble brings an answer into some order, and draws after how many rows it
// ends early, or -1.
func (s *source) jumble(rows []sources.Record) ([]sources.Record, int) {
	h := s.h
	for i, r := range rows {
		// Of a row whose first version the sink rejects more often: nothing else brings two versions into one commit.
		rate := 0.01
		if row := h.world.byID[r.ID]; row.versions[0].poison == refused && !row.durable() {
			rate = 0.5
		}
		if sometimes(h.rand, rate) {
			h.counts[rowTwice]++
			rows = append(rows, s.twin(rows[i]))
		}
	}
	h.rand.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	return rows, s.cut(len(rows))
}

// twin returns r once more, or an older version of it of lower rank.
func (s *source) twin(r sources.Record) sources.Record {
	row := s.h.world.byID[r.ID]
	v := row.ordered(s.h.rand.IntN(len(row.versions)), len(row.versions)-1)
	if row.versions[v].rank >= r.Rank {
		return r
	}
	s.h.counts[rowTwiceOlder]++
	s.h.serve(s.p, row, v)
	return row.versions[v].record
}

// crashed is the I/O step between two rows.
func (s *source) crashed() bool {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	return s.p.reach(atRow, false)
}

// cut draws after how many of n rows an answer ends early, or -1.
func (s *source) cut(n int) int {
	if n == 0 || !s.h.fails(s.h.plan.rates.cut) {
		return -1
	}
	s.h.counts[faultCut]++
	return s.h.rand.IntN(n)
}

// reach widens a span as the history's source does.
func (s *source) reach(w sources.Span) sources.Span {
	if s.h.plan.widen {
		w.From, w.To = w.From.Add(-s.h.plan.tick), w.To.Add(s.h.plan.tick)
	}
	return w
}

// page is a scan.PageFunc.
func (s *source) page(ctx context.Context, w sources.Span, offset int) (scan.Page, error) {
	rows, err := s.ask(ctx, s.reach(w), offset)
	if err != nil {
		return scan.Page{}, err
	}
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if s.p.reach(atRow, false) {
		return scan.Page{}, context.Canceled
	}
	if s.cut(len(rows)) >= 0 {
		return scan.Page{}, errCut
	}
	page := scan.Page{Full: len(rows) == s.h.plan.page, Total: s.total(s.reach(w))}
	for _, r := range rows {
		page.Rows = append(page.Rows, scan.Row{Record: r})
	}
	return page, nil
}

// total is the number of rows of w, or 0 when the provider does not say it.
func (s *source) total(w sources.Span) int {
	if s.h.plan.uncounted {
		return 0
	}
	return s.count(w)
}

// count is the number of rows of w.
func (s *source) count(w sources.Span) (n int) {
	for _, r := range s.h.world.rows {
		if !r.created.Before(w.From) && !r.created.After(w.To) && r.at(s.asOf) >= 0 {
			n++
		}
	}
	return n
}

// ask sends one request.
func (s *source) ask(ctx context.Context, w sources.Span, offset int) ([]sources.Record, error) {
	h := s.h
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.p.reach(atRequest, false) {
		return nil, context.Canceled
	}
	if err := h.pause(ctx, h.latency()); err != nil {
		return nil, err
	}
	switch {
	case h.fails(h.plan.rates.request):
		h.counts[faultRequest]++
		return nil, errCold
	case h.fails(h.plan.rates.throttle):
		h.counts[faultThrottle]++
		after := upTo(h.rand, 3*h.plan.poll)
		s.held = time.Now().Add(after)
		return nil, fault.Throttled(after, errBusy)
	}
	rows := s.answer(w, offset*s.size)
	h.tracef("asked %s page %d: %d rows", w, offset, len(rows))
	return rows, h.pause(ctx, h.latency())
}

// answer returns the rows of w behind the first skip as the provider shows
// them, or showed them a while ago.
func (s *source) answer(w sources.Span, skip int) []sources.Record {
	h, now := s.h, time.Now()
	asOf := now
	if skip > 0 {
		h.counts[tieEnumerated]++
	}
	if h.fails(h.plan.rates.stale) {
		h.counts[answerStale]++
		asOf = now.Add(-upTo(h.rand, h.plan.maxStale))
	}
	s.asOf = asOf
	var list []sources.Record
	rows := h.world.rows
	if s.listed != nil {
		rows = s.listed
	}
	for _, r := range rows {
		if r.created.Before(w.From) || r.created.After(w.To) {
			continue
		}
		v := s.show(r, asOf, now)
		if v < 0 {
			continue
		}
		if skip > 0 {
			skip--
			continue
		}
		if s.limit > 0 && len(list) == s.limit {
			h.counts[answerCapped]++
			break
		}
		list = append(list, r.versions[v].record)
		h.serve(s.p, r, v)
		if h.plan.paged && len(list) == s.size {
			h.counts[pageFull]++
			if h.plan.descends {
				h.counts[pageDescends]++
			}
			break
		}
	}
	return list
}

// show returns the version of r in an answer as of an earlier time.
func (s *source) show(r *row, asOf, now time.Time) int {
	old, current := r.at(asOf), r.at(now)
	if old == current {
		return current
	}
	if old < 0 {
		s.h.counts[answerLacks]++
		return -1
	}
	if current < 0 { // it has left since
		current = r.reached(now)
	}
	if old = r.ordered(old, current); old != current {
		s.h.counts[answerOlder]++
	}
	return old
}

func (s *source) Normalize(st sources.Stream, r sources.Record) (schema.Event, error) {
	e := schema.Event{
		SchemaVersion: schema.Version, Source: schema.Source{System: system, Account: account, Stream: st.Name},
		Record: schema.Record{ID: r.ID, Version: r.Print, Terminal: r.Terminal}, Channel: schema.ChannelSMS, Status: schema.Pending, CreatedAt: r.Created,
	}
	switch s.h.version(r).poison {
	default:
	case unnormal:
		return e, fault.Reject("normalize", errPoison)
	case tooLarge:
		e.Section = map[string]any{system: strings.Repeat("x", 2*sinkLimit)}
	}
	return e, nil
}
