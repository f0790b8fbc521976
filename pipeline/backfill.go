package pipeline

import (
	"sync"
	"sync/atomic"
	"time"

	"connector/checkpoint"
	"connector/schema"
	"connector/sources"
)

// Backfill asks for a past range of some streams: what of it lies before
// the start of a stream, and was neither read nor asked for, is marked in the ledger
// and read when nothing else is to be read. Ranges that were marked before are read, too.
type Backfill struct {
	Account, Stream string       // whose streams; empty: all
	Span            sources.Span // both ends are cut to the stream's tick
	MarkOnly        bool         // end once the range is marked; a later run reads it
}

// chooses reports whether b asks for a stream; nil asks for none.
func (b *Backfill) chooses(s schema.Source) bool {
	return b != nil && (b.Account == "" || b.Account == s.Account) && (b.Stream == "" || b.Stream == s.Stream)
}

// span returns what b asks of a stream.
func (b *Backfill) span(s schema.Source, tick time.Duration) sources.Span {
	if !b.chooses(s) {
		return nothing
	}
	return sources.Span{From: b.Span.From.Truncate(tick), To: b.Span.To.Truncate(tick)}
}

// awaitBackfill calls end once every chosen stream has read what it marked,
// or has stopped; never without [Options.Backfill].
func (p *Pipeline) awaitBackfill(end func()) {
	var left atomic.Int64
	for _, r := range p.runners {
		r.filled = func() {}
		if p.opts.Backfill.chooses(r.from) {
			left.Add(1)
			r.filled = sync.OnceFunc(func() {
				if left.Add(-1) == 0 {
					end()
				}
			})
		}
	}
}

// checkFilled says so when no marked range is left.
func (r *runner) checkFilled() {
	if r.markOnly || len(r.ledger.In(checkpoint.Backfill)) == 0 {
		r.filled()
	}
}
