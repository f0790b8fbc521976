package nats

import (
	"strconv"

	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"connector/checkpoint"
	"connector/schema"
)

// maxBatch is how many messages the server takes in one atomic batch.
const maxBatch = 1000

// batch is what is stored as one: events, dead letters, and state, which ends
// with the fence. Only an import stores state without one.
type batch struct {
	events, dead []schema.Message
	state        []checkpoint.Entry
	fenced       bool // whether the last entry of state is the fence
}

func (b *batch) size() int { return len(b.events) + len(b.dead) + len(b.state) }

// encoder makes the messages of one batch after the other. A message is valid
// until the next one is made: nats.go copies what it sends.
type encoder struct {
	cfg      *Config
	at       place
	ttl      bool // whether the stream takes messages with a TTL
	subjects map[subjectKey]string
	names    map[string]string // of attributes, as headers
	lister   schema.Lister

	id    string
	seq   int
	msg   natsio.Msg
	state bool // whether msg is an entry of state

	structured bool // mode of msg, if it is none
}

type subjectKey struct {
	source schema.Source
	dead   bool
}

func newEncoder(cfg *Config, at place, ttl bool) *encoder {
	return &encoder{cfg: cfg, at: at, ttl: ttl, subjects: map[subjectKey]string{}, names: map[string]string{}}
}

// begin begins a batch.
func (e *encoder) begin(id string) {
	e.id, e.seq, e.state, e.structured, e.msg = id, 0, false, false, natsio.Msg{Header: natsio.Header{}}
}

// message returns an event or dead letter. Those of a batch come before its
// state.
func (e *encoder) message(m *schema.Message, dead bool) *natsio.Msg {
	key := subjectKey{m.Source, dead}
	if e.msg.Subject = e.subjects[key]; e.msg.Subject == "" {
		e.msg.Subject = subject(e.cfg.SubjectPrefix, m.Source, dead)
		e.subjects[key] = e.msg.Subject
	}
	if m.Structured != e.structured {
		e.msg.Header, e.structured = natsio.Header{}, m.Structured
	}
	e.next()
	if m.Replay == "" {
		delete(e.msg.Header, replayHeader)
	}
	for _, a := range e.lister.Attributes(m) {
		name := e.names[a.Name]
		if name == "" {
			name = headerPrefix + a.Name
			e.names[a.Name] = name
		}
		e.set(name, encodeValue(a.Value))
	}
	if m.Structured {
		e.set(contentTypeHeader, m.ContentType())
	}
	e.msg.Data = m.Body
	return &e.msg
}

// entry returns a state message.
func (e *encoder) entry(entry *checkpoint.Entry) *natsio.Msg {
	if !e.state { // the headers are those of an event
		e.msg.Header, e.state = natsio.Header{}, true
	}
	delete(e.msg.Header, deletedHeader)
	e.next()
	e.msg.Subject, e.msg.Data = e.at.subject(entry.Key), entry.Value
	if e.ttl {
		e.set(jetstream.MsgTTLHeader, ttlNever)
	}
	if entry.Value == nil {
		e.set(deletedHeader, deletedValue)
	}
	return &e.msg
}

// commit makes the message that was returned last the end of the batch, which
// is stored only while the unit's fence is the one with sequence expect.
func (e *encoder) commit(fence bool, expect uint64) {
	e.set(batchCommitHeader, "1")
	e.set(jetstream.ExpectedStreamHeader, e.cfg.Stream)
	e.set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(expect, 10))
	if !fence {
		e.set(jetstream.ExpectedLastSubjSeqSubjHeader, e.at.subject(checkpoint.FenceKey))
	}
}

func (e *encoder) next() {
	e.seq++
	e.set(batchHeader, e.id)
	e.set(batchSequenceHeader, strconv.Itoa(e.seq))
}

func (e *encoder) set(name, value string) {
	if values := e.msg.Header[name]; len(values) == 1 {
		values[0] = value
		return
	}
	e.msg.Header[name] = []string{value}
}
