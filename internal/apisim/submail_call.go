package apisim

import (
	"strconv"
	"time"
)

// submailCall is what the two calls that read SUBMAIL's log do not have in common.
type submailCall struct {
	list, row string            // names of the list of rows and, in XML, of each row
	order     []string          // of the members beside the list
	filters   map[string]string // fields of a row by the parameters that select them
	byRows    bool              // offset counts rows instead of pages

	members func(p *page) Fields
	span    func(now time.Time) (from, to time.Time) // without start_date and end_date; now is local
	encoder func(enc encoder, it item) encoder       // of one row
}

// call returns the call of a path, false if there is none.
func (s *Submail) call(path string) (submailCall, bool) {
	switch path {
	case SubmailLogPath:
		return submailCall{
			list: "results", row: "result", order: []string{"status", "appid", "count", "start_row", "end_row", "start_date", "end_date"},
			filters: map[string]string{"recipient": "recipient", "project": "project", "result_status": "result_status"},
			members: s.messageMembers,
			span: func(now time.Time) (from, to time.Time) {
				midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
				return midnight, midnight.AddDate(0, 0, 1).Add(-time.Second)
			},
			encoder: func(enc encoder, _ item) encoder { return enc },
		}, true
	case SubmailSMSLogPath:
		return submailCall{
			list: "data", row: "item", order: []string{"status", "start_date", "end_date", "total", "offset", "results"},
			filters: map[string]string{"to": "recipient", "send_id": "sendID", "status": "result_status"}, byRows: true,
			members: smsMembers,
			span:    func(now time.Time) (from, to time.Time) { return now.AddDate(0, 0, -1), now },
			encoder: func(enc encoder, it item) encoder { return smsRows{enc, it, s.appID, s.zone, s.Switches.Get().Pending} },
		}, true
	}
	return submailCall{}, false
}

func (s *Submail) messageMembers(p *page) Fields {
	count := len(p.rows)
	if p.counted {
		count = p.total
	}
	return Fields{
		"status": "success", "appid": s.appID, "count": count, "start_row": p.first + 1, "end_row": p.first + len(p.rows),
		"start_date": local(p.from, s.zone), "end_date": local(p.to, s.zone),
	}
}

func smsMembers(p *page) Fields {
	return Fields{
		"status": "success", "start_date": int(p.from.Unix()), "end_date": int(p.to.Unix()),
		"total": p.total, "offset": p.first, "results": p.size,
	}
}

// smsRows writes a row of log/message as sms/log shows it. Fields that log/message does not have pass.
type smsRows struct {
	encoder
	item    item // its versions end with the one shown
	appID   string
	zone    *time.Location
	pending bool // SubmailSwitches.Pending
}

// smsNames are the names in sms/log of the fields that both calls show; "" where it lacks one.
var smsNames = map[string]string{
	"project": "template_id", "recipient": "to", "message": "sms_content", "signature": "sms_signature", "result_status": "status",
	"send_date": "send_at", "sent_date": "sent_at", "api": "", "length": "", "credit": "",
}

var smsOrder = []string{
	"sendID", "to", "appid", "template_id", "sms_signature", "sms_content", "status", "report_state", "dropped_reason",
	"location", "mobile_type", "ip_address", "send_at", "sent_at", "report_at",
}

func (r smsRows) row(f Fields, _ []string) ([]byte, error) {
	status := text(f["result_status"])
	out := Fields{
		"appid": r.appID, "location": "广东 广州", "mobile_type": "中国移动", "ip_address": "192.0.2.1",
		"report_state": "pending", "report_at": 0,
	}
	switch status {
	case "delivered", "dropped":
		out["report_state"], out["report_at"] = "DELIVRD", int(r.item.versions[len(r.item.versions)-1].Unix())
		if status == "dropped" {
			out["report_state"], out["dropped_reason"] = "mk:0012", "空号/停机"
		}
	default:
		if r.pending && status != "" {
			status = "pending"
		}
	}
	for name, value := range f {
		switch known, ok := smsNames[name]; {
		case !ok:
			out[name] = value
		case known == "send_at" || known == "sent_at":
			out[known] = r.seconds(text(value))
		case known == "status":
			out[known] = status
		case known != "":
			out[known] = value
		}
	}
	return r.encoder.row(out, smsOrder)
}

// seconds returns a local time of the row in seconds since 1970: 0 for none, other text as it is.
func (r smsRows) seconds(given string) any {
	if given == "" {
		return 0
	}
	for _, at := range append([]time.Time{r.item.created}, r.item.versions...) {
		if local(at, r.zone) == given {
			return int(at.Unix())
		}
	}
	if at, err := time.ParseInLocation(time.DateTime, given, r.zone); err == nil {
		return int(at.Unix())
	}
	return given
}

// page reads the parameters of a page: the rows before it and their most. Invalid ones count as absent, as far as is known.
func (c submailCall) page(params map[string]string) (first, size int) {
	size = 50
	if n, err := strconv.Atoi(params["rows"]); err == nil && n >= 10 && n <= 1000 {
		size = n
	}
	n, err := strconv.Atoi(params["offset"])
	if err != nil || n < 0 {
		return 0, size
	}
	if c.byRows {
		return min(n, maxOffset), size
	}
	return min(n, maxOffset/size) * size, size
}

// maxOffset bounds the number of rows that are passed over.
const maxOffset = 1 << 31
