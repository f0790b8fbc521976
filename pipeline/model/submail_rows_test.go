package model

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

func (a *submailAPI) row(r *row, i, n int) []byte {
	v, f := &r.versions[i], a.form()
	all := []member{figure("n", int64(n))} // tells it from all other versions
	if v.poison != noID {
		all = append(all, text("sendID", r.id))
	}
	var sent time.Time
	if v.rank >= 3 || v.terminal {
		sent = a.h.world.clock(v.at)
	}
	sentMember := a.moment(f, "sent", sent)
	if slices.ContainsFunc(r.versions[:i], func(o version) bool { return o.rank == v.rank }) {
		local := ""
		if !sent.IsZero() {
			local = a.local(sent)
		}
		sentMember.value = fmt.Sprintf(`"%s v%d"`, local, i) // status and time are what tells versions apart
	}
	send := a.moment(f, "send", r.created)
	if v.poison == noTime || v.poison == undecodable && f.xml() {
		send.value, sentMember.value = `"soon"`, `""`
	}
	if v.poison == undecodable && !f.xml() {
		sentMember.value = `{}`
	}
	return []byte(f.row(append(append(all, send, sentMember), a.rest(r, i, f)...)))
}

// moment is a time of a row; zero: not yet.
func (a *submailAPI) moment(f form, name string, at time.Time) member {
	switch {
	case f.sms() && at.IsZero():
		return figure(name+"_at", 0)
	case f.sms():
		return figure(name+"_at", at.Unix())
	case at.IsZero():
		return text(name+"_date", "")
	}
	return text(name+"_date", a.local(at))
}

// rest is what does not identify a row.
func (a *submailAPI) rest(r *row, i int, f form) []member {
	v, message := &r.versions[i], "hello"
	length, content := "length", "message"
	all := []member{text("project", "p"), text("recipient", "13800000000"), text("signature", "s"), text("api", "message/xsend"), text("result_status", a.status(r, i)), figure("credit", 1)}
	if f.sms() {
		length, content = "fee", "sms_content"
		all = []member{text("to", "13800000000"), text("appid", appID), text("template_id", "p"), text("sms_signature", "s"), text("status", a.status(r, i)), text("location", "l")}
	}
	switch {
	case v.poison == unnormal:
		all = append(all, text(length, "long"))
	case v.poison == tooLarge:
		message = strings.Repeat("x", sinkLimit)
	case v.poison == noID && r.order%2 == 0: // it has one that is not read
		message = strings.Repeat("x", maxRow)
		all = append(all, text("sendID", r.id))
	default:
		all = append(all, figure(length, 5))
	}
	return append(all, text(content, message))
}

// status returns a status whose rank is in the order of the world's ranks. A
// terminal one is only the last of its rank.
func (a *submailAPI) status(r *row, i int) string {
	v := &r.versions[i]
	if v.terminal && (i == 0 || r.versions[i-1].rank < v.rank) {
		return []string{"delivered", "dropped"}[r.order%2]
	}
	if a.h.plan.wire.pending {
		return "pending"
	}
	names := []string{"request", "pending", "sending", "unknown"}
	if r.order%3 == 0 {
		names[3] = "unkown" //nolint:misspell // so the API writes it, too
	}
	return names[v.rank-1]
}

// foreign is a row that is no answer to the request.
func (a *submailAPI) foreign(k ask, app string, at time.Time) string {
	all := []member{text("sendID", "foreign"), a.moment(k.form, "send", at), a.moment(k.form, "sent", time.Time{})}
	if k.form.sms() {
		return k.form.row(append(all, text("status", "sending"), text("appid", app)))
	}
	return k.form.row(append(all, text("result_status", "sending"), figure("credit", 1)))
}
