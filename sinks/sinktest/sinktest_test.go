package sinktest

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"connector/checkpoint"
	"connector/schema"
	"connector/sinks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCheckAcceptsGoodSinks(t *testing.T) {
	tests := []struct {
		grants sinks.Guarantee
		change func(*Target)
	}{
		{sinks.ExactlyOnce, func(*Target) {}},
		{sinks.ExactlyOnceCommitted, func(*Target) {}},
		{sinks.OnceUnlessZombie, func(*Target) {}},
		{sinks.DedupedInWindow, func(*Target) {}},
		{sinks.ExactlyOnceUnlessCrash, func(*Target) {}},
		{sinks.ExactlyOnce, func(t *Target) { t.View, t.Damage, t.Trouble, t.OneUnit = nil, nil, nil, true }},
		{sinks.ExactlyOnce, func(t *Target) { t.OneUnit = true }},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			target := newMemory(tt.grants, fakeFault{}).target()
			tt.change(&target)
			if err := Check(t.Context(), target); err != nil {
				t.Errorf("%s: %v", tt.grants, err)
			}
		})
	}
}

// change returns a fault that alters one message of each commit that has several.
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

func reversed(_ *memory, all []sinks.Received) []sinks.Received {
	slices.Reverse(all)
	return all
}

func TestCheckRefusesBrokenSinks(t *testing.T) {
	const once, marks, window, crash = sinks.ExactlyOnce, sinks.OnceUnlessZombie, sinks.DedupedInWindow, sinks.ExactlyOnceUnlessCrash
	tests := []struct {
		name   string
		grants sinks.Guarantee
		breaks fakeFault
		want   string // the check that notices
	}{
		{"drops one", once, fakeFault{publish: func(_ *memory, all []sinks.Received) []sinks.Received { return all[:max(0, len(all)-1)] }}, "round trip"},
		{"drops one of a large commit", once, fakeFault{publish: func(_ *memory, all []sinks.Received) []sinks.Received { return all[:min(len(all), 60)] }}, "largest commit"},
		{"does not take what its limit says", once, fakeFault{few: 99}, "largest commit"},
		{"drops dead letters", once, fakeFault{publish: func(_ *memory, all []sinks.Received) []sinks.Received {
			return slices.DeleteFunc(all, func(r sinks.Received) bool { return r.Dead })
		}}, "dead letters"},
		{"duplicates", crash, fakeFault{publish: func(_ *memory, all []sinks.Received) []sinks.Received {
			return append(all, all[:min(len(all), 1)]...)
		}}, "round trip"},
		{"does not dedupe as promised", window, fakeFault{publish: func(m *memory, all []sinks.Received) []sinks.Received {
			m.ids = map[string]bool{}
			return all
		}}, "repeated"},
		{"takes a replay for a repetition", once, fakeFault{byID: true}, "replayed"},
		{"reorders", once, fakeFault{publish: func(_ *memory, all []sinks.Received) []sinks.Received {
			if n := len(all); n > 1 {
				all[0], all[n-2] = all[n-2], all[0]
			}
			return all
		}}, "order"},
		{"reads the whole event as data", once, fakeFault{raw: true}, "structured mode"},
		{"reverses versions", once, fakeFault{publish: reversed}, "order"},
		{"mangles Unicode", once, fakeFault{publish: setAttribute("subject", func(s string) string { return strings.ToValidUTF8(strings.Map(ascii, s), "") })}, "round trip"},
		{"trims spaces", once, fakeFault{publish: setAttribute("subject", strings.TrimSpace)}, "round trip"},
		{"decodes percent signs twice", once, fakeFault{publish: setAttribute("subject", func(s string) string { return strings.ReplaceAll(s, "%41", "A") })}, "round trip"},
		{"loses an attribute", once, fakeFault{publish: change(func(m *sinks.Received) { m.Attributes = m.Attributes[:7] })}, "round trip"},
		{"adds an attribute", once, fakeFault{publish: change(func(m *sinks.Received) { m.Attributes = append(m.Attributes, schema.Attribute{Name: "extra"}) })}, "round trip"},
		{"cuts long ids", once, fakeFault{publish: setAttribute("subject", func(s string) string { return s[:min(len(s), 1024)] })}, "round trip"},
		{"rewrites the body", once, fakeFault{publish: change(func(m *sinks.Received) { m.Body = bytes.TrimSpace(m.Body) })}, "round trip"},
		{"wrong key", once, fakeFault{publish: change(func(m *sinks.Received) { m.Key = "same" })}, "round trip"},
		{"does not mark dead letters", once, fakeFault{publish: change(func(m *sinks.Received) { m.Dead = false })}, "dead letters"},
		{"marks events as dead letters", once, fakeFault{publish: change(func(m *sinks.Received) { m.Dead = true })}, "round trip"},
		{"acknowledges before it stores", once, fakeFault{late: true}, "round trip"},
		{"commits after close", once, fakeFault{reopens: true}, "closed"},
		{"tail shows dead letters unasked", once, fakeFault{tail: func(o *sinks.TailOptions) { o.Dead = true }}, "tail"},
		{"tail hides dead letters", once, fakeFault{tail: func(o *sinks.TailOptions) { o.Dead = false }}, "dead letters"},
		{"tail always from the start", once, fakeFault{tail: func(o *sinks.TailOptions) { o.FromStart = true }}, "tail"},
		{"tail from the start forgets the past when following", once, fakeFault{tail: func(o *sinks.TailOptions) { o.FromStart = o.FromStart && !o.Follow }}, "tail follows"},
		{"tail does not follow", once, fakeFault{tail: func(o *sinks.TailOptions) { o.Follow = false }}, "tail follows"},
		{"tail drops yield's error", once, fakeFault{deaf: true}, "tail"},

		{"ignores its limit", once, fakeFault{noLimit: true}, "rejected"},
		{"forgets the neighbours of a rejected message", once, fakeFault{forgets: true}, "rejected"},
		{"leaks a rejected commit", once, fakeFault{leaks: true}, "rejected"},
		{"lists only the first rejection", once, fakeFault{first: true}, "rejected"},
		{"names the wrong message", once, fakeFault{wrong: true}, "rejected"},
		{"rejects at the limit", once, fakeFault{small: true}, "rejected"},

		{"claims what is no guarantee", once, fakeFault{grants: func(sinks.Guarantee) sinks.Guarantee { return "exactly twice" }}, "guarantee"},
		{"claims more than it does", crash, fakeFault{noFence: true, grants: func(sinks.Guarantee) sinks.Guarantee { return once }}, "fence"},
		{"says that state after messages is exactly once", marks, fakeFault{grants: func(sinks.Guarantee) sinks.Guarantee { return once }}, "crash before the state is saved"},

		{"saves no state", once, fakeFault{noState: true}, "state"},
		{"saves state at Close", once, fakeFault{onClose: true}, "crash"},
		{"yields the fence", once, fakeFault{yields: func(s map[string][]byte) { s[checkpoint.FenceKey] = []byte("fence") }}, "round trip"},
		{"yields the manifest", once, fakeFault{yields: func(s map[string][]byte) { s[checkpoint.ManifestKey] = []byte("manifest") }}, "round trip"},
		{"yields pages", once, fakeFault{yields: func(s map[string][]byte) { s[prefix+"b/2026010300/0000"] = []byte("before") }}, "pages"},
		{"forgets an entry", once, fakeFault{yields: func(s map[string][]byte) { delete(s, prefix+"i") }}, "state"},
		{"ignores nil deletes", once, fakeFault{noDelete: true}, "deleted state"},
		{"deletes the empty value", once, fakeFault{noEmpty: true}, "deleted state"},
		{"gets nothing", once, fakeFault{get: func(string, []byte) []byte { return nil }}, "pages"},
		{"gets what is not there", once, fakeFault{get: func(_ string, v []byte) []byte { return append([]byte{}, v...) }}, "pages"},
		{"cuts large pages", once, fakeFault{get: func(_ string, v []byte) []byte { return v[:min(len(v), 1<<16)] }}, "large state"},
		{"writes over what was got", once, fakeFault{inPlace: true}, "pages"},
		{"gets old pages", once, fakeFault{get: oldPages()}, "got beside a commit"},
		{"shares state among units", once, fakeFault{shares: true}, "units apart"},
		{"forgets a manifest stream", once, fakeFault{noManifest: true}, "lost entry"},
		{"begins anew when an entry is lost", once, fakeFault{anew: true}, "lost entry"},
		{"view shows less", once, fakeFault{view: func(_ *memory, s map[string][]byte) { delete(s, headKey) }}, "view"},
		{"view shows no pages", once, fakeFault{view: func(_ *memory, s map[string][]byte) { delete(s, prefix+"b/2026010700/0000") }}, "view"},
		{"view takes over", once, fakeFault{view: func(m *memory, _ map[string][]byte) {
			m.units[mainUnit][checkpoint.FenceKey] = checkpoint.NewUnit("viewer").Commit(nil, created)[0].Value
		}}, "view"},
		{"views what does not exist", once, fakeFault{noUnit: true}, "view"},

		{"commits for an ended context", once, fakeFault{anyCtx: true}, "ended context"},
		{"keeps half a commit", once, fakeFault{half: true}, "cancelled commit"},
		{"saves state before events", marks, fakeFault{saveFirst: true}, "cancelled commit"},
		{"repeats after a transient error", once, fakeFault{repeats: true}, "trouble"},
		{"repeats after a transient error, with marks", marks, fakeFault{repeats: true}, "trouble"},
		{"drops the fence", once, fakeFault{noFence: true}, "fence"},
		{"tells an earlier owner to go on", once, fakeFault{noFatal: true}, "fence"},
		{"recovers no marks", marks, fakeFault{recovers: func([][]byte) [][]byte { return nil }}, "crash before the state is saved"},
		{"forgets a mark", marks, fakeFault{recovers: func(m [][]byte) [][]byte { return m[:max(0, len(m)-1)] }}, "crash before the state is saved"},
		{"recovers marks out of order", marks, fakeFault{recovers: func(m [][]byte) [][]byte { slices.Reverse(m); return m }}, "crash before the state is saved"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				if err := checkAlone(t, newMemory(tt.grants, tt.breaks).target(), tt.want); err == nil {
					t.Errorf("the check %q does not notice", tt.want)
				}
			})
		})
	}
}

