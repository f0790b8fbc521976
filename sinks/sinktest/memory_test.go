package sinktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"connector/checkpoint"
	"connector/internal/fault"
	"connector/internal/wait"
	"connector/schema"
	"connector/sinks"
)

// memory is a destination that breaks in one way, or none.
type memory struct {
	mu      sync.Mutex
	stored  []sinks.Received
	ids     map[string]bool
	changed chan struct{} // closed when something is stored
	units   map[string]map[string][]byte
	marks   map[string][][]byte // by unit, that the state does not cover
	owners  int
	trouble bool

	grants sinks.Guarantee // OnceUnlessZombie: messages, with marks, and then state
	limit  int
	breaks fakeFault
}

// fakeFault alters what a broken fake does; nil fields do nothing.
type fakeFault struct {
	publish func(m *memory, all []sinks.Received) []sinks.Received // changes what is stored
	late    bool                                                   // stores a commit's messages at the next one
	anyCtx  bool                                                   // ignores an ended context
	noLimit bool                                                   // accepts any size
	forgets bool                                                   // does not store the neighbours of a rejected message with the next commit either
	leaks   bool                                                   // stores the neighbours of a rejected message at once
	first   bool                                                   // lists only the first rejection
	wrong   bool                                                   // names the wrong message
	small   bool                                                   // rejects a message at the limit
	reopens bool                                                   // commits after Close
	tail    func(opts *sinks.TailOptions)                          // misreads the options
	deaf    bool                                                   // its Tail drops yield's error
	byID    bool                                                   // takes a replay for a repetition
	raw     bool                                                   // reads structured mode as it is
	few     int                                                    // fails above this many messages and entries

	noFence    bool // an earlier owner commits
	noFatal    bool // a fenced one is told to go on
	saveFirst  bool // saves state before the messages
	half       bool // leaves the messages of a cancelled commit
	repeats    bool // stores, and says it did not
	onClose    bool // saves state at Close
	noState    bool // saves none
	shares     bool // has one state for all units
	noManifest bool // keeps no manifest
	anew       bool // begins a new unit when an entry is missing
	yields     func(state map[string][]byte)
	noDelete   bool                                          // keeps what a nil value deletes
	noEmpty    bool                                          // deletes what an empty value sets
	inPlace    bool                                          // writes over what was got
	get        func(key string, value []byte) []byte         // changes what is got
	recovers   func(marks [][]byte) [][]byte                 // changes the marks
	view       func(m *memory, s map[string][]byte)          // changes what is viewed, and more
	noUnit     bool                                          // views a unit that is not there
	grants     func(claimed sinks.Guarantee) sinks.Guarantee // what the sink says
}

func newMemory(grants sinks.Guarantee, f fakeFault) *memory {
	return &memory{
		ids: map[string]bool{}, changed: make(chan struct{}), units: map[string]map[string][]byte{}, marks: map[string][][]byte{},
		grants: grants, limit: 10_000, breaks: f,
	}
}

func (m *memory) target() Target {
	t := Target{
		Open: func(context.Context) (sinks.Sink, error) { return &memorySink{memory: m}, nil },
		Tail: m.tail, View: m.view, Damage: m.damage,
		Trouble: func() func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.trouble = true
			return func() {
				m.mu.Lock()
				defer m.mu.Unlock()
				m.trouble = false
			}
		},
	}
	if m.grants == sinks.OnceUnlessZombie {
		t.PublishOnly = func(_ context.Context, _ sinks.Sink, s sinks.Session, c sinks.Commit) error {
			session := s.(*memorySession)
			all, _ := session.accept(c)
			m.store(session.unit, all)
			return nil
		}
	}
	return t
}

type memorySink struct{ *memory }

func (s *memorySink) Guarantee() sinks.Guarantee {
	if s.breaks.grants != nil {
		return s.breaks.grants(s.grants)
	}
	return s.grants
}

func (s *memorySink) Close() error { return nil }

