package pipeline_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"connector/checkpoint"
	"connector/internal/fault"
	"connector/internal/wait"
	"connector/pipeline"
	"connector/schema"
	"connector/schema/schematest"
	"connector/sinks"
	"connector/sources"
)

// row is one row of a toy provider; it shows from visible on.
type row struct {
	id      string
	created time.Time
	visible time.Time
	changes []time.Time // each is a new version
	final   bool        // whether the last version is terminal
	rank    int64       // of every version; 0 for the number of the version
	away    []time.Time // when it leaves the log, returns, leaves, …
	fault   error
}

// provider is a toy source that answers from its rows and the clock.
type provider struct {
	mu      sync.Mutex
	streams []string
	rows    map[string][]row
	scans   []scan
	scanned map[string]int                   // how often each stream was
	fail    func(stream string, n int) error // n counts the scans of the stream from 1
	gap     func() *sources.Span             // what cannot be proven now
	now     func() time.Time                 // the provider's clock; nil for ours
	owner   string                           // of the rows
	takes   time.Duration                    // of a scan
	refuse  func(sources.Span) error         // windows
	leaves  bool
	unfit   func(sources.Record) bool                                    // of which rows no event can be made; may be nil
	wider   time.Duration                                                // by which answers reach beyond the window, on each side
	spoil   func(list []sources.Record, w sources.Span) []sources.Record // changes answers; may be nil
}

type scan struct {
	stream string
	at     time.Time
	window sources.Span
}

func (p *provider) Owner() string { return p.owner }

func (p *provider) Streams() []sources.Stream {
	var list []sources.Stream
	for _, s := range p.streams {
		list = append(list, sources.Stream{Name: s, Tick: time.Second, MaxWindow: time.Hour, Leaves: p.leaves, Channel: schema.ChannelSMS})
	}
	return list
}

func (p *provider) Now(context.Context) (time.Time, error) {
	if p.now != nil {
		return p.now(), nil
	}
	return time.Now(), nil
}

func (p *provider) Scan(ctx context.Context, s sources.Stream, w sources.Span) iter.Seq2[sources.Chunk, error] {
	return func(yield func(sources.Chunk, error) bool) {
		p.mu.Lock()
		p.scans = append(p.scans, scan{s.Name, time.Now(), w})
		if p.scanned == nil {
			p.scanned = map[string]int{}
		}
		p.scanned[s.Name]++
		n, fail := p.scanned[s.Name], p.fail
		p.mu.Unlock()
		if err := wait.For(ctx, p.takes); err != nil {
			yield(sources.Chunk{}, err)
			return
		}
		if fail != nil {
			if err := fail(s.Name, n); err != nil {
				yield(sources.Chunk{}, err)
				return
			}
		}
		if p.refuse != nil {
			if err := p.refuse(w); err != nil {
				yield(sources.Chunk{}, err)
				return
			}
		}
		if g := p.hole(); g != nil && w.Contains(g.From) {
			before := sources.Span{From: w.From, To: g.From.Add(-time.Second)}
			if yield(sources.Chunk{Records: p.records(s.Name, before), Proven: before}, nil) {
				yield(sources.Chunk{}, &sources.GapError{Span: *g, Reason: "too many rows"})
			}
			return
		}
		yield(sources.Chunk{Records: p.records(s.Name, w), Proven: w}, nil)
	}
}

func (p *provider) hole() *sources.Span {
	if p.gap == nil {
		return nil
	}
	return p.gap()
}

// failWith changes what fails while the provider serves.
func (p *provider) failWith(fail func(string, int) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = fail
}

func (p *provider) of(stream string) []scan {
	return slices.DeleteFunc(slices.Clone(p.scans), func(s scan) bool { return s.stream != stream })
}

func (p *provider) records(stream string, w sources.Span) []sources.Record {
	var list []sources.Record
	now := time.Now()
	w.From, w.To = w.From.Add(-p.wider), w.To.Add(p.wider)
	for _, r := range p.rows[stream] {
		if !w.Contains(r.created) || r.visible.After(now) || r.isAway(now) {
			continue
		}
		version := 1
		for _, at := range r.changes {
			if !at.After(now) {
				version++
			}
		}
		raw := fmt.Sprintf(`{"id":%q,"v":%d}`, r.id, version)
		list = append(list, sources.Record{
			ID: r.id, Created: r.created, Rank: cmp.Or(r.rank, int64(version)), Print: fmt.Sprint(version), Raw: []byte(raw), Fault: r.fault,
			Terminal: r.final && version == len(r.changes)+1,
		})
	}
	if p.spoil != nil {
		list = p.spoil(list, w)
	}
	return list
}

