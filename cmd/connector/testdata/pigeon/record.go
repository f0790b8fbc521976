package pigeon

import (
	"fmt"
	"strings"
	"time"

	"connector/internal/fault"
	"connector/schema"
	"connector/sources"
	"connector/sources/jsonrows"
)

// Fields are the fields of a row that have no place in the envelope of an
// event, and in Other those that are not documented.
type Fields struct {
	Attempts *jsonrows.Int            `json:"attempts,omitzero"`
	Text     *jsonrows.Text           `json:"text,omitzero"`
	Other    map[string]*jsonrows.Any `json:",embed"`
}

// row is a row.
type row struct {
	ID      *jsonrows.Text `json:"id"`
	Created *jsonrows.Int  `json:"created"` // seconds since 1970
	State   *jsonrows.Text `json:"state"`   // queued, sent or bounced
	Fields
}

// lastSecond is that of the year 9999; RFC 3339 ends there.
const lastSecond = 253402300799

// record makes a record of a row; one that can be no event has a fault.
func (s *Source) record(given jsonrows.Row) sources.Record {
	r := given.Record(s.variable("MAX_ROW_BYTES"))
	if r.Fault != nil {
		return r
	}
	var f row
	if err := jsonrows.Decode(r.Raw, &f); err != nil {
		return jsonrows.Reject(r, "decode", jsonrows.TextField(r.Raw, "id"), err)
	}
	if f.Created == nil || *f.Created < 0 || *f.Created > lastSecond {
		return jsonrows.Reject(r, "decode", f.ID.Trimmed(), fmt.Errorf("field %q is no time in seconds", "created"))
	}
	r.Created = time.Unix(int64(*f.Created), 0).UTC()
	if r = jsonrows.Identify(r, "id", f.ID.Trimmed()); r.Fault != nil {
		return r
	}
	var attempts jsonrows.Int
	if f.Attempts != nil {
		attempts = *f.Attempts
	}
	state := f.State.Trimmed()
	r.Print = jsonrows.Sum(fmt.Appendf(nil, "%d\x00%s", attempts, state))
	r.Rank = int64(attempts)
	r.Terminal = state == "sent" || state == "bounced"
	return r
}

// statuses are those of the API, in the words of the events.
var statuses = map[string]schema.Status{"queued": schema.Pending, "sent": schema.Delivered, "bounced": schema.Failed}

// Normalize makes an event of a row.
func (s *Source) Normalize(st sources.Stream, r sources.Record) (schema.Event, error) {
	if r.Fault != nil {
		return schema.Event{}, r.Fault
	}
	var f row
	if err := jsonrows.Decode(r.Raw, &f); err != nil {
		return schema.Event{}, fault.Reject("decode", err)
	}
	f.Other = jsonrows.WithoutNull(f.Other)
	status, known := statuses[strings.ToLower(f.State.Trimmed())]
	if !known {
		status = schema.Unknown
	}
	return schema.Event{
		SchemaVersion:  schema.Version,
		Source:         schema.Source{System: System, Account: s.account, Stream: st.Name},
		Record:         schema.Record{ID: r.ID, Terminal: r.Terminal},
		Channel:        "push",
		Status:         status,
		ProviderStatus: f.State.Trimmed(),
		CreatedAt:      r.Created,
		Section:        map[string]any{System: f.Fields},
	}, nil
}
