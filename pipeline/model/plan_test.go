package model

import (
	"math/rand/v2"
	"time"
)

// point is an I/O step at which a process can be stopped.
type point int

const (
	atNow        point = iota // the provider is asked for its time
	atRequest                 // a request is about to be sent
	atRow                     // a row of an answer was handed over
	beforeCommit              // nothing of the commit has reached the sink
	insideCommit              // the sink works on it, nothing is durable
	afterPublish              // messages are durable, the state is not (paired sink)
	afterCommit               // all is durable, the answer is lost
	countOfPoints
)

func (p point) String() string {
	return [...]string{"at now", "at request", "mid-chunk", "before commit", "inside commit", "between publish and save", "after commit"}[p]
}

// manner is how a process ends.
type manner int

const (
	kill     manner = iota // as by kill -9: nothing it does afterwards has an effect
	graceful               // its context ends, commits in hand may finish
	takeover               // it goes on while the next process opens the sink
)

// stop ends a process at the nth time it reaches a point.
type stop struct {
	at       point
	nth      int
	messages bool // count only commits that hold messages
	how      manner
	down     time.Duration // until the next process starts
}

// step moves the provider's clock.
type step struct {
	at time.Duration // since the start of the history, by the true clock
	by time.Duration
}

// rates are probabilities per request or commit while the history is active.
type rates struct {
	now, wrong                    float64
	request, cut, throttle, stale float64
	commit, partial               float64
}

// plan is everything that is drawn of a history before it begins, but its rows.
type plan struct {
	api       api
	paged     bool
	descends  bool          // paged, latest first: an order that the scan cannot follow
	uncounted bool          // paged, and the provider does not say how many rows there are
	widen     bool          // requests reach one tick further on each side
	page      int           // rows a page
	limit     int           // most rows of an answer, which it does not tell; 0 for none
	tick      time.Duration //
	window    time.Duration // Stream.MaxWindow
	poll      time.Duration
	lag       time.Duration
	lateness  time.Duration
	giveUp    time.Duration
	paired    bool // a sink that stores messages before state, instead of one atomic sink
	marked    bool // a paired sink that keeps the marks of messages whose state is not saved

	groups   int           // of rows, more or less
	spread   bool          // not all large ones are ties
	crowd    int           // more rows of a large one
	backlog  time.Duration // rows older than the first process
	active   time.Duration // rows appear and change, faults happen
	skew     time.Duration // provider's clock less ours, at the start
	steps    []step
	slowest  time.Duration // longest a request takes
	maxStale time.Duration // greatest age of a stale answer
	dawdle   time.Duration // how far Source.Now may lie behind the provider's clock
	rates    rates
	stops    []stop
	wire     wire          // of an API that is not the toy's
	trust    time.Duration // how long a source goes on from a time it was told
}

// sometimes returns true with probability p.
func sometimes(r *rand.Rand, p float64) bool { return r.Float64() < p }

func upTo(r *rand.Rand, d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(r.Int64N(int64(d)))
}

func between(r *rand.Rand, low, high time.Duration) time.Duration { return low + upTo(r, high-low) }

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func drawPlan(r *rand.Rand) plan {
	p := plan{paged: sometimes(r, 0.5), widen: sometimes(r, 0.5), paired: sometimes(r, 0.4), tick: time.Millisecond, groups: 12}
	if p.paged {
		p.tick, p.page, p.descends = time.Second, pick(r, 2, 3, 5, 10), sometimes(r, 0.15)
	}
	p.poll = pick(r, 10*time.Second, 30*time.Second, 2*time.Minute, 10*time.Minute)
	p.lag = pick(r, 0, time.Second, p.poll/2)
	p.lateness = p.poll*time.Duration(1+r.IntN(5)) + upTo(r, p.poll)
	p.active = p.poll * time.Duration(10+r.IntN(25))
	p.giveUp = p.active * 4
	if sometimes(r, 0.3) {
		p.giveUp = p.lateness * time.Duration(2+r.IntN(3))
	}
	p.backlog = pick(r, 0, p.lateness, p.active, p.active*2)
	p.window = pick(r, p.poll, p.lateness, p.active/2, 24*time.Hour).Truncate(p.tick)
	p.window = max(p.window, (p.backlog+p.active)/40).Truncate(p.tick)
	p.slowest = pick(r, 10*time.Millisecond, time.Second, p.poll/5)
	p.dawdle = pick(r, 0, time.Second)
	if sometimes(r, 0.5) {
		p.skew = between(r, -10*time.Minute, 10*time.Minute)
	}
	for at := upTo(r, p.active); sometimes(r, 0.25); at = upTo(r, p.active) {
		p.steps = append(p.steps, step{at: at, by: between(r, -10*time.Minute, 10*time.Minute)})
	}
	p.rates = drawRates(r)
	if p.rates.stale > 0 {
		p.maxStale = p.lateness / 2
	}
	for sometimes(r, 0.6) && len(p.stops) < 6 {
		p.stops = append(p.stops, p.drawStop(r))
	}
	return p
}

func drawRates(r *rand.Rand) rates {
	var f rates
	for _, rate := range []*float64{&f.now, &f.request, &f.cut, &f.throttle, &f.stale, &f.commit, &f.partial} {
		if sometimes(r, 0.4) {
			*rate = pick(r, 0.02, 0.1, 0.3)
		}
	}
	return f
}

func (p *plan) drawStop(r *rand.Rand) stop {
	s := stop{at: point(r.IntN(int(countOfPoints))), nth: 1 + r.IntN(pick(r, 3, 12)), messages: sometimes(r, 0.6)}
	if s.at == afterPublish && !p.paired {
		s.at = insideCommit
	}
	switch n := r.IntN(10); {
	case n == 0 && !p.paired:
		s.how = takeover
	case n <= 2:
		s.how = graceful
	}
	s.down = upTo(r, pick(r, p.poll, p.lateness, 3*p.lateness))
	return s
}

// repeats reports whether the sink may store a message again after a crash.
func (p *plan) repeats() bool { return p.paired && !p.marked }

// back is the sum of the clock's steps backwards.
func (p *plan) back() (sum time.Duration) {
	for _, s := range p.steps {
		sum -= min(s.by, 0)
	}
	return sum
}

// quiet is how long nothing happens at the end: everything young settles and
// everything watched is read once more.
func (p *plan) quiet() time.Duration {
	return 4*p.lateness + p.lag + 8*p.poll + 5*time.Minute + p.back() + p.trust
}
