package sinks_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"connector/checkpoint"
	"connector/schema"
	"connector/sinks"
)

// log records what a publisher and a store were asked, in order.
type log struct {
	lines   []string
	publish func(call int) error
	save    func(call int) error
	calls   [2]int
}

func (l *log) Limits() sinks.Limits       { return sinks.Limits{MaxMessages: 7} }
func (l *log) Guarantee() sinks.Guarantee { return sinks.DedupedInWindow }
func (l *log) Close() error               { return nil }

func (l *log) Publish(_ context.Context, events, dead []schema.Message) error {
	line := "publish"
	for _, m := range events {
		line += " " + m.ID
	}
	for _, m := range dead {
		line += " dead:" + m.ID
	}
	l.lines = append(l.lines, line)
	l.calls[0]++
	return l.publish(l.calls[0])
}

func (l *log) Load(_ context.Context, yield func(checkpoint.Entry) error) error {
	return yield(checkpoint.Entry{Key: "k"})
}

func (l *log) Get(_ context.Context, key string) ([]byte, error) {
	return []byte("value of " + key), nil
}

func (l *log) Save(ctx context.Context, entries []checkpoint.Entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.lines = append(l.lines, "save "+entries[0].Key)
	l.calls[1]++
	return l.save(l.calls[1])
}

func messages(ids ...string) []schema.Message {
	var list []schema.Message
	for _, id := range ids {
		list = append(list, schema.Message{ID: id})
	}
	return list
}

var errBroken = errors.New("broken")

func failing(calls ...error) func(int) error {
	return func(n int) error {
		if n <= len(calls) {
			return calls[n-1]
		}
		return nil
	}
}

func TestPair(t *testing.T) {
	reject := func(r ...sinks.Rejection) error { return &sinks.RejectedError{Messages: r} }
	state := []checkpoint.Entry{{Key: "s"}}
	full := sinks.Commit{Events: messages("a", "b", "c"), Dead: messages("x"), State: state}
	tests := []struct {
		name    string
		publish func(int) error
		save    func(int) error
		commits []sinks.Commit
		errs    []string // of each commit, "" for none
		want    string
	}{
		{"acknowledged before saved", failing(), failing(), []sinks.Commit{full}, []string{""}, "[publish a b c dead:x save s]"},
		{"nothing to publish", failing(), failing(), []sinks.Commit{{State: state}}, []string{""}, "[save s]"},
		{"not acknowledged, not saved", failing(errBroken), failing(), []sinks.Commit{full, full},
			[]string{"publishing: broken", ""}, "[publish a b c dead:x publish a b c dead:x save s]"},
		{"saving fails, nothing is published again", failing(), failing(errBroken), []sinks.Commit{full, full},
			[]string{"saving checkpoint: broken", ""}, "[publish a b c dead:x save s save s]"},
		{"the next commit is published", failing(), failing(), []sinks.Commit{full, full},
			[]string{"", ""}, "[publish a b c dead:x save s publish a b c dead:x save s]"},
		{"rejected ones are replaced, the others not repeated",
			failing(reject(sinks.Rejection{Index: 1, Err: errBroken}), reject(sinks.Rejection{Dead: true, Index: 0, Err: errBroken})), failing(),
			[]sinks.Commit{full, {Events: messages("a", "c"), Dead: messages("x", "y"), State: state}, {Events: messages("a", "c"), Dead: messages("x", "z"), State: state}},
			[]string{"event 1", "dead 1", ""}, "[publish a b c dead:x publish dead:y publish dead:z save s]"},
	}
	for _, tt := range tests {
		l := &log{publish: tt.publish, save: tt.save}
		session, err := sinks.Pair(l, func(context.Context, string) (checkpoint.Store, error) { return l, nil }).Open(t.Context(), "u0")
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range tt.commits {
			if got := describe(session.Commit(t.Context(), c)); got != tt.errs[i] {
				t.Errorf("%s: commit %d: got %q, want %q", tt.name, i, got, tt.errs[i])
			}
		}
		if got := fmt.Sprint(l.lines); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

func describe(err error) string {
	if err == nil {
		return ""
	}
	r, ok := errors.AsType[*sinks.RejectedError](err)
	if !ok {
		return err.Error()
	}
	if r.Messages[0].Dead {
		return fmt.Sprint("dead ", r.Messages[0].Index)
	}
	return fmt.Sprint("event ", r.Messages[0].Index)
}

// An event and its replay in one commit are two messages.
func TestPairTellsReplaysApart(t *testing.T) {
	l := &log{publish: failing(), save: failing(errBroken)}
	session, err := sinks.Pair(l, func(context.Context, string) (checkpoint.Store, error) { return l, nil }).Open(t.Context(), "u0")
	if err != nil {
		t.Fatal(err)
	}
	first, again := schema.Message{ID: "a"}, schema.Message{ID: "a", Replay: "r1"}
	for _, events := range [][]schema.Message{{first}, {first, again}} {
		_ = session.Commit(t.Context(), sinks.Commit{Events: events, State: []checkpoint.Entry{{Key: "s"}}})
	}
	if got, want := fmt.Sprint(l.lines), "[publish a save s publish a save s]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A commit whose messages are acknowledged is saved even when ctx has ended
// meanwhile: otherwise a restart would publish them again.
func TestPairSavesAfterTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l := &log{save: failing(), publish: func(int) error { cancel(); return nil }}
	session, err := sinks.Pair(l, func(context.Context, string) (checkpoint.Store, error) { return l, nil }).Open(ctx, "u0")
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Commit(ctx, sinks.Commit{Events: messages("a"), State: []checkpoint.Entry{{Key: "s"}}}); err != nil {
		t.Error(err)
	}
	if got, want := fmt.Sprint(l.lines), "[publish a save s]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