func (s *memorySink) Open(_ context.Context, unit string) (sinks.Session, error) {
	if s.breaks.shares {
		unit = mainUnit
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owners++
	session := &memorySession{memorySink: s, unit: unit, stored: map[string]bool{}}
	if err := session.load(fmt.Sprint("owner ", s.owners)); err != nil {
		return nil, err
	}
	session.save(nil)
	return session, nil
}

type memorySession struct {
	*memorySink
	unit   string
	owns   *checkpoint.Unit
	closed bool
	stored map[string]bool // messages of a commit whose state is not saved
	held   []sinks.Received
	last   []checkpoint.Entry
}

func (s *memorySession) load(owner string) error {
	state, ok := s.units[s.unit]
	if !ok {
		s.units[s.unit] = map[string][]byte{}
		s.owns = checkpoint.NewUnit(owner)
		return nil
	}
	var err error
	s.owns, err = checkpoint.LoadUnit(owner, func(key string) []byte { return state[key] })
	if err != nil && s.breaks.anew {
		s.owns, err = checkpoint.NewUnit(owner), nil
	}
	return err
}

// besideKey reports whether a key is got while it is written: writing over it
// would be a data race of the fake's own.
func besideKey(key string) bool { return strings.HasSuffix(key, "b/2026010500/0000") }

// save saves state with its fence.
func (s *memorySession) save(entries []checkpoint.Entry) {
	state := s.units[s.unit]
	for _, e := range s.owns.Commit(entries, time.Now()) {
		switch {
		case s.breaks.noManifest && e.Key == checkpoint.ManifestKey:
		case s.breaks.noState && e.Key != checkpoint.FenceKey:
		case e.Value == nil && s.breaks.noDelete:
		case e.Value == nil, len(e.Value) == 0 && s.breaks.noEmpty:
			delete(state, e.Key)
		case s.breaks.inPlace && !besideKey(e.Key) && len(state[e.Key]) == len(e.Value):
			copy(state[e.Key], e.Value)
		default:
			state[e.Key] = bytes.Clone(e.Value)
		}
	}
	if s.breaks.noManifest {
		state[checkpoint.FenceKey] = checkpoint.NewUnit("x").Commit(nil, time.Now())[0].Value
	}
	s.owns.Committed()
}

func (s *memorySession) Limits() sinks.Limits {
	return sinks.Limits{MaxMessageBytes: s.limit, MaxMessages: 100, Marks: s.grants == sinks.OnceUnlessZombie}
}

func (s *memorySession) Recover(_ context.Context, yield func(checkpoint.Entry) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := maps.Clone(s.units[s.unit])
	maps.DeleteFunc(state, func(key string, _ []byte) bool {
		return key == checkpoint.FenceKey || key == checkpoint.ManifestKey || checkpoint.Paged(key)
	})
	if s.breaks.yields != nil {
		s.breaks.yields(state)
	}
	marks := s.marks[s.unit]
	if s.breaks.recovers != nil {
		marks = s.breaks.recovers(slices.Clone(marks))
	}
	for i, m := range marks {
		e, err := checkpoint.MarkEntry(i, m)
		if err == nil {
			err = yield(e)
		}
		if err != nil {
			return err
		}
	}
	for _, k := range slices.Sorted(maps.Keys(state)) {
		if err := yield(checkpoint.Entry{Key: k, Value: state[k]}); err != nil {
			return err
		}
	}
	return nil
}

func (s *memorySession) Get(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value := s.units[s.unit][key]
	if s.breaks.get != nil {
		value = s.breaks.get(key, value)
	}
	return value, nil
}

func (s *memorySession) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed && s.last != nil {
		s.save(s.last)
	}
	s.closed = true
	return nil
}

func (s *memorySession) Commit(ctx context.Context, c sinks.Commit) error {
	if s.closed && !s.breaks.reopens {
		return errors.New("closed")
	}
	if ctx.Err() != nil && !s.breaks.anyCtx {
		return ctx.Err()
	}
	if s.breaks.few > 0 && len(c.Events)+len(c.Dead)+len(c.State) > s.breaks.few {
		return errors.New("too many")
	}
	all, rejected := s.accept(c)
	if len(rejected) > 0 {
		return s.refuse(all, rejected)
	}
	if s.grants == sinks.OnceUnlessZombie {
		return s.inTurn(ctx, c, all)
	}
	return s.atOnce(ctx, c, all)
}

// atOnce stores all in one step.
func (s *memorySession) atOnce(ctx context.Context, c sinks.Commit, all []sinks.Received) error {
	if wait.For(ctx, time.Millisecond) != nil && !s.breaks.anyCtx {
		if s.breaks.half {
			s.store(s.unit, all)
		}
		return ctx.Err()
	}
	if s.breaks.late {
		all, s.held = s.held, all
	}
	if err := s.troubled(all); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fenced(); err != nil {
		return err
	}
	s.storeLocked(s.unit, all)
	if s.breaks.onClose {
		s.last = append(s.last, c.State...)
		return nil
	}
	s.save(c.State)
	return nil
}

