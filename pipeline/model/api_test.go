package model

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"connector/sources"
)

// api is what the provider of a history speaks.
type api int

const (
	apiToy      api = iota // records, without an encoding
	apiEkuaibao            // HTTP, read by the source of that name
	apiSubmail             // the same
)

func (a api) String() string { return [...]string{"toy", "ekuaibao", "submail"}[a] }

// wire is what is drawn of a provider that speaks HTTP.
type wire struct {
	web, object, other, token, cached, clamp float64       // probabilities per request
	gateway                                  time.Duration // by how much the Date of errors that are not the provider's own is off
	raised                                   time.Duration // when the hidden cap doubles, since the start; 0: never
	expelled                                 bool          // one row of another company comes along
	zone                                     *time.Location
	echo                                     echo
	signed                                   bool // requests are signed and good for 6 s
	backup                                   bool // there is a second host
	forms                                    []form
	pending                                  bool // of a message without a final status, the provider says no more than that
}

// echo is what an answer of SUBMAIL says of the dates asked for.
type echo int

const (
	echoed      echo = iota // it repeats them
	echoedUTC               // it repeats them in another time zone
	echoedOther             // it gives other ones, always the same
	unechoed                // it says nothing
)

// extrapolated is how long a source that speaks HTTP goes on from a time it
// was told, as package httpx promises.
const extrapolated = 10 * time.Minute

// dialect is how one of the real providers is reached and how it answers.
type dialect interface {
	// connect returns the source under test.
	connect(t http.RoundTripper) sources.Source
	// stream is the source's name of the one stream that is read.
	stream() sources.Stream
	// row returns the wire form of version i of a row; n tells it from all others.
	row(r *row, i, n int) []byte
	// recite answers a request with the given rows, all of them, and nothing wrong.
	recite(req *http.Request, rows []recital) *reply
	// answer answers a request as the history's provider does.
	answer(s *remote, req *http.Request) *reply
}

// speak draws which API a history's provider speaks and what is particular to it.
func (p *plan) speak(r *rand.Rand) {
	switch n := r.IntN(100); {
	case n < 11:
		p.api = apiEkuaibao
		p.hasten()
		p.speakEkuaibao(r)
	case n < 26:
		p.api = apiSubmail
		p.hasten()
		p.speakSubmail(r)
	default:
		return
	}
	for _, rate := range []*float64{&p.wire.web, &p.wire.object, &p.wire.other} {
		if sometimes(r, 0.4) {
			*rate = pick(r, 0.02, 0.1)
		}
	}
	p.widen, p.trust = false, extrapolated
	p.window = p.window.Truncate(p.tick)
	if sometimes(r, 0.5) {
		p.wire.gateway = between(r, -6*time.Hour, 6*time.Hour)
	}
}

// hasten cuts a history to a third: HTTP takes ten times as long as the toy.
func (p *plan) hasten() {
	p.groups, p.spread = 6, true
	p.active, p.giveUp = p.active/3, max(p.giveUp/3, 2*p.lateness)
	if p.backlog > p.lateness {
		p.backlog /= 3
	}
	for i := range p.steps {
		p.steps[i].at /= 3
	}
	p.window = max(p.window, (p.backlog+p.active)/10)
}

func (p *plan) speakEkuaibao(r *rand.Rand) {
	p.paged, p.uncounted, p.tick, p.page = false, false, time.Millisecond, 12
	if sometimes(r, 0.7) {
		p.limit = 10 + r.IntN(12)
		p.page = p.limit
	}
	if p.limit > 0 && sometimes(r, 0.3) {
		p.wire.raised = upTo(r, p.active)
	}
	if sometimes(r, 0.4) {
		p.wire.token = 0.05
	}
	p.wire.expelled = sometimes(r, 0.4)
	p.descends = sometimes(r, 0.5) // a cap cuts the oldest rows
}

func (p *plan) speakSubmail(r *rand.Rand) {
	p.paged, p.tick, p.page, p.limit = true, time.Second, pick(r, 10, 10, 12, 12, 20, 20, 60), 0
	p.descends, p.uncounted = false, sometimes(r, 0.3)
	p.drawForms(r)
	p.wire.zone = zones[pick(r, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 4)]
	switch n := r.IntN(20); {
	case n < 2:
		p.wire.echo = echoedUTC
	case n < 4:
		p.wire.echo = echoedOther
	case n == 4:
		p.wire.echo = unechoed
	case n < 14:
		p.wire.cached = pick(r, 0.05, 0.2)
	}
	if sometimes(r, 0.4) {
		p.wire.clamp, p.crowd = pick(r, 0.05, 0.3), defaultPage/2
	}
	p.wire.backup = sometimes(r, 0.3)
	p.wire.signed = p.slowest <= time.Second && sometimes(r, 0.8)
	if p.wire.signed && sometimes(r, 0.3) {
		p.steps = append(p.steps, step{at: upTo(r, p.active), by: between(r, -10*time.Minute, 10*time.Minute)})
	}
}

// zones are those of the local times that SUBMAIL shows; the first three change their clocks.
var zones = []*time.Location{zone("America/New_York"), zone("Europe/Berlin"), zone("Australia/Lord_Howe"), zone("Asia/Shanghai"), time.UTC}

func zone(name string) *time.Location {
	z, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return z
}

// await lets time pass until a change of clocks lies in the history, by the provider's clock.
func (h *history) await() {
	if h.plan.wire.zone == nil {
		return
	}
	_, change := time.Now().In(h.plan.wire.zone).ZoneBounds()
	if change.IsZero() {
		return
	}
	if sometimes(h.wire, 0.6) { // from 1 January on, the first change is to spring or fall as the hemisphere has it
		_, change = change.Add(24 * time.Hour).In(h.plan.wire.zone).ZoneBounds()
	}
	time.Sleep(time.Until(change.Add(-h.plan.skew - between(h.wire, -h.plan.backlog, h.plan.active))))
}

// translate makes the history's provider speak its API.
func (h *history) translate() {
	switch h.plan.api {
	case apiToy:
		return
	case apiEkuaibao:
		h.dialect = &ekuaibaoAPI{h: h}
	case apiSubmail:
		h.dialect = &submailAPI{h: h}
	}
	h.raw = map[[2]string][]string{}
	h.dress()
}

// tallyWire counts what the plan and the rows of a real provider hold.
func (h *history) tallyWire() {
	if h.plan.wire.raised > 0 {
		h.counts[capRaised]++
	}
	if e := h.plan.wire.echo; e == echoedUTC || e == echoedOther {
		h.counts[echoElsewhere]++
	}
	z := h.plan.wire.zone
	if !slices.ContainsFunc(h.plan.wire.forms, func(f form) bool { return !f.sms() }) {
		return // no local times
	}
	for _, r := range h.world.rows {
		from, to := r.created.In(z).ZoneBounds()
		_, here := r.created.In(z).Zone()
		_, before := from.Add(-1).In(z).Zone()
		_, after := to.In(z).Zone()
		since, until := r.created.Sub(from), to.Sub(r.created)
		switch {
		case !to.IsZero() && until <= time.Duration(here-after)*time.Second, !from.IsZero() && since < time.Duration(before-here)*time.Second:
			h.counts[rowInFold]++
		case !from.IsZero() && here > before && since < time.Hour:
			h.counts[rowAfterGap]++
		}
	}
}
