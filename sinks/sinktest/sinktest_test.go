package sinktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"connector/internal/fault"
	"connector/schema"
	"connector/sinks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a destination that breaks in one way, or none.
type memory struct {
	mu      sync.Mutex
	stored  []sinks.Received
	ids     map[string]bool
	changed chan struct{} // closed when something is stored

	dedupe bool
	limit  int
	breaks fakeFault
}

// fakeFault alters what a broken fake does; nil fields do nothing.
type fakeFault struct {
	publish func(m *memory, all []sinks.Received) []sinks.Received // changes what is stored
	late    bool                                                   // stores a call's messages at the next call
	anyCtx  bool                                                   // ignores an ended context
	noLimit bool                                                   // accepts any size
	holds   bool                                                   // does not store the neighbours of a message it rejects
	first   bool                                                   // lists only the first rejection
	wrong   bool                                                   // names the wrong message
	small   bool                                                   // rejects a message at the limit
	reopens bool                                                   // publishes after Close
	tail    func(opts *sinks.TailOptions)                          // misreads the options
	deaf    bool                                                   // its Tail drops yield's error
	byID    bool                                                   // takes a replay for a repetition
	few     int                                                    // fails above this many messages
}

func newMemory(dedupe bool, f fakeFault) *memory {
	return &memory{ids: map[string]bool{}, changed: make(chan struct{}), dedupe: dedupe, limit: 10_000, breaks: f}
}

func (m *memory) target() Target {
	return Target{
		Open: func(context.Context) (sinks.Publisher, error) { return &memoryPublisher{memory: m}, nil },
		Tail: m.tail,
	}
}

type memoryPublisher struct {
	*memory
	closed bool
	held   []sinks.Received
}

func (p *memoryPublisher) Limits() sinks.Limits {
	return sinks.Limits{MaxMessageBytes: p.limit, MaxMessages: 100}
}

func (p *memoryPublisher) Guarantee() sinks.Guarantee {
	if p.dedupe {
		return sinks.DedupedInWindow
	}
	return sinks.ExactlyOnceUnlessCrash
}

func (p *memoryPublisher) Close() error {
	p.closed = true
	p.store(p.held)
	return nil
}

func (p *memoryPublisher) Publish(ctx context.Context, events, dead []schema.Message) error {
	if p.closed && !p.breaks.reopens {
		return errors.New("closed")
	}
	if ctx.Err() != nil && !p.breaks.anyCtx {
		return ctx.Err()
	}
	if p.breaks.few > 0 && len(events) > p.breaks.few {
		return errors.New("too many")
	}
	var all []sinks.Received
	var rejected []sinks.Rejection
	for d, list := range [][]schema.Message{events, dead} {
		for i := range list {
			msg := &list[i]
			size := sizeOf(msg)
			if p.breaks.small {
				size++
			}
			if size > p.limit && !p.breaks.noLimit {
				rejected = append(rejected, sinks.Rejection{Dead: d == 1, Index: i, Err: fault.Reject("too_large", errors.New("too large"))})
				continue
			}
			all = append(all, sinks.Received{Dead: d == 1, Key: msg.Key(), Attributes: msg.Attributes(), Body: bytes.Clone(msg.Body)})
		}
	}
	if len(rejected) > 0 && p.breaks.holds {
		all = nil
	}
	if p.breaks.publish != nil {
		all = p.breaks.publish(p.memory, all)
	}
	if p.breaks.late {
		all, p.held = p.held, all
	}
	p.store(all)
	if len(rejected) == 0 {
		return nil
	}
	if p.breaks.first {
		rejected = rejected[:1]
	}
	if p.breaks.wrong {
		rejected[0].Index++
	}
	return &sinks.RejectedError{Messages: rejected}
}

