package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"connector/checkpoint"
	"connector/internal/budget"
	"connector/internal/fault"
	"connector/schema"
	"connector/sources"
)

// runner moves the records of one stream. Between two readings it holds
// nothing but the ledger and what is to be read again.
type runner struct {
	account  Account
	stream   sources.Stream
	from     schema.Source
	format   schema.Format
	validate sampler
	prefix   string
	start    func(now time.Time) time.Time
	once     bool
	want     sources.Span // to be marked for backfill

	markOnly bool   // nothing is read
	filled   func() // to be called when no marked range is left; may be called again

	pages   *checkpoint.Pages
	ledger  *checkpoint.Ledger // nil until the first reading of a new stream
	clock   clock
	plan    plan
	present presence
	doubted bool // whether it was logged that the stream is silent
	early   bool // whether it was logged that its start lies in the future
	commits *committer
	shared  *shared
	retry   *retry
	failing failures
	log     *slog.Logger
	metrics *streamMetrics
	status  *status
}

// run reads the stream again and again until ctx ends or a fatal error.
func (r *runner) run(ctx context.Context) error {
	if r.once && !r.outwaitLag(ctx) {
		return nil
	}
	for {
		due := time.Now().Add(r.account.Poll)
		var wait time.Duration
		switch err := r.pass(ctx, due); {
		case err == nil && r.once:
			return nil
		case err == nil:
			r.worked()
			wait = time.Until(due)
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the end of ctx is how a run ends
		default:
			if err := r.ends(err); err != nil {
				return err
			}
			wait = r.failed(err, due)
		}
		if !r.status.sleep(ctx, wait) {
			return nil
		}
	}
}

// ends returns the error with which err ends the stream, nil when reading is
// to be tried again.
func (r *runner) ends(err error) error {
	switch {
	case isSinkFailure(err):
	case fault.IsFatal(err):
		err = fmt.Errorf("account %s: %w", r.account.Name, err)
	default:
		return nil
	}
	r.shared.stop(r.log, err)
	return err
}

// clockStep is how far a provider's clock may lag behind its time: HTTP dates
// are cut to the second.
const clockStep = time.Second

// outwaitLag waits until what the provider calls now may be read.
func (r *runner) outwaitLag(ctx context.Context) bool {
	return r.status.sleep(ctx, r.account.Lag+max(r.stream.Tick, clockStep)+clockStep/10)
}

// failed notes a transient error and returns how long to wait: until the next
// pass is due when the newest window was read, unless all is to be read once.
func (r *runner) failed(err error, due time.Time) time.Duration {
	wait := r.retry.next()
	if _, newest := errors.AsType[laterError](err); newest && !r.once {
		r.retry.reset()
		wait = time.Until(due)
	}
	if after, throttled := fault.RetryAfter(err); throttled {
		wait = max(wait, after)
		r.account.Budget.Hold(wait)
	}
	r.metrics.errors.Inc()
	r.status.bad(err)
	say := r.log.Debug
	if r.failing.add() {
		say = r.log.Warn
	}
	say("reading stopped, trying again", "error", err, "failures", r.failing.count, "wait", wait.Round(time.Millisecond).String())
	return wait
}

// worked notes that a pass was in order.
func (r *runner) worked() {
	r.retry.reset()
	r.status.good()
	if r.failing.count > 0 {
		r.log.Info("reading works again", "failures", r.failing.count)
	}
	r.failing = failures{}
}

// A pass may take longer than a poll interval when there is much to read: what
// is new yields to what is young after three of them, and that to the rest
// after one, so that it has a quarter of the time at least.
const liveShare = 3

// pass reads up to the head, then what is young, then the rest until the next
// pass is due.
func (r *runner) pass(ctx context.Context, due time.Time) error {
	if !r.status.sleep(ctx, r.account.Budget.Held()) {
		return ctx.Err()
	}
	now, err := r.account.Source.Now(ctx)
	if err != nil {
		return err
	}
	if now, err = r.clock.check(now); err != nil {
		return err
	}
	if err := r.begin(ctx, now); err != nil {
		return err
	}
	if r.checkFilled(); r.markOnly {
		return nil
	}
	defer r.checkFilled()
	r.plan.begin(r, now)
	live := r.turn(budget.Live, time.Now().Add(liveShare*r.account.Poll))
	if _, err := r.read(ctx, r.plan.live, live); err != nil {
		return err
	}
	if err := r.settle(ctx, r.turn(budget.Settle, time.Now().Add(r.account.Poll))); err != nil {
		return err
	}
	return r.rest(ctx, r.turn(budget.Rest, due))
}

