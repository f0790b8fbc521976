package model

const (
	splitGo    = "sources/scan/split.go"
	digestGo   = "sources/scan/digest.go"
	httpGo     = "sources/httpx/client.go"
	httpBodyGo = "sources/httpx/body.go"
	httpTimeGo = "sources/httpx/clock.go"
	httpErrGo  = "sources/httpx/errors.go"
	ekbGo      = "sources/ekuaibao/source.go"
	ekbRowGo   = "sources/ekuaibao/record.go"
	ekbErrGo   = "sources/ekuaibao/answer.go"
	ekbTokenGo = "sources/ekuaibao/token.go"
	smsGo      = "sources/submail/source.go"
	smsCheckGo = "sources/submail/answer.go"
	smsCodesGo = "sources/submail/codes.go"
	smsZoneGo  = "sources/submail/zone.go"
	smsClockGo = "sources/submail/clock.go"
	smsDatesGo = "sources/submail/dates.go"
	smsRowGo   = "sources/submail/record.go"
	smsLogGo   = "sources/submail/smslog.go"
)

// sourceGuards are those of the real sources and the scans and client that they share.
var sourceGuards = []guard{
	{name: "Split: an answer that may be cut is proven by its parts", edits: []edit{{splitGo, "case !d.over && (d.rows == 0 || d.below(s.memory.proven())):", "case true:"}}},
	{name: "Split: strictly smaller, not as large", edits: []edit{{splitGo, "s.rows < o.rows && s.bytes < o.bytes", "s.rows <= o.rows && s.bytes <= o.bytes"}}},
	{name: "Split: a part is smaller than an answer of the scan", edits: []edit{{splitGo, " && s.trusts(left) && s.trusts(right)", ""}}},
	{name: "Split: the whole holds the rows of its parts", edits: []edit{{splitGo, "return whole.holds(left, right) && ", "return "}}, redundant: "a cap in rows that stays the same cuts no part that is smaller than it"},
	{name: "Split: a tick needs a proof", edits: []edit{{splitGo, "case s.trusts(d):", "case true:"}}},
	{name: "Split: the cut is the median", edits: []edit{{digestGo, "if len(ticks) > 0 {", "if false {"}}, redundant: "it costs requests only"},
	{name: "Split: the whole is asked for again", edits: []edit{{splitGo, "if !whole.over && whole.rows != s.capped &&", "if false &&"}}, redundant: "it costs requests only"},
	{name: "httpx: a web page is no answer", edits: []edit{{httpBodyGo, "if !isHTML(head) {", "if true {"}}},
	{name: "httpx: the Date of a gateway is not the provider's", edits: []edit{{httpGo, "if err == nil || trusted(err) {", "if true {"}}},
	{name: "httpx: a Date far ahead is not believed", edits: []edit{{httpTimeGo, "&& !c.confirms(t, now)", "&& false"}}},
	{name: "httpx: 429 throttles", edits: []edit{{httpErrGo, "err.Status == http.StatusTooManyRequests ||", ""}}},
	{name: "httpx: a silent answer ends", edits: []edit{{httpBodyGo, "b.timer.Reset(b.idle)", ""}}},
	{name: "ekuaibao: a row is of the message type asked for", edits: []edit{{ekbRowGo, `got != q.stream && slices`, `false && slices`}}},
	{name: "ekuaibao: a row lies in the window", edits: []edit{{ekbRowGo, "if k.CreateTime != nil &&", "if false &&"}}},
	{name: "ekuaibao: all rows are of one company", edits: []edit{{ekbRowGo, `case corporation == "" || corporation == s.corporation:`, "case true:"}}},
	{name: "ekuaibao: an error in an answer of status 200", edits: []edit{{ekbGo, "apiErrorOf(answer.Members(), safe); ok {", "apiErrorOf(answer.Members(), safe); ok && e.denied() {"}}},
	{name: "ekuaibao: an answer has a list", edits: []edit{{ekbGo, "if answer.Found() != jsonrows.Array {", "if false {"}}},
	{name: "ekuaibao: a refused token is replaced", edits: []edit{{ekbTokenGo, "case !replaced:", "case false:"}}},
	{name: "ekuaibao: a web page refuses no token", edits: []edit{{ekbGo, "ok && !status.WebPage() {", "ok {"}}, redundant: "not reached in 5,000 histories: it takes pages of status 403 three times in a row"},
	{name: "ekuaibao: throttled when asked for the time", edits: []edit{{ekbGo, "case throttled, fault", "case false && throttled, fault"}}},
	{name: "SUBMAIL: throttled when asked for the time", edits: []edit{{smsClockGo, "fault.RetryAfter(err); throttled {", "fault.RetryAfter(err); false && throttled {"}}},
	{name: "SUBMAIL: the dates are those asked for", edits: []edit{{smsCheckGo, "if err := s.checkDates(q, m); err != nil {", "if err := s.checkDates(q, m); false {"}}},
	{name: "SUBMAIL: dates in another zone count from UTC", edits: []edit{{smsDatesGo, "judge(asked, datesOf(q.span, time.UTC), got)", "judge(asked, asked, got)"}}},
	{name: "SUBMAIL: the answer is of the appid asked for", edits: []edit{{smsCheckGo, `id != "" && id != s.cfg.AppID`, `id != "" && false`}}},
	{name: "SUBMAIL: an error in an answer of status 200", edits: []edit{{smsCheckGo, "\tcase \"success\":\n\tcase \"error\":", "\tcase \"success\", \"error\":\n\tcase \"never\":"}}},
	{name: "SUBMAIL: an answer says that it succeeded", edits: []edit{{smsCheckGo, "\tcase \"success\":\n", "\tcase \"success\", \"\":\n"}}},
	{name: "SUBMAIL: rows that are counted are there", edits: []edit{
		{smsCheckGo, "case n == 0 && e.count > before:", "case false:"},
	}},
	{name: "SUBMAIL: 50 rows are not as asked", edits: []edit{
		{smsCheckGo, "case n == defaultRows && n < q.rows:", "case false:"},
		{smsCheckGo, "case n == defaultRows && q.rows != defaultRows && e.count > before+n,", "case false,"},
		{smsCheckGo, "return n == q.rows || e.count > before+n, nil", "return n == q.rows, nil"},
	}},
	{name: "SUBMAIL: a page starts where asked", edits: []edit{
		{smsCheckGo, "q.offset > 0 && e.start == q.offset*defaultRows+1 && e.start != before+1:", "false:"},
		{smsCheckGo, "case e.start >= 0 && e.start != before+1:", "case false:"},
	}, redundant: "the ids are fewer than the count, which makes a gap"},
	{name: "SUBMAIL: no more rows than asked for", edits: []edit{{smsGo, "case n > q.rows:", "case false:"}}},
	{name: "SUBMAIL: a row lies in the window", edits: []edit{{smsCheckGo, "if err := s.inside(q, r); err != nil {", "if err := s.inside(q, r); false {"}}},
	{name: "SUBMAIL: windows are cut where clocks change", edits: []edit{{smsGo, "range pieces(window, s.cfg.TimeZone.Location) {", "range pieces(window, time.UTC) {"}}},
	{name: "SUBMAIL: of two times, the one in the window", edits: []edit{{smsZoneGo, "slices.IndexFunc(times, span.Contains)", "slices.IndexFunc(times, sources.Span{}.Contains)"}}},
	{name: "SUBMAIL, sms/log: a row is of the appid asked for", edits: []edit{{smsRowGo, "if err := s.owns(k.appID); err != nil {", "if err := s.owns(k.appID); false {"}}},
	{name: "SUBMAIL, sms/log: a page starts where asked", edits: []edit{{smsLogGo, "start: number(m, \"offset\")", "start: -1"}}, redundant: "the ids are fewer than the total, which makes a gap"},
	{name: "SUBMAIL, sms/log: a page has as many rows as asked for", edits: []edit{{smsLogGo, "rows: number(m, \"results\")", "rows: -1"}}, redundant: "the total tells of the rows behind the page, and of a tick of several pages the ids are fewer"},
	{name: "SUBMAIL, sms/log: the rows of the total are there", edits: []edit{{smsLogGo, "count: number(m, \"total\")", "count: -1"}}},
	{name: "SUBMAIL: after a refused signature, the timestamp service", edits: []edit{{smsCodesGo, "s.client.Clock().IgnoreDate()", "false"}}, redundant: "the Date of the provider is that of its clock"},
}