func (m *memory) store(all []sinks.Received) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range all {
		id := r.Attribute("id")
		if replay := r.Attribute("replayid"); !m.breaks.byID {
			id += "/" + replay
		}
		if m.dedupe && m.ids[id] {
			continue
		}
		m.ids[id] = true
		r.Position = fmt.Sprint(len(m.stored))
		m.stored = append(m.stored, r)
	}
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *memory) tail(ctx context.Context, opts sinks.TailOptions, yield func(sinks.Received) error) error {
	if m.breaks.tail != nil {
		m.breaks.tail(&opts)
	}
	next := 0
	if !opts.FromStart {
		m.mu.Lock()
		next = len(m.stored)
		m.mu.Unlock()
	}
	for {
		m.mu.Lock()
		stored, changed := m.stored, m.changed
		m.mu.Unlock()
		for ; next < len(stored); next++ {
			if stored[next].Dead && !opts.Dead {
				continue
			}
			err := yield(stored[next])
			if m.breaks.deaf {
				err = nil
			}
			if err != nil {
				return err
			}
		}
		if !opts.Follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func TestCheckAcceptsGoodPublishers(t *testing.T) {
	for _, dedupe := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			if err := Check(t.Context(), newMemory(dedupe, fakeFault{}).target()); err != nil {
				t.Errorf("dedupe %v: %v", dedupe, err)
			}
		})
	}
}

// change returns a fault that alters one message of each call that has several.
func change(f func(m *sinks.Received)) func(*memory, []sinks.Received) []sinks.Received {
	return func(_ *memory, all []sinks.Received) []sinks.Received {
		if len(all) > 0 {
			f(&all[len(all)/2])
		}
		return all
	}
}

func setAttribute(name string, f func(string) string) func(*memory, []sinks.Received) []sinks.Received {
	return change(func(m *sinks.Received) {
		for i, a := range m.Attributes {
			if a.Name == name {
				m.Attributes[i].Value = f(a.Value)
			}
		}
	})
}

