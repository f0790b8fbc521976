package model

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"connector/internal/config"
	"connector/internal/secret"
	"connector/sources"
	"connector/sources/ekuaibao"
)

// maxRow is how many bytes of a row a source keeps; sinkLimit is less.
const maxRow = 16 << 10

// ekuaibaoAPI answers as ekuaibao does: all rows of a span in one answer, in
// no order, which a hidden cap may cut.
type ekuaibaoAPI struct{ h *history }

func (e *ekuaibaoAPI) connect(t http.RoundTripper) sources.Source {
	src, err := ekuaibao.New(account, ekuaibao.Config{
		BaseURL: "http://ekuaibao", AppKey: secret.New("canary-key-of-app"), AppSecurity: secret.New("canary-security-of-app"),
		MessageTypes: ekuaibao.MessageTypes{"flow"}, Common: config.Common{MaxRowBytes: maxRow},
	}, options(t))
	if err != nil {
		panic(err)
	}
	return src
}

func (e *ekuaibaoAPI) stream() sources.Stream {
	return sources.Stream{Name: "flow", Tick: time.Millisecond}
}

func (e *ekuaibaoAPI) row(r *row, i, n int) []byte {
	v, b := &r.versions[i], numbered(n)
	if v.poison != noID {
		b = fmt.Appendf(b, `,"id":%q`, r.id)
	}
	if v.poison != noTime {
		b = fmt.Appendf(b, `,"createTime":%d`, r.created.UnixMilli())
	}
	version := i + 1
	if update := e.updates(r)[i]; update > 0 && v.poison != noTime {
		b = fmt.Appendf(b, `,"updateTime":%d`, update)
	} else {
		version = int(v.rank)
	}
	state := "FAILURE"
	if v.terminal {
		state = "SUCCESS"
	}
	b = fmt.Appendf(b, `,"state":%q,"active":%v,"messageType":"flow","corporationId":"ours","messageId":"m"`, state, i%2 == 0)
	if v.poison == undecodable {
		return append(b, `,"version":"first"}`...)
	}
	b = fmt.Appendf(b, `,"version":%d`, version)
	switch {
	case v.poison == unnormal:
		b = append(b, `,"name":{}`...)
	case v.poison == tooLarge:
		b = fmt.Appendf(b, `,"request":%q`, strings.Repeat("x", sinkLimit))
	case v.poison == noID && r.order%2 == 0: // it has one that is not read
		b = fmt.Appendf(b, `,"id":%q,"request":%q`, r.id, strings.Repeat("x", maxRow))
	default:
		b = append(b, `,"request":{"code":"1"},"response":null`...)
	}
	return append(b, '}')
}

// updates returns the updateTime of each version, 0 for none: some rows have
// none, or only from their second version on.
func (e *ekuaibaoAPI) updates(r *row) []int64 {
	list := make([]int64, len(r.versions))
	last := r.created.UnixMilli()
	for i, v := range r.versions {
		if i > 0 && v.rank > r.versions[i-1].rank {
			last = max(last+1, e.h.world.clock(v.at).UnixMilli())
		}
		if r.order%8 == 0 || r.order%8 == 1 && i == 0 {
			continue
		}
		list[i] = last
	}
	return list
}

const ekuaibaoToken = "/api/openapi/v1/auth/getAccessToken"

func (e *ekuaibaoAPI) recite(req *http.Request, rows []recital) *reply {
	if req.URL.Path == ekuaibaoToken {
		return ok(`{"value":{"accessToken":"first"}}`)
	}
	span := spanOf(req.URL.Query())
	a := ok(`{"items":[`)
	for _, r := range rows {
		if span.Contains(r.row.created) {
			a.row(string(r.raw))
		}
	}
	return a.end("]}")
}

// row adds a row to the body.
func (a *reply) row(raw string) {
	if len(a.parts) > 1 {
		raw = "," + raw
	}
	a.parts = append(a.parts, raw)
}

// end adds what follows the rows.
func (a *reply) end(tail string) *reply {
	a.parts = append(a.parts, tail)
	return a
}

