package scan

import (
	"sync"
	"time"

	"connector/sources"
)

// Memory is what [Split] remembers of the answers of one stream, from scan to
// scan and in memory only: a new process learns it again at the cost of a few
// requests. The zero value knows nothing. It is safe for concurrent use.
type Memory struct {
	mu      sync.Mutex
	largest size    // the most rows, and the most bytes, of a proven answer
	outside [2]bool // which times of a row lay outside the span asked for

	longest time.Duration // that is asked for at once, because more came too late; 0: any
	inTime  int           // answers for spans of that length, since it changed
	behind  time.Duration // half of the first of the spans that came late in a row
	silent  bool          // whether no answer came since
}

func (m *Memory) proven() size {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.largest
}

func (m *Memory) learn(s size) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.largest = m.largest.max(s)
}

func (m *Memory) ruledOut() [2]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.outside
}

func (m *Memory) ruleOut(outside [2]bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range outside {
		m.outside[i] = m.outside[i] || outside[i]
	}
}

// field returns the index of the time the API selects by, as far as known.
func (m *Memory) field() int {
	outside := m.ruledOut()
	if outside[0] && !outside[1] {
		return 1
	}
	return 0
}

// patience is the number of answers in time after which twice as much is asked for
// at once. One that comes late costs a minute and a scan. Each answer is enough up to
// where no answer came at all, however little was asked for: that is how a provider looks
// that was down.
const patience = 16

// first returns the beginning of a span that is asked for at once.
func (m *Memory) first(s sources.Span, tick time.Duration) sources.Span {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.longest > 0 && duration(s, tick) > m.longest {
		s.To = s.From.Add(m.longest - tick)
	}
	return s
}

// late says that the answer for a span took too long.
func (m *Memory) late(s sources.Span, tick time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.longest, m.inTime = max(duration(s, tick)/2/tick, 1)*tick, 0
	if !m.silent {
		m.behind, m.silent = m.longest, true
	}
}

// answered says that the answer for a span did not.
func (m *Memory) answered(s sources.Span, tick time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.silent = false
	if m.longest == 0 || duration(s, tick) < m.longest {
		return
	}
	if m.inTime++; m.inTime == patience || 2*m.longest <= m.behind {
		m.longest, m.inTime = 2*m.longest, 0
	}
}

// duration is how much time a span has, its last tick included.
func duration(s sources.Span, tick time.Duration) time.Duration { return s.To.Sub(s.From) + tick }