func (r row) isAway(now time.Time) bool {
	passed := 0
	for _, at := range r.away {
		if !at.After(now) {
			passed++
		}
	}
	return passed%2 == 1
}

func (p *provider) Normalize(s sources.Stream, r sources.Record) (schema.Event, error) {
	if p.unfit != nil && p.unfit(r) {
		return schema.Event{}, fault.Reject("normalize", errors.New("unfit"))
	}
	return schema.Event{
		SchemaVersion: schema.Version, Source: schema.Source{System: "toy", Account: "a", Stream: s.Name},
		Record: schema.Record{ID: r.ID, Version: r.Print, Terminal: r.Terminal}, Channel: schema.ChannelSMS, Status: schema.Pending,
		CreatedAt: r.Created, SMS: &schema.SMS{}, Section: map[string]any{"toy": string(r.Raw)},
	}, nil
}

// memory is a sink that keeps the commit contract in memory. It outlives the
// pipelines that use it, as a broker would.
type memory struct {
	mu      sync.Mutex
	state   map[string][]byte
	events  []schema.Message
	times   []time.Time // of events
	dead    []schema.Message
	limits  sinks.Limits
	promise sinks.Guarantee
	fail    func(n int, c sinks.Commit) error // n counts the commits from 1
	n       int
	hang    bool // commits end only with their context
	lax     bool // takes messages that are not as the schema says
}

func (m *memory) Open(context.Context, string) (sinks.Session, error) { return m, nil }
func (m *memory) Guarantee() sinks.Guarantee                          { return cmp.Or(m.promise, "memory") }
func (m *memory) Close() error                                        { return nil }
func (m *memory) Limits() sinks.Limits                                { return m.limits }

func (m *memory) Recover(_ context.Context, yield func(checkpoint.Entry) error) error {
	for _, k := range slices.Sorted(maps.Keys(m.state)) {
		if checkpoint.Paged(k) {
			continue
		}
		if err := yield(checkpoint.Entry{Key: k, Value: m.state[k]}); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) Get(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state[key], nil
}

func (m *memory) Commit(ctx context.Context, c sinks.Commit) error {
	if m.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.n++
	if m.fail != nil {
		if err := m.fail(m.n, c); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, d := range c.Dead {
		if m.limits.MaxMessageBytes > 0 && d.Size() > m.limits.MaxMessageBytes {
			return &sinks.RejectedError{Messages: []sinks.Rejection{{Dead: true, Err: errors.New("too large")}}}
		}
	}
	if !m.lax {
		mustBeValid(c)
	}
	m.events = append(m.events, c.Events...)
	for range c.Events {
		m.times = append(m.times, time.Now())
	}
	m.dead = append(m.dead, c.Dead...)
	if m.state == nil {
		m.state = map[string][]byte{}
	}
	for _, e := range c.State {
		if e.Value == nil {
			delete(m.state, e.Key)
			continue
		}
		m.state[e.Key] = e.Value
	}
	return nil
}

// versions lists the record id of every event, in order of publication.
// mustBeValid checks all messages against the closed form of their schemas.
func mustBeValid(c sinks.Commit) {
	check := func(list []schema.Message, check func(string, []byte) error) {
		for _, m := range list {
			if err := check(m.Type, m.Body); err != nil {
				panic(fmt.Sprintf("%v: %s", err, m.Body))
			}
		}
	}
	check(c.Events, func(_ string, body []byte) error { return schematest.Event(body) })
	check(c.Dead, schematest.Dead)
}

func (m *memory) versions() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []string
	for _, e := range m.events {
		list = append(list, e.RecordID)
	}
	return list
}

func options(p *provider, sink sinks.Sink) pipeline.Options {
	return pipeline.Options{
		Accounts: []pipeline.Account{{
			System: "toy", Name: "a", Source: p, Poll: 10 * time.Second, Lag: 5 * time.Second, Lateness: time.Minute, GiveUp: time.Hour,
		}},
		Sink: sink, Start: func(now time.Time) time.Time { return now.Add(-3 * time.Hour) },
		Log: slog.New(slog.DiscardHandler), Metrics: pipeline.NewMetrics(prometheus.NewRegistry()),
	}
}

// runFor runs a pipeline until d has passed and returns what Run returned.
func runFor(t *testing.T, opts pipeline.Options, d time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	return pipeline.New(opts).Run(ctx)
}

var errTransient = errors.New("provider has a cold")

func fatal() error { return fault.Fatal(errors.New("key refused"), "set A_KEY") }