// inTurn stores messages, and then state.
func (s *memorySession) inTurn(ctx context.Context, c sinks.Commit, all []sinks.Received) error {
	all = slices.DeleteFunc(all, func(r sinks.Received) bool { return s.stored[r.Attribute("id")+r.Attribute("replayid")] })
	if err := s.troubled(all); err != nil {
		return err
	}
	messages := func() { s.store(s.unit, all) }
	state := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.save(c.State)
		s.marks[s.unit] = nil
	}
	steps := []func(){messages, state}
	if s.breaks.saveFirst {
		slices.Reverse(steps)
	}
	steps[0]()
	if wait.For(ctx, time.Millisecond) != nil {
		return ctx.Err()
	}
	steps[1]()
	clear(s.stored)
	return nil
}

func (s *memorySession) troubled(all []sinks.Received) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.trouble {
		return nil
	}
	if s.breaks.repeats {
		s.storeLocked(s.unit, all)
	}
	return errors.New("unreachable")
}

func (s *memorySession) fenced() error {
	value := s.units[s.unit][checkpoint.FenceKey]
	if s.breaks.noFence || s.breaks.noManifest || bytes.Equal(value, s.owns.Fence().Encode()) {
		return nil
	}
	by, err := checkpoint.DecodeFence(value)
	if err != nil {
		return err
	}
	if s.breaks.noFatal {
		return sinks.ErrFenced
	}
	return sinks.Fenced(s.unit, by)
}

// accept returns what can be stored, and the rejections.
func (s *memorySession) accept(c sinks.Commit) (all []sinks.Received, rejected []sinks.Rejection) {
	for d, list := range [][]schema.Message{c.Events, c.Dead} {
		for i := range list {
			msg := &list[i]
			size := sizeOf(msg)
			if s.breaks.small {
				size++
			}
			if size > s.limit && !s.breaks.noLimit {
				rejected = append(rejected, sinks.Rejection{Dead: d == 1, Index: i, Err: fault.Reject("too_large", errors.New("too large"))})
				continue
			}
			if s.stored[msg.PublicationID()] {
				continue
			}
			r := sinks.Received{Dead: d == 1, Key: msg.Key()}
			r.Attributes, r.Body, _ = expected{message: msg}.event()
			if s.breaks.raw && msg.Structured {
				r.Body = msg.Body
			}
			r.Body = bytes.Clone(r.Body)
			all = append(all, r)
			s.mark(msg)
		}
	}
	if s.breaks.publish != nil {
		all = s.breaks.publish(s.memory, all)
	}
	return all, rejected
}

// mark keeps the mark of a message that is about to be stored.
func (s *memorySession) mark(m *schema.Message) {
	if m.Mark == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marks[s.unit] = append(s.marks[s.unit], m.Mark)
}

// refuse answers a commit of which messages were rejected.
func (s *memorySession) refuse(all []sinks.Received, rejected []sinks.Rejection) error {
	if s.grants == sinks.OnceUnlessZombie || s.breaks.leaks {
		s.store(s.unit, all)
	}
	if s.grants == sinks.OnceUnlessZombie || s.breaks.forgets {
		for _, r := range all {
			s.stored[r.Attribute("id")] = true
		}
	}
	if s.breaks.first {
		rejected = rejected[:1]
	}
	if s.breaks.wrong {
		rejected[0].Index++
	}
	return &sinks.RejectedError{Messages: rejected}
}

func (m *memory) store(unit string, all []sinks.Received) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.storeLocked(unit, all)
}

func (m *memory) storeLocked(_ string, all []sinks.Received) {
	for _, r := range all {
		id := r.Attribute("id")
		if !m.breaks.byID {
			id += "/" + r.Attribute("replayid")
		}
		if (m.grants == sinks.DedupedInWindow || m.breaks.byID) && m.ids[id] {
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
			if stored[next].Dead && !opts.Dead || !stored[next].Dead && opts.NoEvents {
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

func (m *memory) damage(_ context.Context, unit, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.units[unit], key)
	return nil
}

func (m *memory) view(_ context.Context, unit string) (checkpoint.Reader, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	state, ok := m.units[unit]
	if !ok && !m.breaks.noUnit {
		return nil, fmt.Errorf("viewing: %w", fs.ErrNotExist)
	}
	state = maps.Clone(state)
	if m.breaks.view != nil {
		m.breaks.view(m, state)
	}
	return memoryView(state), nil
}

type memoryView map[string][]byte

func (v memoryView) Load(_ context.Context, yield func(checkpoint.Entry) error) error {
	for _, k := range slices.Sorted(maps.Keys(v)) {
		if checkpoint.Paged(k) {
			continue
		}
		if err := yield(checkpoint.Entry{Key: k, Value: v[k]}); err != nil {
			return err
		}
	}
	return nil
}

func (v memoryView) Get(_ context.Context, key string) ([]byte, error) { return v[key], nil }

func (v memoryView) Close() error { return nil }
