package submail

import (
	"fmt"
	"sync"
	"time"

	"connector/sources"
	"connector/sources/scan"
)

const (
	patience  = 3                // answers with other dates than asked for, from which on the dates prove nothing
	zoneStep  = 15 * time.Minute // between time zones
	zoneRange = 26 * time.Hour   // from the first time zone to the last
)

// checkDates compares the dates an answer repeats with those asked for. An
// answer without them says nothing.
func (s *Source) checkDates(q query, members map[string]string) error {
	zone := s.cfg.TimeZone.Location
	asked := datesOf(q.span, zone)
	got := dates{s.call.local(members["start_date"], zone), s.call.local(members["end_date"], zone)}
	if got.start == "" || got.end == "" {
		return nil
	}
	warn := func(text string) {
		s.warn(text, "asked", asked.String(), "repeated", s.client.Snippet(got.String()), "zone", zone.String())
	}
	switch s.repeats.judge(asked, datesOf(q.span, time.UTC), got) {
	case shifted:
		warn("the answers repeat the dates of their requests in another time zone than " + s.variable("TIME_ZONE"))
	case mute:
		warn("the answers repeat other dates than asked for, which therefore prove nothing: keep other programs from reading with the same appid")
	case foreign:
		err := fmt.Errorf("%w: asked for %s, got an answer for %s", scan.ErrOther, asked, s.client.Snippet(got.String()))
		if _, ok := asked.shift(got); ok {
			err = fmt.Errorf("%w; if that repeats, check %s=%s", err, s.variable("TIME_ZONE"), zone)
		}
		return err
	case own:
	}
	return nil
}

// dates are the bounds of a request as local times.
type dates struct{ start, end string }

func datesOf(span sources.Span, zone *time.Location) dates {
	return dates{span.From.In(zone).Format(time.DateTime), span.To.In(zone).Format(time.DateTime)}
}

func (d dates) String() string { return d.start + " to " + d.end }

// shift returns by how much got is off when that may be the distance of two
// time zones.
func (d dates) shift(got dates) (time.Duration, bool) {
	var bounds [4]time.Time
	for i, local := range []string{d.start, d.end, got.start, got.end} {
		var err error
		if bounds[i], err = time.Parse(time.DateTime, local); err != nil {
			return 0, false
		}
	}
	by := bounds[2].Sub(bounds[0])
	return by, by == bounds[3].Sub(bounds[1]) && by%zoneStep == 0 && by.Abs() <= zoneRange
}

// verdict is what the repeated dates say about an answer.
type verdict int

const (
	foreign verdict = iota // it may be the answer to another request
	own                    // it repeats the dates of its request
	shifted                // it does, in another time zone
	mute                   // its dates prove nothing
)

// repeats learns what the dates in answers mean. They are the only sign of an
// empty answer to another request, which the API may give from a cache to who
// asks too soon after another program with the same appid. But that they are
// the dates of the request is not documented. So:
//
//   - Once an answer repeated the dates of its request, all must. The dates of
//     the request before, another one, are such a proof, too: of a cache.
//   - Dates that follow two different requests at the same distance from UTC,
//     one of time zones, count as repeated: a cached answer does not follow. At
//     another distance, as after a change of clocks, learning starts again.
//   - Other dates make an answer foreign; the caller asks again. So many in
//     a row that no cache of a minute explains them prove nothing, and are
//     taken until an answer repeats its dates after all.
//
// It is safe for concurrent use.
type repeats struct {
	mu     sync.Mutex
	known  bool
	own    bool          // known: the dates are those of the request
	zone   time.Duration // else: from UTC to those of the answers
	before dates         // asked for by the request before
	off    time.Duration // from UTC to those of the answer to it
	zoned  bool          // and that may be a time zone's
	misses int           // answers in a row
}

// judge compares the dates of an answer with those asked for, which are given
// in UTC, too.
func (r *repeats) judge(asked, utc, got dates) verdict {
	r.mu.Lock()
	defer r.mu.Unlock()
	off, zoned := utc.shift(got)
	before, offBefore, zonedBefore := r.before, r.off, r.zoned
	r.before, r.off, r.zoned = asked, off, zoned
	another := before != dates{} && before != asked
	switch {
	case got == asked:
		r.known, r.own, r.misses = true, true, 0
		return own
	case another && got == before:
		r.known, r.own, r.misses = true, true, 0
		return foreign
	case r.known && r.own:
		return foreign
	case r.known && zoned && off == r.zone, another && zoned && zonedBefore && off == offBefore:
		r.known, r.own, r.zone, r.misses = true, false, off, 0
		return shifted
	}
	r.known = false
	r.misses++
	if r.misses < patience {
		return foreign
	}
	return mute
}
