package apisim

import (
	"bytes"
	"io"
	"iter"
	"maps"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Paths of the SUBMAIL API; each also with .json or .xml appended.
const (
	SubmailTimestampPath = "/service/timestamp"
	SubmailLogPath       = "/log/message"
	SubmailSMSLogPath    = "/sms/log"
)

// Credentials a Submail accepts where its configuration names none; the key holds the word canary, by which a leak is found.
const (
	DefaultSubmailID  = "10000"
	DefaultSubmailKey = "canary456789abcdef0123456789abcdef"
)

// SubmailSwitches is the standing behaviour of a Submail.
type SubmailSwitches struct {
	MinInterval   time.Duration // a query sooner after the last complete answer, to either call, gets its rows again; 0: none
	ClampRows     bool          // every rows parameter counts as invalid: 50 rows
	CountTotal    bool          // log/message: count is the number of matching rows instead of the number on the page
	ShuffleTies   bool          // rows of one second come in another order for each request
	Descending    bool          // sms/log: the newest rows come first
	Unordered     bool          // sms/log: rows come in no order, the same for the same window
	Pending       bool          // sms/log: any status before delivered and dropped is pending
	UnknownMethod string        // path of a call that this host does not have
	Padded        bool          // spaces around the text of all XML elements; those of errors always have them
	BOM           bool          // a UTF-8 byte order mark leads each JSON answer
	Quoted        bool          // numbers come as JSON strings
	NumericCodes  bool          // error codes come as JSON numbers
	ErrorStatus   int           // HTTP status of errors; 0: 200
}

// SubmailConfig configures a Submail; every field may be left zero.
type SubmailConfig struct {
	Population Population
	Clock      func() time.Time // the provider's clock; default time.Now
	AppID      string
	AppKey     string
	Zone       *time.Location // of the local times in answers; default Asia/Shanghai
	NoLog      bool           // Served, Overtaken and Poisoned stay empty: for runs of many millions of rows
	Switches   SubmailSwitches
}

// Submail simulates the SUBMAIL API: the timestamp service, log/message and sms/log, which show the same rows. It is an
// http.Handler.
type Submail struct {
	*simulator
	// Switches is the standing behaviour.
	Switches Switches[SubmailSwitches]

	appID, appKey string
	zone          *time.Location

	mu       sync.Mutex
	last     *page     // last page answered completely
	lastAt   time.Time // when that was
	shuffles uint64    // answers with shuffled ties
}

// NewSubmail returns a simulator that serves nothing yet.
func NewSubmail(c SubmailConfig) *Submail {
	if c.Zone == nil {
		c.Zone = shanghai()
	}
	s := &Submail{appID: or(c.AppID, DefaultSubmailID), appKey: or(c.AppKey, DefaultSubmailKey), zone: c.Zone}
	s.simulator = newSimulator(c.Population, submailProvider(c.Zone), c.Clock, c.NoLog)
	s.Switches.value = c.Switches
	return s
}

func shanghai() *time.Location {
	if zone, err := time.LoadLocation("Asia/Shanghai"); err == nil {
		return zone
	}
	return time.FixedZone("CST", 8*60*60)
}

// Serve answers requests on l in the background until Close, and returns the base URL. Serve a second listener for the backup host.
func (s *Submail) Serve(l net.Listener) string { return s.serve(l, s) }

// ServeHTTP answers one request.
func (s *Submail) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.answering.RLock()
	defer s.answering.RUnlock()
	path, format, dot := strings.Cut(r.URL.Path, ".")
	call, query := s.call(path)
	a, ok := s.begin(w, r, query)
	if !ok {
		return
	}
	enc := s.encoding(call, format)
	w.Header().Set("Content-Type", enc.contentType)
	switch {
	case a.fault.Kind == APIError:
		enc.refuse(a, apiError{a.fault.Code, a.fault.Body})
	case dot && format != "json" && format != "xml":
		http.NotFound(w, r)
	case path == SubmailTimestampPath && r.Method == http.MethodGet:
		enc.timestamp(a)
	case path == s.Switches.Get().UnknownMethod:
		enc.refuse(a, apiError{"100", "Unknown method"})
	case query && r.Method == http.MethodPost:
		s.logs(a, enc)
	default:
		http.NotFound(w, r)
	}
}

