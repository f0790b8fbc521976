package model

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
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

// submailAPI answers as SUBMAIL does: by pages, log/message in local times
// without a zone.
type submailAPI struct {
	h      *history
	latest *page // latest answer, which a cache may give again
	orders map[order][]*row
}

// page is an answer to a query.
type page struct {
	ask   ask
	parts []string
}

func (a *submailAPI) connect(t http.RoundTripper) sources.Source {
	cfg := submail.Config{
		BaseURL: "http://submail", BackupURL: "http://submail", AppID: appID, AppKey: secret.New("canary-key-of-app"),
		SignType: submail.SignNormal, API: a.form().call, Format: a.form().format, ContentType: submail.ContentForm,
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

// form is how the next process reads the account.
func (a *submailAPI) form() form { return a.h.plan.wire.forms[a.h.form] }

func (a *submailAPI) stream() sources.Stream { return sources.Stream{Name: "sms", Tick: time.Second} }

func (a *submailAPI) local(t time.Time) string {
	return t.In(a.h.plan.wire.zone).Format(time.DateTime)
}

const submailStamp = "/service/timestamp.json"

// ask is what a request for rows asks for.
type ask struct {
	form       form
	span       sources.Span
	rows, skip int   // of a page, and before it
	stamp      int64 // 0: not signed at a time
}

// same reports whether an answer to o answers k.
func (k ask) same(o ask) bool { k.stamp = o.stamp; return k == o }

// before is the number of rows before a page when pages have size rows.
func (k ask) before(size int) int {
	if k.form.sms() {
		return k.skip
	}
	return k.skip / k.rows * size
}

// called returns the form of a path.
func (a *submailAPI) called(path string) form {
	forms := a.h.plan.wire.forms
	return forms[slices.IndexFunc(forms, func(f form) bool { return f.path() == path })]
}

func (a *submailAPI) asked(req *http.Request) ask {
	b, err := io.ReadAll(req.Body)
	if err != nil {
		panic(err)
	}
	q, err := url.ParseQuery(string(b))
	if err != nil {
		panic(err)
	}
	k := ask{
		form: a.called(req.URL.Path),
		span: sources.Span{From: time.Unix(integer(q.Get("start_date")), 0), To: time.Unix(integer(q.Get("end_date")), 0)},
		rows: int(integer(q.Get("rows"))), skip: int(integer(q.Get("offset"))),
	}
	if !k.form.sms() {
		k.skip *= k.rows // it counts pages
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
	k := a.asked(req)
	var list []string
	for _, r := range rows {
		if k.skip == 0 && k.span.Contains(r.row.created) {
			list = append(list, string(r.raw))
		}
	}
	return k.form.page([]member{text("status", "success")}, list)
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
	k := a.asked(req)
	switch {
	case k.stamp != 0 && (now.Unix()-k.stamp > 6 || k.stamp-now.Unix() > 6):
		h.counts[faultStamp]++
		return k.form.bare(text("status", "error"), text("code", "152"), text("msg", "Invalid timestamp"))
	case a.latest != nil && !s.repeated && a.latest.ask.form == k.form && !a.latest.ask.same(k) && h.fails(h.plan.wire.cached):
		h.counts[answerCached]++
		s.repeated = true
		return ok(a.latest.parts...)
	case h.fails(h.plan.wire.object):
		h.counts[faultObject]++
		return a.object(k)
	}
	return a.rows(s, k)
}

// object is an answer that is none.
func (a *submailAPI) object(k ask) *reply {
	count := "count"
	if k.form.sms() {
		count = "total"
	}
	switch a.h.wire.IntN(4) {
	case 0:
		return k.form.bare(text("status", "error"), text("code", "900"), text("msg", "busy"))
	case 1:
		return k.form.page([]member{text("status", "error"), figure("code", 900)}, nil)
	case 2:
		return k.form.page([]member{text("msg", "busy")}, nil)
	}
	return k.form.bare(text("status", "success"), figure(count, int64(k.skip+7)))
}

func (a *submailAPI) rows(s *remote, k ask) *reply {
	h := a.h
	s.size = k.rows
	clamped := k.rows != defaultPage && h.fails(h.plan.wire.clamp)
	switch {
	case clamped && k.form.sms() && sometimes(h.wire, 0.5):
		s.size = k.rows / 2
	case clamped:
		s.size = defaultPage
	}
	rows := a.page(s, k)
	if clamped && (k.skip > 0 || len(rows) > k.rows || len(rows) == s.size) {
		h.counts[answerClamped]++
	}
	var list []string
	for _, r := range rows {
		list = append(list, h.raw[[2]string{r.ID, r.Print}][slices.Index(h.plan.wire.forms, k.form)])
	}
	other := h.fails(h.plan.wire.other)
	app := other && sometimes(h.wire, 0.5)
	switch {
	case app:
		h.counts[rowOfType]++
		list = []string{a.foreign(k, "20000", k.span.From)}
	case other:
		h.counts[rowOutside]++
		away := pick(h.wire, 3*time.Hour, 9*time.Hour, 30*time.Hour) // more than what a local time may stand for twice
		list = append(list, a.foreign(k, appID, pick(h.wire, k.span.From.Add(-away), k.span.To.Add(away))))
	}
	reply := k.form.page(a.head(s, k, app, len(list)), list)
	if s.shorten(reply, len(list)); reply.cut < 0 && !other {
		p := &page{k, reply.parts}
		reply.whole = func() { a.latest, s.repeated = p, false }
	}
	return reply
}

// page returns the rows of a page in the order of the call.
func (a *submailAPI) page(s *remote, k ask) []sources.Record {
	o, h := k.form.order, a.h
	if a.orders == nil {
		a.orders = map[order][]*row{}
	}
	if a.orders[o] == nil {
		a.orders[o] = o.inOrder(h.world.rows)
	}
	s.listed = a.orders[o]
	rows := s.answer(k.span, k.before(s.size))
	whole := len(rows) == s.size
	if k.form.sms() {
		h.counts[pageOfSMS]++
	}
	if k.form.xml() {
		h.counts[pageOfXML]++
	}
	switch {
	case whole && o == descending:
		h.counts[pageDescends]++
		if k.form.sms() {
			h.counts[pageDescendsSMS]++
		}
	case o == unordered && len(rows) > 0:
		if whole {
			h.counts[pageUnordered]++
		}
		latest := slices.MaxFunc(rows, func(x, y sources.Record) int { return h.created(x).Compare(h.created(y)) })
		at := slices.IndexFunc(rows, func(r sources.Record) bool { return r.ID == latest.ID })
		rows[0], rows[at] = rows[at], rows[0]
	}
	return rows
}

// created returns when the row of a record was created, whether it says so or not.
func (h *history) created(r sources.Record) time.Time { return h.world.byID[r.ID].created }

// head is what an answer with n rows says beside them.
func (a *submailAPI) head(s *remote, k ask, app bool, n int) []member {
	count, head := max(n, s.count(k.span)), []member{text("status", "success")}
	dates := a.dates(k)
	if k.form.sms() {
		return append(append(head, dates...), figure("total", int64(count)), figure("offset", int64(k.skip)), figure("results", int64(s.size)))
	}
	if a.h.plan.uncounted {
		count = n
	}
	id := appID
	if app {
		id = "20000"
	}
	head = append(head, text("appid", id))
	if n > 0 || count > k.skip {
		first := int64(k.before(s.size))
		head = append(head, figure("count", int64(count)), figure("start_row", first+1), figure("end_row", first+int64(n)))
	}
	return append(head, dates...)
}

// dates are what an answer says of the dates asked for.
func (a *submailAPI) dates(k ask) []member {
	from, to := k.span.From, k.span.To
	switch a.h.plan.wire.echo {
	case echoed:
		if k.form.sms() {
			return []member{figure("start_date", from.Unix()), figure("end_date", to.Unix())}
		}
		return []member{text("start_date", a.local(from)), text("end_date", a.local(to))}
	case echoedUTC:
		other := time.UTC
		if a.h.plan.wire.zone == time.UTC {
			other = zones[3]
		}
		return []member{text("start_date", from.In(other).Format(time.DateTime)), text("end_date", to.In(other).Format(time.DateTime))}
	case echoedOther:
		return []member{text("start_date", "1999-05-05 05:05:05"), text("end_date", "1999-05-06 05:05:05")}
	case unechoed:
	}
	return nil
}