// begin makes the ledger of a new stream, and notes what is new about an old one.
func (r *runner) begin(ctx context.Context, now time.Time) error {
	if r.ledger == nil {
		r.ledger = checkpoint.New(r.account.Name, r.stream, r.start(now).Truncate(r.stream.Tick), r.pages)
	}
	b, err := r.stage(ctx)
	if err != nil {
		return err
	}
	r.await(b, now)
	if b.ledger.Configure(r.account.Digest) {
		r.reopen(b, sources.Span{From: r.ledger.SilentSince(), To: r.ledger.End()}, "the configuration changed")
	}
	wanted, first := b.ledger.Want(r.want), !r.want.Empty()
	if err := r.commits.commit(ctx, b); err != nil {
		return err
	}
	for _, s := range wanted {
		r.log.Info("marked for backfill", "from", s.From, "to", s.To)
	}
	r.want = nothing
	if r.show(); first {
		r.status.mark()
	}
	return nil
}

// await gives a stream whose start lies in the future the start that is
// configured now, unless anything was read from its own on: then it is the provider's
// clock that is wrong.
func (r *runner) await(b *batch, now time.Time) {
	if !r.ledger.Start().After(now) || !r.ledger.End().Before(r.ledger.Start()) {
		return
	}
	start := r.start(now).Truncate(r.stream.Tick)
	if b.ledger.Restart(start); start.After(now) && !r.early {
		r.early = true
		r.log.Warn("nothing is read yet: the start lies in the future; if that is wrong, correct CONNECTOR_START", "start", start)
	}
}

// nothing is an empty span.
var nothing = sources.Span{From: time.Unix(1, 0), To: time.Unix(0, 0)}

// turn is a stretch of reading.
type turn struct {
	class    budget.Class
	until    time.Time // when it yields once it has proven something, or listed a gap; zero: never
	now      time.Time // the provider's
	backfill bool      // it reads what is marked for backfill
}

func (r *runner) turn(class budget.Class, until time.Time) turn {
	t := turn{class: class, until: until, now: r.plan.now}
	if r.once {
		t.until = time.Time{}
	}
	return t
}

// over reports whether the turn is to yield.
func (t turn) over() bool { return !t.until.IsZero() && time.Now().After(t.until) }

// settle reads what is young and due.
func (r *runner) settle(ctx context.Context, t turn) error {
	for list := r.plan.settle; ; {
		w, ok := r.window(list)
		if !ok {
			return nil
		}
		reached, err := r.read(ctx, w, t)
		if err != nil {
			return r.later(w, err)
		}
		delete(r.plan.postponed, w.From)
		if list = after(list, reached.Add(r.stream.Tick)); t.over() {
			return nil
		}
	}
}

// rest reads what nothing waits for, and at least one window of it.
func (r *runner) rest(ctx context.Context, t turn) error {
	for {
		task, ok := r.plan.next(r)
		if !ok {
			return nil
		}
		began := time.Now()
		t.backfill = task.kind == backfill
		reached, err := r.read(ctx, task.window, t)
		if err != nil {
			r.plan.done(task, task.window.To.Add(r.stream.Tick), time.Since(began))
			return r.later(task.window, err)
		}
		delete(r.plan.postponed, task.window.From)
		r.plan.done(task, reached.Add(r.stream.Tick), time.Since(began))
		if t.over() {
			return nil
		}
	}
}

// laterError says that a window failed although the newest one did not: the
// others go on.
type laterError struct{ error }

func (e laterError) Unwrap() error { return e.error }

func (r *runner) later(w sources.Span, err error) error {
	pending := slices.Concat(r.ledger.In(checkpoint.Unread), r.ledger.In(checkpoint.Backfill))
	r.plan.postpone(w, r.account.Poll, pending)
	return laterError{err}
}
