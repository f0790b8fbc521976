package submail

import (
	"fmt"
	"strings"
	"time"

	"connector/sources"
	"connector/sources/jsonrows"
	"connector/sources/scan"
)

// The statuses of a message that the API documents; it adds others.
const (
	statusRequest   = "request"
	statusPending   = "pending"
	statusSending   = "sending"
	statusUnknown   = "unknown"
	statusDelivered = "delivered"
	statusDropped   = "dropped"

	statusMisspelled = "unkown" //nolint:misspell // so the API writes unknown, too
)

// progress orders the statuses of one message. Others rank as unknown.
var progress = map[string]int64{
	statusRequest: 1, statusPending: 2, statusSending: 3, statusUnknown: 4, statusDelivered: 5, statusDropped: 5,
}

// record makes a record of a row of the answer to q. A row that can be no
// event is a record with a fault; one of another application is an error.
func (s *Source) record(q query, row jsonrows.Row) (scan.Row, error) {
	r := row.Record(s.variable("MAX_ROW_BYTES"))
	if r.Fault != nil {
		return scan.Row{Record: r}, nil //nolint:nilerr // the record carries it
	}
	k, err := s.call.keys(row.Raw, s.cfg.TimeZone.Location)
	if err != nil {
		return scan.Row{Record: jsonrows.Reject(r, "decode", jsonrows.TextField(r.Raw, "sendID"), err)}, nil
	}
	if err := s.owns(k.appID); err != nil {
		return scan.Row{}, err
	}
	sent, err := k.sent.within(s.cfg.TimeZone.Location, q.span)
	if err != nil {
		sent = time.Time{} // not sent yet, or the row may be an event all the same
	}
	return scan.Row{Record: s.keyed(q, r, &k), Other: sent}, nil
}

// keyed sets the fields of r that follow from its keys.
func (s *Source) keyed(q query, r sources.Record, k *keys) sources.Record {
	created, err := k.send.within(s.cfg.TimeZone.Location, q.span)
	if err != nil {
		return jsonrows.Reject(r, "decode", k.id, fmt.Errorf("field %q %w", s.call.born, err))
	}
	r.Created = created
	if r = jsonrows.Identify(r, "sendID", k.id); r.Fault != nil {
		return r
	}
	r.Print, r.Rank = k.print(), rank(k.status)
	r.Terminal = k.status == statusDelivered || k.status == statusDropped
	return r
}

// statusOf returns the status in one spelling; the API has two for unknown.
func statusOf(given *jsonrows.Text) string {
	status := strings.ToLower(given.Trimmed())
	if status == statusMisspelled {
		return statusUnknown
	}
	return status
}

func rank(status string) int64 {
	if n, ok := progress[status]; ok {
		return n
	}
	return progress[statusUnknown]
}
