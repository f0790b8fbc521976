package examples

import (
	"fmt"
	"math/rand/v2"
	"time"

	"connector/internal/apisim"
)

// The connector reads at these times of the simulated day; rows change, appear late and leave in between.
var (
	midnight = time.Date(2026, 1, 15, 0, 0, 0, 0, time.UTC)
	passes   = []time.Time{midnight.Add(6 * time.Hour), midnight.Add(6*time.Hour + 40*time.Minute), midnight.Add(7*time.Hour + 20*time.Minute)}
)

// row is one row of a provider's log, as the test made it.
type row struct {
	account, stream, id string
	node                string // webhook calls
	created, visible    time.Time
	gone                time.Time // zero: never
	versions            []version
	reports             bool // whether the provider's answers name the time of the report
}

// version is what a row is from a time on.
type version struct {
	at     time.Time
	status string    // the provider's word
	sent   time.Time // text messages; zero: not yet
}

// last returns the version that the last pass found.
func (r row) last() version {
	v := r.versions[0]
	for _, later := range r.versions[1:] {
		if !later.at.After(passes[len(passes)-1]) {
			v = later
		}
	}
	return v
}

func (r row) left() bool { return !r.gone.IsZero() }

// calls makes rows of ekuaibao: failed calls, some of which succeed when they are tried again, some of which leave the log.
func calls(dice *rand.Rand) []row {
	nodes := []string{"提交", "部门审批", "财务审批", "支付", ""}
	var rows []row
	for n := range 160 {
		created := midnight.Add(time.Duration(n)*160*time.Second + time.Duration(dice.IntN(160_000))*time.Millisecond)
		r := row{
			account: "hq", stream: []string{"flow", "flow", "message"}[n%3], id: fmt.Sprintf("call%04d", n),
			node: nodes[dice.IntN(len(nodes))], created: created, visible: created, versions: []version{{at: created, status: "FAILURE"}},
		}
		again := created.Add(time.Duration(30+dice.IntN(3*3600)) * time.Second)
		switch n % 10 {
		case 0, 1: // tried again in vain
			r.versions = append(r.versions, version{at: again, status: "FAILURE"})
		case 2, 3, 4, 5: // tried again
			r.versions = append(r.versions, version{at: again, status: "SUCCESS"})
		case 6: // twice
			r.versions = append(r.versions, version{at: again, status: "FAILURE"}, version{at: again.Add(20 * time.Minute), status: "SUCCESS"})
		case 7: // older than HQ_LATENESS then: two later passes lack it and tell that it left
			if created.Before(passes[0].Add(-time.Hour)) {
				r.gone = passes[0].Add(time.Minute)
			}
		case 8:
			r.visible = created.Add(time.Duration(dice.IntN(1200)) * time.Second)
		}
		rows = append(rows, r)
	}
	return rows
}

// texts makes rows of SUBMAIL: messages under way, delivered after seconds or hours, dropped, or of an unknown fate.
func texts(dice *rand.Rand, account string, reports bool) []row {
	var rows []row
	for n := range 230 {
		created := midnight.Add(time.Duration(n) * 111 * time.Second)
		sent := created.Add(time.Duration(1+dice.IntN(5)) * time.Second)
		if n%9 == 0 { // the carrier was slow
			sent = created.Add(time.Duration(60+dice.IntN(1800)) * time.Second)
		}
		done := sent.Add(time.Duration(2+dice.IntN(40)) * time.Second)
		if n%11 == 0 {
			done = sent.Add(time.Duration(dice.IntN(3600)) * time.Second)
		}
		r := row{account: account, stream: "sms", id: fmt.Sprintf("%s%026d", account, n), created: created, visible: created, reports: reports}
		r.versions = []version{{at: created, status: "request"}, {at: sent, status: "sending", sent: sent}}
		switch end := (version{at: done.Add(time.Second), status: "delivered", sent: sent}); n % 25 {
		case 3: // never heard of again
			r.versions = r.versions[:1+dice.IntN(2)]
		case 7, 16:
			end.status = "dropped"
			r.versions = append(r.versions, end)
		case 20:
			end.status = "unknown"
			r.versions = append(r.versions, end)
		default:
			r.versions = append(r.versions, end)
		}
		if n%13 == 0 {
			r.visible = created.Add(time.Duration(dice.IntN(1200)) * time.Second)
		}
		rows = append(rows, r)
	}
	return rows
}

// population returns all rows: the same each time.
func population() (hq, otp, alerts []row) {
	dice := rand.New(rand.NewPCG(6, 1))
	return calls(dice), texts(dice, "otp", false), texts(dice, "alerts", true)
}

// shanghai is where SUBMAIL's local times are from.
var shanghai = time.FixedZone("", 8*3600)

// placed returns a row as the simulators take it.
func (r row) placed() apisim.Row {
	p := apisim.Row{Stream: r.stream, ID: r.id, Created: r.created, Visible: r.visible, Gone: r.gone}
	for _, v := range r.versions {
		f := apisim.Fields{}
		if r.stream == "sms" {
			f["result_status"], f["sent_date"] = v.status, ""
			f["recipient"], f["message"], f["signature"] = "13800138000", "您的验证码：4821，请在 5 分钟内输入。", "【SUBMAIL】"
			if !v.sent.IsZero() {
				f["sent_date"] = v.sent.In(shanghai).Format(time.DateTime)
			}
		} else {
			f["state"], f["type"], f["corporationId"], f["nodeName"] = v.status, "INVOKING", "Uq08cj71400000", r.node
			f["name"], f["request"], f["response"] = "出站消息", apisim.Fields{"action": r.stream}, apisim.Fields{"code": "E500"}
		}
		p.Versions = append(p.Versions, apisim.RowVersion{At: v.at, Fields: f})
	}
	return p
}
