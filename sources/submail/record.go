package submail

import (
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

// keys are the fields that identify a row and tell its versions apart.
type keys struct {
	SendID       *jsonrows.Text `json:"sendID"`
	ResultStatus *jsonrows.Text `json:"result_status"`
	SendDate     *jsonrows.Text `json:"send_date"`
	SentDate     *jsonrows.Text `json:"sent_date"`
}

// record makes a record of a row of the answer to q. A row that can be no
// event is a record with a fault.
func (s *Source) record(q query, row jsonrows.Row) scan.Row {
	r := row.Record(s.variable("MAX_ROW_BYTES"))
	if r.Fault != nil {
		return scan.Row{Record: r}
	}
	var k keys
	if err := jsonrows.Decode(row.Raw, &k); err != nil {
		return scan.Row{Record: jsonrows.Reject(r, "decode", jsonrows.TextField(r.Raw, "sendID"), err)}
	}
	sent, err := within(k.SentDate.Trimmed(), s.cfg.TimeZone.Location, q.span)
	if err != nil {
		sent = time.Time{} // not sent yet, or the row may be an event all the same
	}
	return scan.Row{Record: s.keyed(q, r, &k), Other: sent}
}

// keyed sets the fields of r that follow from its keys.
func (s *Source) keyed(q query, r sources.Record, k *keys) sources.Record {
	created, err := within(k.SendDate.Trimmed(), s.cfg.TimeZone.Location, q.span)
	if err != nil {
		return jsonrows.Reject(r, "decode", k.SendID.Trimmed(), err)
	}
	r.Created = created
	if r = jsonrows.Identify(r, "sendID", k.SendID.Trimmed()); r.Fault != nil {
		return r
	}
	status := statusOf(k.ResultStatus)
	r.Print, r.Rank = k.print(), rank(status)
	r.Terminal = status == statusDelivered || status == statusDropped
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

// print hashes result_status and sent_date, spelled the same for JSON and XML.
// It holds nothing of the message.
func (k *keys) print() string {
	sent := k.SentDate.Trimmed()
	if strings.HasPrefix(sent, "0000-00-00") {
		sent = ""
	}
	return jsonrows.Sum([]byte(statusOf(k.ResultStatus) + "\x00" + sent))
}