func spanOf(q url.Values) sources.Span {
	return sources.Span{From: time.UnixMilli(integer(q.Get("startDate"))), To: time.UnixMilli(integer(q.Get("endDate")))}
}

func integer(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func (e *ekuaibaoAPI) answer(s *remote, req *http.Request) *reply {
	h, q := e.h, req.URL.Query()
	if req.URL.Path == ekuaibaoToken {
		return s.issue()
	}
	if a := s.refuse(q.Get("accessToken")); a != nil {
		return a
	}
	if h.fails(h.plan.wire.object) {
		h.counts[faultObject]++
		return ok(pick(h.wire, `{"items":[],"errorCode":500,"errorMessage":"busy"}`, `{"code":"500","msg":"busy"}`, `{"items":null}`, `{}`))
	}
	span := spanOf(q)
	if s.expel(span) {
		h.counts[rowOfCompany]++
		return ok(`{"items":[`, foreign(span.From, "flow", "theirs"), "]}")
	}
	rows, cut := s.jumble(s.answer(span, 0))
	if s.limit > 0 && len(rows) > s.limit {
		rows, cut = rows[:s.limit], min(cut, s.limit-1)
	}
	a := ok(`{"items":[`)
	for _, r := range rows {
		a.row(h.raw[[2]string{r.ID, r.Print}][0])
	}
	switch {
	case !h.fails(h.plan.wire.other):
	case sometimes(h.wire, 0.5):
		h.counts[rowOfType]++
		a.row(foreign(span.From, "message", "ours"))
	default:
		h.counts[rowOutside]++
		away := pick(h.wire, time.Second, time.Hour, 9*time.Hour)
		a.row(foreign(pick(h.wire, span.From.Add(-away), span.To.Add(away)), "flow", "ours"))
	}
	if cut >= 0 {
		a.cut, a.stalls = 1+cut, sometimes(h.wire, 0.2)
	} else if span.To.After(span.From) && slices.ContainsFunc(rows, func(r sources.Record) bool { return r.Fault == nil }) {
		a.whole = func() { s.pinned = true }
	}
	return a.end("]}")
}

// foreign is a row that is no answer to the request.
func foreign(at time.Time, kind, company string) string {
	return fmt.Sprintf(`{"id":"foreign","createTime":%d,"updateTime":%[1]d,"version":1,"state":"FAILURE","active":true,"messageType":%q,"corporationId":%q}`,
		at.UnixMilli(), kind, company)
}

// tokenLife is that of an access token.
const tokenLife = 2 * time.Hour

func (s *remote) issue() *reply {
	now := s.h.world.clock(time.Now())
	s.issued, s.token = now, "token-"+strconv.FormatInt(now.UnixNano(), 10)
	return ok(fmt.Sprintf(`{"value":{"accessToken":%q,"expireTime":%d}}`, s.token, now.Add(tokenLife).UnixMilli()))
}

// refuse answers a request whose token is not valid, or no longer from now on.
func (s *remote) refuse(token string) *reply {
	h, age := s.h, s.h.world.clock(time.Now()).Sub(s.issued)
	if token == s.token && age > 2*time.Minute && h.fails(h.plan.wire.token) {
		s.token = "none"
	}
	if token == s.token && age < tokenLife {
		return nil
	}
	h.counts[faultToken]++
	if sometimes(h.wire, 0.5) {
		return ok(`{"errorCode":403,"errorMessage":"no"}`)
	}
	return &reply{status: pick(h.wire, http.StatusUnauthorized, http.StatusForbidden), parts: []string{"no"}, cut: -1, own: true}
}

// expel draws whether the answer to span holds a row of another company: the
// source must give up for good. It knows its company by now, and checks the rows of all spans but an instant's, which Now asks for.
func (s *remote) expel(span sources.Span) bool {
	h := s.h
	if !h.plan.wire.expelled || h.expelled || !s.pinned || h.calm() || s.p.dead || s.p.stopped() || !span.To.After(span.From) || !sometimes(h.wire, 0.05) {
		return false
	}
	h.expelled, s.p.expelled, s.p.stop.nth = true, true, -1
	close(s.p.ended)
	return true
}
