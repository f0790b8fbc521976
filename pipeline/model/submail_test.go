package model

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"connector/internal/config"
	"connector/internal/secret"
	"connector/sources"
	"connector/sources/submail"
)

const (
	appID       = "10000"
	defaultPage = 50 // rows a page when the number asked for is not taken
)

// submailAPI answers as SUBMAIL does: by pages, in local times without a zone.
type submailAPI struct {
	h      *history
	latest *page // latest answer, which a cache may give again
}

// page is an answer to a query.
type page struct {
	dates [2]string
	parts []string
}

func (a *submailAPI) connect(t http.RoundTripper) sources.Source {
	cfg := submail.Config{
		BaseURL: "http://submail", BackupURL: "http://submail", AppID: appID, AppKey: secret.New("canary-key-of-app"),
		SignType: submail.SignNormal, Format: submail.FormatJSON, ContentType: submail.ContentForm,
		Rows: a.h.plan.page, TimeZone: config.TimeZone{Location: a.h.plan.wire.zone}, Common: config.Common{MaxRowBytes: maxRow},
	}
	if a.h.plan.wire.signed {
		cfg.SignType = submail.SignSHA1
	}
	if a.h.plan.wire.backup {
		cfg.BackupURL = "http://backup"
	}
	if _, live := t.(*remote); !live {
		cfg.Rows = 1000
	}
	src, err := submail.New(account, cfg, options(t))
	if err != nil {
		panic(err)
	}
	return src
}

func (a *submailAPI) stream() sources.Stream { return sources.Stream{Name: "sms", Tick: time.Second} }

func (a *submailAPI) local(t time.Time) string {
	return t.In(a.h.plan.wire.zone).Format(time.DateTime)
}

func (a *submailAPI) row(r *row, i, n int) []byte {
	v, b := &r.versions[i], numbered(n)
	if v.poison != noID {
		b = fmt.Appendf(b, `,"sendID":%q`, r.id)
	}
	status, sent := a.status(r, i), ""
	if v.rank >= 3 || v.terminal {
		sent = a.local(a.h.world.clock(v.at))
	}
	if slices.ContainsFunc(r.versions[:i], func(o version) bool { return o.rank == v.rank }) {
		sent += fmt.Sprintf(" v%d", i) // status and sent_date are what tells versions apart
	}
	send := a.local(r.created)
	if v.poison == noTime {
		send, sent = "soon", ""
	}
	b = fmt.Appendf(b, `,"project":"p","recipient":"13800000000","signature":"s","api":"message/xsend","result_status":%q,"send_date":%q,"sent_date":%q`, status, send, sent)
	if v.poison == undecodable {
		return append(b, `,"sent_date":{}}`...)
	}
	b = append(b, `,"credit":1`...)
	switch {
	case v.poison == unnormal:
		b = append(b, `,"length":"long"`...)
	case v.poison == tooLarge:
		b = fmt.Appendf(b, `,"message":%q`, strings.Repeat("x", sinkLimit))
	case v.poison == noID && r.order%2 == 0: // it has one that is not read
		b = fmt.Appendf(b, `,"sendID":%q,"message":%q`, r.id, strings.Repeat("x", maxRow))
	default:
		b = append(b, `,"message":"hello","length":5`...)
	}
	return append(b, '}')
}

// status returns a status whose rank is in the order of the world's ranks. A
// terminal one is only the last of its rank.
func (a *submailAPI) status(r *row, i int) string {
	v := &r.versions[i]
	if v.terminal && (i == 0 || r.versions[i-1].rank < v.rank) {
		return []string{"delivered", "dropped"}[r.order%2]
	}
	names := []string{"request", "pending", "sending", "unknown"}
	if r.order%3 == 0 {
		names[3] = "unkown" //nolint:misspell // so the API writes it, too
	}
	return names[v.rank-1]
}

const submailStamp = "/service/timestamp.json"

// ask is what a request for rows asks for.
type ask struct {
	span         sources.Span
	rows, offset int
	stamp        int64 // 0: not signed at a time
}

func asked(req *http.Request) ask {
	b, err := io.ReadAll(req.Body)
	if err != nil {
		panic(err)
	}
	q, err := url.ParseQuery(string(b))
	if err != nil {
		panic(err)
	}
	k := ask{
		span: sources.Span{From: time.Unix(integer(q.Get("start_date")), 0), To: time.Unix(integer(q.Get("end_date")), 0)},
		rows: int(integer(q.Get("rows"))), offset: int(integer(q.Get("offset"))),
	}
	if q.Get("timestamp") != "" {
		k.stamp = integer(q.Get("timestamp"))
	}
	return k
}

