package scan

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"connector/sources"
)

// leastCap is the number of rows that any answer is taken to have room for
// when nothing else can tell: in a tick, and in a part of an answer.
const leastCap = 10

// AnswerFunc gives the rows whose time lies in span to take, all that the API
// has in one answer, in any order. It may give rows of the neighbouring ticks
// too. The rows have passed their checks. An error of take is to be returned
// or wrapped. Nil says that the answer was read to its end.
type AnswerFunc func(ctx context.Context, span sources.Span, take func(Row) error) error

// Split scans window by answers that have no pages. A hidden cap may cut
// them silently, to any of their rows, so each answer needs a proof:
//
//   - It is empty, or strictly smaller, in rows and bytes, than the largest
//     answer proven before. That is the common case, of one request.
//   - Else the span is cut at the median of the times in the answer and both
//     parts are asked for, the earlier one first: a row that changes moves on
//     in time. The parts prove the whole when they hold no row that it lacks,
//     and each is strictly smaller than an answer of this scan, which a cap
//     would have cut, too. A part that holds all rows proves nothing.
//   - Rows that arrive in between look like a cut. So the whole is asked for
//     again before it is given up and the parts are proven one by one.
//   - A single tick, which has no parts, is a [sources.GapError] unless it is strictly
//     smaller than an answer of this scan or than any cap can be.
//
// An answer that takes too long ends the scan by [ErrLate]. The next one asks for half as much
// at once, in parts one after the other, and after some answers in time for twice as much
// again: so what can only be answered in parts is read, and a provider that is down for
// a while is not asked for little for long.
//
// This is a proof for a cap in rows that does not change during a scan; one in
// bytes is found as far as rows are equally long. Rows are yielded as they are read,
// those of unproven answers too. Memory: 8 bytes a row of the answers that
// are compared, at most 2 MB each, and 16 of the one being read: a longer
// answer is not read to its end but counts as cut, as does one of which answer
// says so by [ErrLong].
func Split(ctx context.Context, window sources.Span, tick time.Duration, memory *Memory, answer AnswerFunc) iter.Seq2[sources.Chunk, error] {
	return Run(window, tick, func(c *Chunks) error {
		s := splitter{Chunks: c, tick: tick, memory: memory, answer: answer}
		for rest := window; !rest.Empty(); {
			part := memory.first(rest, tick)
			whole, err := s.ask(ctx, part)
			if err == nil {
				err = s.resolve(ctx, whole)
			}
			if err != nil {
				return err
			}
			rest.From = part.To.Add(tick)
		}
		return nil
	})
}

// splitter is one scan.
type splitter struct {
	*Chunks
	tick   time.Duration
	memory *Memory
	answer AnswerFunc
	seen   size  // the most rows, and the most bytes, of an answer of this scan
	capped int   // rows of an answer that was cut twice at the same number; 0: none
	ticks  ticks // of the answer being read
}

// ask makes one request.
func (s *splitter) ask(ctx context.Context, span sources.Span) (*digest, error) {
	d := newDigest(span, s.tick, s.memory.ruledOut(), &s.ticks)
	err := s.answer(ctx, span, func(r Row) error {
		if err := s.Add(r.Record); err != nil {
			return err
		}
		return d.add(r)
	})
	if errors.Is(err, ErrLate) {
		s.memory.late(span, s.tick)
	}
	if d.over = errors.Is(err, ErrLong); err != nil && !d.over {
		return nil, err
	}
	s.memory.answered(span, s.tick)
	d.finish()
	s.memory.ruleOut(d.outside)
	s.seen = s.seen.max(d.size)
	return d, nil
}

// resolve proves the span of an answer, by further ones if need be.
func (s *splitter) resolve(ctx context.Context, d *digest) error {
	switch {
	case !d.over && (d.rows == 0 || d.below(s.memory.proven())):
		return s.prove(d)
	case d.span.To.After(d.span.From):
		return s.split(ctx, d)
	case s.trusts(d):
		return s.prove(d)
	case d.over:
		return &sources.GapError{Span: d.span, Reason: fmt.Sprintf("the answer for this one instant is too long; %d rows of it were read", d.rows)}
	}
	return &sources.GapError{Span: d.span, Reason: fmt.Sprintf("the answer for this one instant holds %d rows, and no answer has shown that it can hold more", d.rows)}
}

// split proves the span of an answer by its parts.
func (s *splitter) split(ctx context.Context, whole *digest) error {
	cut := whole.cuts[s.memory.field()]
	left, err := s.ask(ctx, sources.Span{From: whole.span.From, To: cut})
	if err != nil {
		return err
	}
	right, err := s.ask(ctx, sources.Span{From: cut.Add(s.tick), To: whole.span.To})
	if err != nil {
		return err
	}
	if s.settles(whole, left, right) {
		return s.prove(whole)
	}
	if !whole.over && whole.rows != s.capped && !whole.holds(left, right) {
		again, err := s.ask(ctx, whole.span)
		if err != nil {
			return err
		}
		if s.settles(again, left, right) {
			return s.prove(again)
		}
		if again.rows == whole.rows {
			s.capped = again.rows
		}
	}
	if err := s.resolve(ctx, left); err != nil {
		return err
	}
	return s.resolve(ctx, right)
}

// settles reports whether two parts prove the whole.
func (s *splitter) settles(whole, left, right *digest) bool {
	return whole.holds(left, right) && s.trusts(left) && s.trusts(right)
}

// trusts reports whether an answer can not have been cut if caps do not
// change during a scan.
func (s *splitter) trusts(d *digest) bool {
	return !d.over && (d.rows < leastCap || d.below(s.seen))
}

// prove says that the answer to a span was complete.
func (s *splitter) prove(d *digest) error {
	s.memory.learn(d.size)
	return s.Prove(d.span.To)
}

// size is that of an answer.
type size struct {
	rows  int
	bytes int64
}

// below reports whether s is strictly smaller in every respect.
func (s size) below(o size) bool { return s.rows < o.rows && s.bytes < o.bytes }

func (s size) max(o size) size { return size{max(s.rows, o.rows), max(s.bytes, o.bytes)} }

// median returns after which tick to cut, so that the larger of the answers
// for the two parts is small: about the median of the sorted ticks. Both
// answers may hold the rows of the ticks next to the cut.
func median(ticks []int64) int64 {
	middle := ticks[len(ticks)/2]
	best, least := middle, len(ticks)+1
	for _, at := range []int64{middle - 1, middle, middle - 2, middle + 1} {
		before, _ := slices.BinarySearch(ticks, at)
		through, _ := slices.BinarySearch(ticks, at+2)
		if larger := max(through, len(ticks)-before); larger < least {
			best, least = at, larger
		}
	}
	return best
}
