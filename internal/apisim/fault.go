package apisim

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// FaultKind names what goes wrong with one answer.
type FaultKind string

// The kinds of faults. The fields of Fault each uses are named behind it.
const (
	NoFault    FaultKind = ""
	HTTPStatus FaultKind = "http status" // answer Status (0: 500) with Body and, unless empty, Retry-After: RetryAfter
	HTMLPage   FaultKind = "html page"   // answer 200 with a web page, as a login portal does
	APIError   FaultKind = "api error"   // answer 200 with the API's error body: Code and Body as its text
	Reset      FaultKind = "reset"       // reset the connection once After bytes of the body are out; 0: before the header
	Truncate   FaultKind = "truncate"    // close the connection after After bytes of the body
	Cut        FaultKind = "cut"         // end the body after After bytes, in an HTTP answer that is complete
	Slow       FaultKind = "slow"        // wait Delay before the header and before each After bytes (0: 1024)
	Drip       FaultKind = "drip"        // send spaces without end, one after each Delay
	Redirect   FaultKind = "redirect"    // answer Status (0: 302) with Location
	Stale      FaultKind = "stale"       // answer with the data of Delay ago, as a lagging replica does
	Revoke     FaultKind = "revoke"      // ekuaibao: revoke every token issued so far, then answer
	Endless    FaultKind = "endless"     // ekuaibao: answer a query with Body, whose last After bytes are repeated without end
)

// Fault is one thing to go wrong with one answer.
type Fault struct {
	Kind       FaultKind
	Status     int
	RetryAfter string // verbatim: seconds or an HTTP date
	Location   string // verbatim: a URL or a path
	Body       string
	Code       string
	After      int
	Delay      time.Duration
}

// Faults decides which answers go wrong. Hook is asked first, for every request; where it has nothing, queries of the log take
// the next queued fault, or else draw a random one. Token and timestamp calls see only the hook. The zero value injects nothing.
type Faults struct {
	mu    sync.Mutex
	hook  func(r *http.Request) Fault
	queue []Fault
	share float64
	among []Fault
	rng   *rand.Rand
}

// Hook sets the function asked for each request, nil for none. It is called from several goroutines.
func (f *Faults) Hook(fn func(r *http.Request) Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = fn
}

// Queue appends faults for the next queries of the log, one each; Fault{} lets one pass.
func (f *Faults) Queue(faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, faults...)
}

// Random makes the given share of queries fail with one of the faults, drawn from seed; share 0 ends it.
func (f *Faults) Random(seed uint64, share float64, among ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.share, f.among = share, among
	f.rng = rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // simulated faults
}

// next returns the fault for one request; query says whether it asks for rows.
func (f *Faults) next(r *http.Request, query bool) Fault {
	f.mu.Lock()
	hook := f.hook
	f.mu.Unlock()
	if hook != nil {
		if fault := hook(r); fault.Kind != NoFault {
			return fault
		}
	}
	if !query {
		return Fault{}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.queue) > 0 {
		fault := f.queue[0]
		f.queue = f.queue[1:]
		return fault
	}
	if len(f.among) > 0 && chance(f.rng, f.share) {
		return f.among[f.rng.IntN(len(f.among))]
	}
	return Fault{}
}

// Switches holds the standing behaviour of a simulator, changeable while it serves.
type Switches[T any] struct {
	mu    sync.Mutex
	value T
}

// Set changes the switches; requests under way keep what they began with.
func (s *Switches[T]) Set(change func(*T)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.value)
}

// Get returns the switches as they are now.
func (s *Switches[T]) Get() T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.value
}