func (a *submailAPI) recite(req *http.Request, rows []recital) *reply {
	if req.URL.Path == submailStamp {
		return ok(fmt.Sprintf(`{"timestamp":%d}`, a.h.began.Unix()))
	}
	k := asked(req)
	reply := ok(`{"status":"success","results":[`)
	for _, r := range rows {
		if k.offset == 0 && k.span.Contains(r.row.created) {
			reply.row(string(r.raw))
		}
	}
	return reply.end("]}")
}

func (a *submailAPI) answer(s *remote, req *http.Request) *reply {
	h := a.h
	now := h.world.clock(time.Now())
	if req.URL.Path == submailStamp {
		if h.fails(h.plan.rates.now) {
			h.counts[faultNow]++
			return &reply{status: http.StatusInternalServerError, cut: -1}
		}
		return ok(fmt.Sprintf(`{"timestamp":%d}`, now.Unix()))
	}
	k := asked(req)
	dates := [2]string{a.local(k.span.From), a.local(k.span.To)}
	switch {
	case k.stamp != 0 && (now.Unix()-k.stamp > 6 || k.stamp-now.Unix() > 6):
		h.counts[faultStamp]++
		return ok(`{"status":"error","code":"152","msg":"Invalid timestamp"}`)
	case a.latest != nil && !s.repeated && a.latest.dates != dates && h.fails(h.plan.wire.cached):
		h.counts[answerCached]++
		s.repeated = true
		return ok(a.latest.parts...)
	case h.fails(h.plan.wire.object):
		h.counts[faultObject]++
		return a.object(k)
	}
	return a.rows(s, k, dates)
}

// object is an answer that is none.
func (a *submailAPI) object(k ask) *reply {
	return ok(pick(a.h.wire, `{"status":"error","code":"900","msg":"busy"}`, `{"status":"error","code":900,"results":[]}`, `{"results":[]}`,
		fmt.Sprintf(`{"status":"success","count":%d}`, k.offset*k.rows+7)))
}

func (a *submailAPI) rows(s *remote, k ask, dates [2]string) *reply {
	h := a.h
	s.size = k.rows
	clamped := k.rows != defaultPage && h.fails(h.plan.wire.clamp)
	if clamped {
		s.size = defaultPage
	}
	rows := s.answer(k.span, k.offset)
	if clamped && (k.offset > 0 || len(rows) > k.rows || len(rows) == defaultPage) {
		h.counts[answerClamped]++
	}
	id := appID
	other := h.fails(h.plan.wire.other)
	app := other && sometimes(h.wire, 0.5)
	if app {
		h.counts[rowOfType]++
		id, rows = "20000", nil
	}
	list := []string{}
	for _, r := range rows {
		list = append(list, h.raw[[2]string{r.ID, r.Print}])
	}
	switch {
	case app:
		list = append(list, a.foreign(k.span.From))
	case other:
		h.counts[rowOutside]++
		away := pick(h.wire, 3*time.Hour, 9*time.Hour, 30*time.Hour) // more than what a local time may stand for twice
		list = append(list, a.foreign(pick(h.wire, k.span.From.Add(-away), k.span.To.Add(away))))
	}
	reply := ok(a.head(s, k, id, dates, len(list)))
	for _, raw := range list {
		reply.row(raw)
	}
	reply.end("]}")
	if s.shorten(reply, len(list)); reply.cut < 0 && !other {
		p := &page{dates, reply.parts}
		reply.whole = func() { a.latest, s.repeated = p, false }
	}
	return reply
}

// head is an answer up to its n rows.
func (a *submailAPI) head(s *remote, k ask, id string, dates [2]string, n int) string {
	count := s.total(k.span)
	if a.h.plan.uncounted {
		count = n
	}
	head := fmt.Sprintf(`{"status":"success","appid":%q`, id)
	if n > 0 || count > k.offset*k.rows {
		head += fmt.Sprintf(`,"count":%d,"start_row":%d,"end_row":%d`, max(n, count), k.offset*s.size+1, k.offset*s.size+n)
	}
	switch a.h.plan.wire.echo {
	case echoed:
	case echoedUTC:
		other := time.UTC
		if a.h.plan.wire.zone == time.UTC {
			other = zones[3]
		}
		dates = [2]string{k.span.From.In(other).Format(time.DateTime), k.span.To.In(other).Format(time.DateTime)}
	case echoedOther:
		dates = [2]string{"1999-05-05 05:05:05", "1999-05-06 05:05:05"}
	case unechoed:
		return head + `,"results":[`
	}
	return head + fmt.Sprintf(`,"start_date":%q,"end_date":%q,"results":[`, dates[0], dates[1])
}

// foreign is a row that is no answer to the request.
func (a *submailAPI) foreign(at time.Time) string {
	return fmt.Sprintf(`{"sendID":"foreign","result_status":"sending","send_date":%q,"sent_date":"","credit":1}`, a.local(at))
}