func (s *Submail) logs(a *answer, enc encoding) {
	params, refused := s.authorize(a)
	if refused != nil {
		enc.refuse(a, *refused)
		return
	}
	p := s.cached(a.now)
	if p == nil {
		p = s.read(a, s.parse(enc.call, params, a.now))
	}
	var body bytes.Buffer
	for i, fields := range p.rows {
		entry := p.entries[i]
		raw, err := s.encode(enc.call.encoder(enc.rows, p.items[i]), fields, &entry)
		if err != nil {
			panic(http.ErrAbortHandler) // a placed row cannot be encoded
		}
		a.add(entry)
		enc.join(&body, raw, i)
	}
	head, tail := enc.frame(p)
	_, _ = io.WriteString(a, head)
	_, _ = a.Write(body.Bytes())
	a.end(tail, func() { s.remember(p, a.now) })
}

// remember keeps a page that was answered completely for cached, unless it is itself from there.
func (s *Submail) remember(p *page, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != p {
		s.last, s.lastAt = p, now
	}
}

// cached returns the last complete page while it is younger than the minimum interval.
func (s *Submail) cached(now time.Time) *page {
	least := s.Switches.Get().MinInterval
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil || least == 0 || now.Sub(s.lastAt) >= least {
		return nil
	}
	return s.last
}

// logQuery is a checked query of the log.
type logQuery struct {
	query
	filters   map[string]string // by field
	size      int
	first     int  // rows before the page
	count     bool // whether to count all rows
	counted   bool // SubmailSwitches.CountTotal
	unordered bool
}

// parse reads the query parameters; invalid ones count as absent, as far as is known.
func (s *Submail) parse(call submailCall, params map[string]string, now time.Time) logQuery {
	sw := s.Switches.Get()
	from, to := call.span(now.In(s.zone))
	q := logQuery{query: query{stream: "sms", from: from, to: to}, filters: map[string]string{}, counted: sw.CountTotal}
	if call.byRows {
		q.desc, q.unordered, q.count = sw.Descending, sw.Unordered, true
	} else {
		q.desc, q.count = params["order_by"] != "asc", sw.CountTotal
	}
	if sec, err := strconv.ParseInt(params["start_date"], 10, 64); err == nil {
		q.from = time.Unix(sec, 0)
	}
	if sec, err := strconv.ParseInt(params["end_date"], 10, 64); err == nil {
		q.to = time.Unix(sec, 0)
	}
	if sw.ClampRows {
		params = maps.Clone(params)
		delete(params, "rows")
	}
	q.first, q.size = call.page(params)
	for name, field := range call.filters {
		if params[name] != "" {
			q.filters[field] = params[name]
		}
	}
	return q
}

// page is one answer to a query of the log.
type page struct {
	from, to time.Time
	first    int // rows before it
	size     int // most rows
	total    int // rows of all pages, where counted
	counted  bool
	rows     []Fields
	items    []item
	entries  []entry
}

// read collects the page q asks for, of the data of the answer's time.
func (s *Submail) read(a *answer, q logQuery) *page {
	q.now = a.data
	p := &page{from: q.from, to: q.to, first: q.first, size: q.size, counted: q.counted}
	for it := range s.ordered(q) {
		wanted := p.total >= q.first && len(p.rows) < q.size
		if wanted || len(q.filters) > 0 {
			fields, e := s.show(it, a.data)
			if !passes(fields, q.filters) {
				continue
			}
			if wanted {
				it.versions = it.versions[:it.version(a.data)+1]
				p.rows, p.items, p.entries = append(p.rows, fields), append(p.items, it), append(p.entries, e)
			}
		}
		p.total++
		if len(p.rows) == q.size && !q.count {
			break
		}
	}
	return p
}

func (s *Submail) ordered(q logQuery) iter.Seq[item] {
	rows := s.rows(q.query)
	if q.unordered {
		r := rand.New(rand.NewPCG(s.Seed, uint64(q.from.Unix()))) //nolint:gosec // simulated data
		return shuffled(rows, r, math.MaxInt, func(_, _ item) bool { return true })
	}
	if !s.Switches.Get().ShuffleTies {
		return rows
	}
	s.mu.Lock()
	s.shuffles++
	r := rand.New(rand.NewPCG(s.Seed, s.shuffles)) //nolint:gosec // simulated data
	s.mu.Unlock()
	return shuffled(rows, r, math.MaxInt, func(a, b item) bool { return a.created.Equal(b.created) })
}

func passes(f Fields, filters map[string]string) bool {
	for name, want := range filters {
		if text(f[name]) != want {
			return false
		}
	}
	return true
}