// checkAlone is Check with one of its checks.
func checkAlone(t *testing.T, target Target, name string) error {
	t.Helper()
	r := newRun(t.Context(), target)
	if err := r.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := checks()
	i := slices.IndexFunc(all, func(c check) bool { return c.name == name })
	if i < 0 {
		t.Fatalf("there is no check %q", name)
	}
	err := r.one(t.Context(), all[i])
	t.Log(err)
	return err
}

// oldPages gets the first version of a page now and then.
func oldPages() func(string, []byte) []byte {
	calls := 0
	return func(key string, v []byte) []byte {
		if calls++; calls%3 == 0 && strings.HasPrefix(key, prefix+"b/2026010500") {
			return []byte("version 0")
		}
		return v
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
		target := newMemory(sinks.ExactlyOnce, fakeFault{}).target()
		open := target.Open
		target.Open = func(ctx context.Context) (sinks.Sink, error) {
			s, err := open(ctx)
			return hangingSink{s, release}, err
		}
		err := checkAlone(t, target, "ended context")
		close(release)
		if err == nil || !strings.Contains(err.Error(), "goes on") {
			t.Errorf("got %v, want a complaint that the commit goes on", err)
		}
	})
}

type hangingSink struct {
	sinks.Sink
	release chan struct{}
}

func (h hangingSink) Open(ctx context.Context, unit string) (sinks.Session, error) {
	s, err := h.Sink.Open(ctx, unit)
	return hanging{s, h.release}, err
}

// hanging ignores its context until released.
type hanging struct {
	sinks.Session
	release chan struct{}
}

func (h hanging) Commit(ctx context.Context, _ sinks.Commit) error {
	<-h.release
	return ctx.Err()
}