func TestCheckRefusesBrokenPublishers(t *testing.T) {
	tests := []struct {
		name   string
		dedupe bool
		breaks fakeFault
		want   string // in the error: the check that noticed
	}{
		{"drops one", true, fakeFault{publish: func(_ *memory, all []sinks.Received) []sinks.Received {
			return all[:max(0, len(all)-1)]
		}}, "round trip"},
		{"drops one of a large batch", true, fakeFault{publish: func(_ *memory, all []sinks.Received) []sinks.Received {
			return all[:min(len(all), 99)]
		}}, "large batch"},
		{"stores nothing of a large batch", true, fakeFault{few: 60}, "large batch"},
		{"drops dead letters", true, fakeFault{publish: func(_ *memory, all []sinks.Received) []sinks.Received {
			var events []sinks.Received
			for _, m := range all {
				if !m.Dead {
					events = append(events, m)
				}
			}
			return events
		}}, "dead letters"},
		{"duplicates", false, fakeFault{publish: func(_ *memory, all []sinks.Received) []sinks.Received {
			return append(all, all[:min(len(all), 1)]...)
		}}, "stored 2 times"},
		{"does not dedupe as promised", true, fakeFault{publish: func(m *memory, all []sinks.Received) []sinks.Received {
			m.ids = map[string]bool{}
			return all
		}}, "published again"},
		{"takes a replay for a repetition", true, fakeFault{byID: true}, "replayed"},
		{"reorders", true, fakeFault{publish: func(_ *memory, all []sinks.Received) []sinks.Received {
			if n := len(all); n > 1 {
				all[0], all[n-2] = all[n-2], all[0]
			}
			return all
		}}, "order: "},
		{"sorts by record and reverses", true, fakeFault{publish: func(_ *memory, all []sinks.Received) []sinks.Received {
			for i, j := 0, len(all)-1; i < j; i, j = i+1, j-1 {
				all[i], all[j] = all[j], all[i]
			}
			return all
		}}, "order: "},
		{"mangles Unicode", true, fakeFault{publish: setAttribute("subject", func(s string) string { return strings.ToValidUTF8(strings.Map(ascii, s), "") })}, "round trip"},
		{"trims spaces", true, fakeFault{publish: setAttribute("subject", strings.TrimSpace)}, "round trip"},
		{"decodes percent signs twice", true, fakeFault{publish: setAttribute("subject", func(s string) string { return strings.ReplaceAll(s, "%41", "A") })}, "round trip"},
		{"loses an attribute", true, fakeFault{publish: change(func(m *sinks.Received) { m.Attributes = m.Attributes[:7] })}, "round trip"},
		{"adds an attribute", true, fakeFault{publish: change(func(m *sinks.Received) {
			m.Attributes = append(m.Attributes, schema.Attribute{Name: "extra"})
		})}, "round trip"},
		{"cuts long ids", true, fakeFault{publish: setAttribute("subject", func(s string) string { return s[:min(len(s), 1024)] })}, "round trip"},
		{"rewrites the body", true, fakeFault{publish: change(func(m *sinks.Received) { m.Body = bytes.TrimSpace(m.Body) })}, "round trip"},
		{"wrong key", true, fakeFault{publish: change(func(m *sinks.Received) { m.Key = "same" })}, "round trip"},
		{"does not mark dead letters", true, fakeFault{publish: change(func(m *sinks.Received) { m.Dead = false })}, "dead letters"},
		{"marks events as dead letters", true, fakeFault{publish: change(func(m *sinks.Received) { m.Dead = true })}, "round trip"},
		{"acknowledges before it stores", true, fakeFault{late: true}, "round trip"},
		{"ignores its limit", true, fakeFault{noLimit: true}, "too large"},
		{"does not store neighbours of a rejected message", true, fakeFault{holds: true}, "too large"},
		{"lists only the first rejection", true, fakeFault{first: true}, "too large"},
		{"names the wrong message", true, fakeFault{wrong: true}, "too large"},
		{"rejects at the limit", true, fakeFault{small: true}, "too large"},
		{"publishes for an ended context", true, fakeFault{anyCtx: true}, "ended context"},
		{"publishes after close", true, fakeFault{reopens: true}, "closed"},
		{"tail shows dead letters unasked", true, fakeFault{tail: func(o *sinks.TailOptions) { o.Dead = true }}, "tail: "},
		{"tail hides dead letters", true, fakeFault{tail: func(o *sinks.TailOptions) { o.Dead = false }}, "dead letters"},
		{"tail always from the start", true, fakeFault{tail: func(o *sinks.TailOptions) { o.FromStart = true }}, "tail: "},
		{"tail from the start forgets the past when following", true, fakeFault{tail: func(o *sinks.TailOptions) {
			o.FromStart = o.FromStart && !o.Follow
		}}, "tail follows"},
		{"tail does not follow", true, fakeFault{tail: func(o *sinks.TailOptions) { o.Follow = false }}, "tail follows"},
		{"tail drops yield's error", true, fakeFault{deaf: true}, "tail: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				err := Check(t.Context(), newMemory(tt.dedupe, tt.breaks).target())
				if err == nil {
					t.Fatal("got nil, want an error")
				}
				if !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want it to contain %q", err, tt.want)
				}
			})
		})
	}
}

func ascii(r rune) rune {
	if r > 0x7e {
		return '?'
	}
	return r
}

func TestCheckRefusesHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		target := newMemory(true, fakeFault{}).target()
		open := target.Open
		target.Open = func(ctx context.Context) (sinks.Publisher, error) {
			p, err := open(ctx)
			return &hanging{Publisher: p, release: release}, err
		}
		r := &run{target: target, seen: map[string]bool{}}
		err := r.one(t.Context(), check{"ended context", checkEnded})
		close(release)
		if err == nil || !strings.Contains(err.Error(), "goes on") {
			t.Errorf("got %v, want a complaint that publish goes on", err)
		}
	})
}

// hanging ignores its context until released.
type hanging struct {
	sinks.Publisher
	release chan struct{}
}

func (h *hanging) Publish(ctx context.Context, _, _ []schema.Message) error {
	<-h.release
	return ctx.Err()
}
