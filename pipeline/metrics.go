package pipeline

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"connector/schema"
)

// Metrics are the pipeline's Prometheus metrics.
type Metrics struct {
	rows, events, stale, dead, errors *prometheus.CounterVec
	frontier, gaps, unread, silent    *prometheus.GaugeVec
	givenUp                           *prometheus.GaugeVec
	commit                            prometheus.Histogram
	commitErrors                      prometheus.Counter
	began                             atomic.Pointer[time.Time] // when the commit in hand did; nil when there is none
}

// NewMetrics registers the metrics with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Namespace: "connector", Name: name, Help: help},
			append([]string{"system", "account", "stream"}, more...))
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return f.NewGaugeVec(prometheus.GaugeOpts{Namespace: "connector", Name: name, Help: help}, []string{"system", "account", "stream"})
	}
	m := &Metrics{
		rows:     counter("rows_read_total", "Rows read, repeated reads included."),
		events:   counter("events_published_total", "Events committed."),
		stale:    counter("stale_reads_total", "Rows read again without a change."),
		dead:     counter("dead_letters_total", "Rows of which no event can be made.", "class"),
		errors:   counter("read_errors_total", "Readings that stopped with an error and were tried again."),
		frontier: gauge("frontier_timestamp_seconds", "Provider time up to which the stream was read, Unix seconds."),
		gaps:     gauge("gaps", "Ranges of which the provider may hold rows that it does not show."),
		unread:   gauge("unread_seconds", "Provider time that is still to be read before the latest that was, backfill apart."),
		givenUp:  gauge("given_up_records", "Records that were given up while they might still have changed."),
		silent:   gauge("silent_seconds", "Provider time that was read since the newest record."),
		commit: f.NewHistogram(prometheus.HistogramOpts{
			Namespace: "connector", Name: "commit_seconds", Help: "Time of successful commits.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		commitErrors: f.NewCounter(prometheus.CounterOpts{
			Namespace: "connector", Name: "commit_errors_total", Help: "Commits that the sink gave back because they were not durable, and that were tried again.",
		}),
	}
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "connector", Name: "commit_pending_seconds", Help: "Time since the commit in hand was begun, 0 when there is none.",
	}, m.pending)
	return m
}

// committing notes that a commit is in hand, until the function that it returns
// is called. Sinks try again by themselves, so that its time alone tells that one
// takes nothing.
func (m *Metrics) committing() (done func()) {
	now := time.Now()
	m.began.Store(&now)
	return func() { m.began.Store(nil) }
}

// pending returns the seconds since the commit in hand was begun.
func (m *Metrics) pending() float64 {
	if began := m.began.Load(); began != nil {
		return time.Since(*began).Seconds()
	}
	return 0
}

// streamMetrics are the metrics of one stream.
type streamMetrics struct {
	rows, events, stale, errors prometheus.Counter
	dead                        *prometheus.CounterVec
	frontier, gaps              prometheus.Gauge
	unread, silent, givenUp     prometheus.Gauge
}

func (m *Metrics) stream(s schema.Source) *streamMetrics {
	l := prometheus.Labels{"system": s.System, "account": s.Account, "stream": s.Stream}
	return &streamMetrics{
		rows: m.rows.With(l), events: m.events.With(l), stale: m.stale.With(l), errors: m.errors.With(l),
		dead: m.dead.MustCurryWith(l), frontier: m.frontier.With(l), gaps: m.gaps.With(l),
		unread: m.unread.With(l), silent: m.silent.With(l), givenUp: m.givenUp.With(l),
	}
}
