package apisim

import (
	"fmt"
	"math/rand/v2"
	"time"
	"unicode/utf8"
)

// submailProvider returns the names and rows of SUBMAIL's log of text messages.
func submailProvider(zone *time.Location) provider {
	return provider{
		system: "submail", streams: []string{"sms"}, defaultStream: "sms", tick: time.Second, maxChanges: 3,
		json: jsonRows{php: true}, idField: "sendID", timeField: "send_date", bulkField: "message",
		shortKey: "result_status", longKey: []string{"result_status", "sent_date"},
		order: []string{
			"sendID", "project", "recipient", "message", "signature", "result_status", "api", "send_date", "sent_date", "length", "credit",
		},
		fields: func(r *rand.Rand, it item, v int) Fields { return submailFields(r, it, v, zone) },
		fill: func(f Fields, id string, it item, v int) {
			f["sendID"], f["result_status"], f["credit"] = id, "delivered", 1
			f["send_date"], f["sent_date"] = local(it.created, zone), local(it.versions[v], zone)
		},
	}
}

func local(t time.Time, zone *time.Location) string { return t.In(zone).Format(time.DateTime) }

// submailFields builds one row. A row that changes comes as request, then pending, then sending, the first of them left out
// where it has fewer versions, and ends as delivered, dropped or, one in fifty, unknown.
func submailFields(r *rand.Rand, it item, v int, zone *time.Location) Fields {
	projects := []string{"Gy1CR1", "kZ9N5", "p0RtO2"}
	message := fmt.Sprintf("您的验证码：%04d，请在 %d 分钟内输入。", r.IntN(10000), 1+r.IntN(10))
	if r.IntN(8) == 0 {
		message = "订单 <A&B> \"已发货\" 🚚 https://example.com/t?a=1&b=2 \\ " + message
	}
	length := utf8.RuneCountInString(message) + 9
	f := Fields{
		"sendID":  fmt.Sprintf("%016x%016x", r.Uint64(), it.number),
		"project": projects[r.IntN(len(projects))], "recipient": fmt.Sprintf("138%08d", r.IntN(1e8)),
		"message": message, "signature": "【SUBMAIL】", "api": "message/xsend",
		"send_date": local(it.created, zone), "length": length, "credit": 1 + (length-1)/70,
	}
	end := "delivered"
	if n := r.IntN(50); n == 0 {
		end = "unknown"
	} else if n < 6 {
		end = "dropped"
	}
	last := len(it.versions) - 1
	f["result_status"] = [...]string{end, "sending", "pending", "request"}[last-v]
	f["sent_date"] = ""
	if sending := max(last-1, 0); v >= sending {
		f["sent_date"] = local(it.versions[sending], zone)
	}
	return f
}
