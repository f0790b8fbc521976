package apisim

import (
	"bytes"
	"io"
	"iter"
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
)

// Credentials a Submail accepts where its configuration names none; the key holds the word canary, by which a leak is found.
const (
	DefaultSubmailID  = "10000"
	DefaultSubmailKey = "canary456789abcdef0123456789abcdef"
)

// SubmailSwitches is the standing behaviour of a Submail.
type SubmailSwitches struct {
	MinInterval  time.Duration // a query sooner after the last complete answer gets that answer again; 0: none
	ClampRows    bool          // every rows parameter counts as invalid: 50 rows
	CountTotal   bool          // count is the number of matching rows instead of the number on the page
	ShuffleTies  bool          // rows of one second come in another order for each request
	Padded       bool          // spaces around the text of all XML elements; those of errors always have them
	BOM          bool          // a UTF-8 byte order mark leads each JSON answer
	Quoted       bool          // numbers come as JSON strings
	NumericCodes bool          // error codes come as JSON numbers
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

// Submail simulates the SUBMAIL API: the timestamp service and log/message. It is an http.Handler.
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
	a, ok := s.begin(w, r, path == SubmailLogPath)
	if !ok {
		return
	}
	enc := s.encoding(format)
	w.Header().Set("Content-Type", enc.contentType)
	switch {
	case a.fault.Kind == APIError:
		enc.refuse(a, apiError{a.fault.Code, a.fault.Body})
	case dot && format != "json" && format != "xml":
		http.NotFound(w, r)
	case path == SubmailTimestampPath && r.Method == http.MethodGet:
		enc.timestamp(a)
	case path == SubmailLogPath && r.Method == http.MethodPost:
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
		p = s.read(a, s.parse(params, a.now))
	}
	var body bytes.Buffer
	for i, fields := range p.rows {
		entry := p.entries[i]
		raw, err := s.encode(enc.rows, fields, &entry)
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
	if s.last == nil || now.Sub(s.lastAt) >= least {
		return nil
	}
	return s.last
}

// logQuery is a checked query of the log.
type logQuery struct {
	query
	filters map[string]string // by field
	size    int
	offset  int // in pages
	total   bool
}

// parse reads the query parameters; invalid ones count as absent, as far as is known.
func (s *Submail) parse(params map[string]string, now time.Time) logQuery {
	sw := s.Switches.Get()
	local := now.In(s.zone)
	midnight := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, s.zone)
	q := logQuery{
		query:   query{stream: "sms", from: midnight, to: midnight.AddDate(0, 0, 1).Add(-time.Second), desc: params["order_by"] != "asc"},
		filters: map[string]string{}, size: 50, total: sw.CountTotal,
	}
	if sec, err := strconv.ParseInt(params["start_date"], 10, 64); err == nil {
		q.from = time.Unix(sec, 0)
	}
	if sec, err := strconv.ParseInt(params["end_date"], 10, 64); err == nil {
		q.to = time.Unix(sec, 0)
	}
	if n, err := strconv.Atoi(params["rows"]); err == nil && n >= 10 && n <= 1000 && !sw.ClampRows {
		q.size = n
	}
	if n, err := strconv.Atoi(params["offset"]); err == nil {
		q.offset = min(max(n, 0), math.MaxInt32)
	}
	for _, name := range []string{"recipient", "project", "result_status"} {
		if params[name] != "" {
			q.filters[name] = params[name]
		}
	}
	return q
}

// page is one answer to a query of the log.
type page struct {
	appID            string
	count            int
	startRow, endRow int
	start, end       string
	rows             []Fields
	entries          []entry
}

// read collects the page q asks for, of the data of the answer's time.
func (s *Submail) read(a *answer, q logQuery) *page {
	q.now = a.data
	first := q.offset * q.size
	p := &page{
		appID: s.appID, startRow: first + 1,
		start: q.from.In(s.zone).Format(time.DateTime), end: q.to.In(s.zone).Format(time.DateTime),
	}
	matching := 0
	for it := range s.ordered(q) {
		var fields Fields
		var e entry
		if wanted := matching >= first && len(p.rows) < q.size; wanted || len(q.filters) > 0 {
			fields, e = s.show(it, a.data)
			if !passes(fields, q.filters) {
				continue
			}
			if wanted {
				p.rows, p.entries = append(p.rows, fields), append(p.entries, e)
			}
		}
		matching++
		if len(p.rows) == q.size && !q.total {
			break
		}
	}
	p.count, p.endRow = len(p.rows), first+len(p.rows)
	if q.total {
		p.count = matching
	}
	return p
}

func (s *Submail) ordered(q logQuery) iter.Seq[item] {
	rows := s.rows(q.query)
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
