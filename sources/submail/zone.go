package submail

import (
	"errors"
	"slices"
	"time"

	"connector/sources"
	"connector/sources/jsonrows"
)

// errTime says that a time cannot be read; it continues "field …".
var errTime = errors.New("is no time such as 2006-01-02 15:04:05, and no seconds since 1970")

// moment is a time of a row.
type moment struct {
	local string    // in the zone of the account, or what was given in its place
	at    time.Time // zero where only the local time was given
}

// lastMoment is the first second that is none of a moment's.
var lastMoment = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// seconds reads a time in seconds since 1970, of which 0 is not set. Other
// text counts as local time.
func seconds(given *jsonrows.Text, zone *time.Location) moment {
	text := given.Trimmed()
	var n jsonrows.Int
	if n.UnmarshalJSON([]byte(text)) != nil {
		return moment{local: text}
	}
	at := time.Unix(int64(n), 0).UTC()
	switch {
	case n == 0:
		return moment{}
	case n < 0 || !at.Before(lastMoment):
		return moment{local: text}
	}
	return moment{at.In(zone).Format(time.DateTime), at}
}

// unread returns the text that m was read from, nil where that is in seconds or
// not set.
func (m moment) unread(given *jsonrows.Text) *jsonrows.Text {
	if m.local == "" || !m.at.IsZero() {
		return nil
	}
	return given
}

// instants returns the times, ascending, that m may stand for in zone.
func (m moment) instants(zone *time.Location) ([]time.Time, error) {
	if !m.at.IsZero() {
		return []time.Time{m.at}, nil
	}
	return instants(m.local, zone)
}

// instants returns the times, ascending, that local may stand for in zone:
// two where clocks were turned back. A time that clocks skipped counts by the
// offset before.
func instants(local string, zone *time.Location) ([]time.Time, error) {
	wall, err := time.Parse(time.DateTime, local)
	if err != nil || wall.Year() < 1970 || wall.Year() > 9998 {
		return nil, errTime
	}
	_, before := wall.Add(-26 * time.Hour).In(zone).Zone()
	_, after := wall.Add(26 * time.Hour).In(zone).Zone()
	times := []time.Time{wall.Add(-time.Duration(before) * time.Second)}
	if before == after {
		return times, nil
	}
	skipped := times[0]
	times = append(times, wall.Add(-time.Duration(after)*time.Second))
	times = slices.DeleteFunc(times, func(at time.Time) bool { return at.In(zone).Format(time.DateTime) != wall.Format(time.DateTime) })
	if len(times) == 0 {
		return []time.Time{skipped}, nil
	}
	slices.SortFunc(times, time.Time.Compare)
	return slices.CompactFunc(times, time.Time.Equal), nil
}

// within returns the time that m stands for, the first in span if there is a
// choice.
func (m moment) within(zone *time.Location, span sources.Span) (time.Time, error) {
	times, err := m.instants(zone)
	if err != nil {
		return time.Time{}, err
	}
	return times[max(0, slices.IndexFunc(times, span.Contains))], nil
}

// pieces cuts window where the clocks of zone change, so that no request of a
// piece, which reaches a tick further on each side, holds two times with the
// same local time: what lies so near to a change is a piece of its own.
func pieces(window sources.Span, zone *time.Location) []sources.Span {
	var all []sources.Span
	from := window.From
	for !from.After(window.To) {
		piece := sources.Span{From: from, To: window.To}
		_, change := from.Add(-tick).In(zone).ZoneBounds()
		switch near := change.Add(-tick); {
		case change.IsZero() || near.After(window.To):
		case from.Before(near):
			piece.To = near.Add(-tick)
		case change.Before(window.To):
			piece.To = change
		}
		all = append(all, piece)
		from = piece.To.Add(tick)
	}
	return all
}
