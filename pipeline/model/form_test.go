package model

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"connector/sources/submail"
)

// order is that of the rows of an answer.
type order int

const (
	ascending order = iota
	descending
	unordered // the same for the same window; no page ascends by chance
)

// form is how an account of SUBMAIL is read, and how the provider then answers.
type form struct {
	call   submail.API
	format submail.Format
	order  order
}

func (f form) sms() bool { return f.call == submail.APISMSLog }
func (f form) xml() bool { return f.format == submail.FormatXML }

func (f form) path() string { return "/" + string(f.call) + "." + string(f.format) }

// drawForms draws how the account is read, and what a user may set instead
// before a restart.
func (p *plan) drawForms(r *rand.Rand) {
	orders := map[submail.API]order{}
	if p.page < 20 {
		orders[submail.APILogMessage] = pick(r, ascending, ascending, ascending, ascending, ascending, descending)
		orders[submail.APISMSLog] = pick(r, ascending, ascending, descending, unordered, unordered)
	}
	call, format := pick(r, submail.APILogMessage, submail.APISMSLog), pick(r, submail.FormatJSON, submail.FormatJSON, submail.FormatXML)
	p.wire.forms = []form{{call, format, orders[call]}}
	if sometimes(r, 0.7) {
		change := r.IntN(3)
		if change > 0 {
			call = map[submail.API]submail.API{submail.APILogMessage: submail.APISMSLog, submail.APISMSLog: submail.APILogMessage}[call]
		}
		if change < 2 {
			format = map[submail.Format]submail.Format{submail.FormatJSON: submail.FormatXML, submail.FormatXML: submail.FormatJSON}[format]
		}
		p.wire.forms = append(p.wire.forms, form{call, format, orders[call]})
	}
	other := slices.ContainsFunc(p.wire.forms, func(f form) bool { return !f.sms() })
	p.wire.pending = !other && sometimes(r, 0.5)
}

// edit draws whether the user changes how the account is read before a process
// that is not the first.
func (h *history) edit() {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := !h.launched
	h.launched = true
	if first || h.forms() < 2 || !sometimes(h.wire, 0.8) {
		return
	}
	was := h.plan.wire.forms[h.form]
	h.form = 1 - h.form
	now := h.plan.wire.forms[h.form]
	if now.call != was.call {
		h.counts[callChanged]++
	}
	if now.format != was.format {
		h.counts[formatChanged]++
	}
	h.tracef("%v: reads %s", h.at(time.Now()), now.path())
}

// forms is how many forms the wire has.
func (h *history) forms() int { return max(1, len(h.plan.wire.forms)) }

// inOrder returns rows in the order of answers; the world's ascend.
func (o order) inOrder(rows []*row) []*row {
	rows = slices.Clone(rows)
	switch o {
	case ascending:
	case descending:
		slices.Reverse(rows)
	case unordered:
		slices.SortFunc(rows, func(a, b *row) int { return cmp.Compare(a.order, b.order) })
	}
	return rows
}

// pend leaves of each row what a call can show that knows no status before the
// last one but pending, and of which the ledger can tell what is news: two
// versions and the last one.
func (h *history) pend() {
	if !h.plan.wire.pending {
		return
	}
	for _, r := range h.world.rows {
		last := len(r.versions) - 1
		ends := r.versions[last].terminal && (last == 0 || r.versions[last-1].rank < r.versions[last].rank)
		if last > 1 {
			h.counts[pendingOnly]++
		}
		switch {
		case ends:
			r.versions = append(r.versions[:min(2, last)], r.versions[last])
		default:
			r.versions = r.versions[:min(2, last+1)]
		}
		for i := range r.versions {
			r.versions[i].rank, r.versions[i].terminal = 2, false
		}
		if ends {
			r.versions[len(r.versions)-1].rank, r.versions[len(r.versions)-1].terminal = 3, true
		}
	}
}

// member is a field, and its value in JSON; text holds nothing to escape.
type member struct{ name, value string }

func text(name, value string) member     { return member{name, `"` + value + `"`} }
func figure(name string, n int64) member { return member{name, fmt.Sprint(n)} }

// object writes members as a JSON object or as XML elements, without the end
// of either.
func (f form) object(all []member) string {
	var b strings.Builder
	for i, m := range all {
		switch {
		case f.xml():
			b.WriteString("<" + m.name + ">" + strings.Trim(m.value, `"`) + "</" + m.name + ">")
			continue
		case i == 0:
			b.WriteByte('{')
		default:
			b.WriteByte(',')
		}
		b.WriteString(`"` + m.name + `":` + m.value)
	}
	return b.String()
}

// names are those of a list and of a row in it.
func (f form) names() (list, row string) {
	if f.sms() {
		return "data", "item"
	}
	return "results", "result"
}

// row is a whole row.
func (f form) row(all []member) string {
	_, name := f.names()
	if f.xml() {
		return "<" + name + ">" + f.object(all) + "</" + name + ">"
	}
	return f.object(all) + "}"
}

// bare is an answer without a list.
func (f form) bare(all ...member) *reply {
	if f.xml() {
		return ok("<xml>" + f.object(all) + "</xml>")
	}
	return ok(f.object(all) + "}")
}

// page is an answer with rows.
func (f form) page(head []member, rows []string) *reply {
	list, _ := f.names()
	if f.xml() {
		return ok(slices.Concat([]string{"<xml>" + f.object(head) + "<" + list + ">"}, rows, []string{"</" + list + "></xml>"})...)
	}
	reply := ok(f.object(head) + `,"` + list + `":[`)
	for _, raw := range rows {
		reply.row(raw)
	}
	return reply.end("]}")
}
