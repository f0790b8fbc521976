package sourcetest_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"connector/internal/fault"
	"connector/sources"
	"connector/sources/sourcetest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func TestGoodSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if got := sourcetest.Check(t.Context(), harness(t.Context(), func(*fake, int) {})); got != nil {
			t.Errorf("got %v, want no breach", got)
		}
	})
}

// broken is a source that breaks a rule, or several: those that want names.
type broken struct {
	name, want string
	spoil      func(f *fake, opened int)
}

// TestBrokenSources breaks one rule each and wants the breaches that follow, and no others. One after the other: the
// memory that is measured is the process's.
func TestBrokenSources(t *testing.T) {
	for _, tt := range slices.Concat(brokenAccounts(), brokenRecords(), brokenChunks(), brokenScans(), brokenEvents()) {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := sourcetest.Check(t.Context(), harness(t.Context(), tt.spoil))
				if rules(got) != tt.want {
					t.Errorf("got breaches of %q, want %q: %v", rules(got), tt.want, got)
				}
			})
		})
	}
}

// TestHarness has wrong harnesses for a good source.
func TestHarness(t *testing.T) {
	opened := 0
	fails := func(nth int) func(*sourcetest.Harness) {
		return func(h *sourcetest.Harness) {
			good := h.Open
			h.Open = func(log *slog.Logger) (sources.Source, error) {
				if opened++; opened >= nth {
					return nil, errors.New("no more")
				}
				return good(log)
			}
		}
	}
	tests := []struct {
		name, want string
		change     func(*sourcetest.Harness)
	}{
		{"no failures", "harness", func(h *sourcetest.Harness) { h.Failures = nil }},
		{"large in the window", "harness", func(h *sourcetest.Harness) { h.Large = h.Window }},
		{"large is small", "harness", func(h *sourcetest.Harness) { h.Large.To = h.Large.From }},
		{"the machine's clock", "harness", func(h *sourcetest.Harness) { h.Clock = time.Now }},
		{"change does nothing", "harness", func(h *sourcetest.Harness) { h.Change = func() string { return "" } }},
		{"change is left out", "terminal", func(h *sourcetest.Harness) { h.Change = nil }},
		{"late row of no avail", "late", func(h *sourcetest.Harness) { h.Late = func() string { return "never" } }},
		{"no such stream", "streams", func(h *sourcetest.Harness) { h.Stream = "other" }},
		{"no source", "open", fails(1)},
		{"no second source", "open", fails(2)},
	}
	for _, tt := range tests {
		opened = 0
		h := harness(t.Context(), func(*fake, int) {})
		tt.change(&h)
		if got := rules(sourcetest.Check(t.Context(), h)); got != tt.want {
			t.Errorf("%s: got breaches of %q, want %q", tt.name, got, tt.want)
		}
	}
}

func brokenAccounts() []broken {
	streams := func(change func(*sources.Stream)) func(*fake, int) {
		return func(f *fake, _ int) {
			f.streams = func() []sources.Stream { s := only; change(&s); return []sources.Stream{s} }
		}
	}
	return []broken{
		{"stream is missing", "streams", func(f *fake, _ int) { f.streams = func() []sources.Stream { return nil } }},
		{"streams differ", "streams", func(f *fake, opened int) {
			f.streams = func() []sources.Stream { s := only; s.MaxWindow += time.Duration(opened); return []sources.Stream{s} }
		}},
		{"two streams of one name", "streams", func(f *fake, _ int) { f.streams = func() []sources.Stream { return []sources.Stream{only, only} } }},
		{"stream without longest window", "streams", streams(func(s *sources.Stream) { s.MaxWindow = 0 })},
		{"stream that leaves without channel", "event streams", streams(func(s *sources.Stream) { s.Leaves = true })},
		{"secret in the filters", "secret", streams(func(s *sources.Stream) { s.Filters = "key=canary" })},
		{"owner is a secret", "secret", func(f *fake, _ int) { f.owner = func() string { return "canary" } }},
		{"owner differs", "owner", func(f *fake, opened int) { f.owner = func() string { return fmt.Sprint(opened) } }},
		{"owner is forgotten", "owner", func(f *fake, _ int) {
			f.owner = func() string {
				if f.p.version.Load() > 0 {
					return ""
				}
				return "company"
			}
		}},
		{"now in the future", "now", func(f *fake, _ int) {
			f.now = func(ctx context.Context) (time.Time, error) { return f.p.clock().Add(time.Millisecond), ctx.Err() }
		}},
		{"now fails", "now", func(f *fake, _ int) {
			f.now = func(ctx context.Context) (time.Time, error) {
				return time.Time{}, cmp.Or(ctx.Err(), errors.New("no time"))
			}
		}},
		{"now far behind", "now", func(f *fake, _ int) {
			f.now = func(ctx context.Context) (time.Time, error) { return f.p.clock().Add(-time.Minute), ctx.Err() }
		}},
		{"now of the machine", "now", func(f *fake, _ int) {
			f.now = func(ctx context.Context) (time.Time, error) { return time.Now(), ctx.Err() }
		}},
		{"now of the machine when the provider is down", "now", func(f *fake, _ int) {
			f.now = func(ctx context.Context) (time.Time, error) {
				if f.p.down.Load() {
					return time.Now(), nil
				}
				return f.p.clock(), ctx.Err()
			}
		}},
		{"now guesses too late a time when the provider is down", "now", func(f *fake, _ int) {
			f.now = func(ctx context.Context) (time.Time, error) {
				if f.p.down.Load() {
					return f.p.clock().Add(time.Minute), nil
				}
				return f.p.clock(), ctx.Err()
			}
		}},
		{"now ignores its context", "cancel", func(f *fake, _ int) {
			f.now = func(context.Context) (time.Time, error) { return f.p.clock(), nil }
		}},
		{"now rejects", "mark", func(f *fake, _ int) {
			f.now = func(ctx context.Context) (time.Time, error) {
				if f.p.down.Load() {
					return time.Time{}, fault.Reject("decode", errors.New("no time"))
				}
				return f.p.clock(), ctx.Err()
			}
		}},
		{"now hides why it ended", "cancel", func(f *fake, _ int) {
			good := f.now
			f.now = func(ctx context.Context) (time.Time, error) {
				if f.p.hangs.Load() {
					<-ctx.Done()
					return time.Time{}, errors.New("interrupted")
				}
				return good(ctx)
			}
		}},
		{"now hangs", "cancel leak", func(f *fake, _ int) {
			good := f.now
			f.now = func(ctx context.Context) (time.Time, error) {
				if f.p.hangs.Load() {
					<-f.p.outlast.Done()
				}
				return good(ctx)
			}
		}},
		{"secret in the log", "secret", func(f *fake, _ int) { f.log.Debug("asking", "url", "https://x?key=canary") }},
	}
}

// rows changes the records of each scan.
func rows(change func(p *provider, rows []sources.Record) []sources.Record) func(*fake, int) {
	return func(f *fake, _ int) {
		f.rows = func(w sources.Span) []sources.Record { return change(f.p, f.p.rows(w)) }
	}
}

// each changes each record.
func each(change func(p *provider, r *sources.Record)) func(*fake, int) {
	return rows(func(p *provider, rows []sources.Record) []sources.Record {
		for i := range rows {
			change(p, &rows[i])
		}
		return rows
	})
}

func brokenRecords() []broken {
	var print atomic.Int64
	drop := func(id string) func(*provider, []sources.Record) []sources.Record {
		return func(_ *provider, rows []sources.Record) []sources.Record {
			return slices.DeleteFunc(rows, func(r sources.Record) bool { return r.ID == id })
		}
	}
	return []broken{
		{"row lost", "scan", rows(drop("7"))},
		{"good row rejected", "scan", each(func(_ *provider, r *sources.Record) {
			if r.ID == "7" {
				r.Fault = fault.Reject("decode", errors.New("wrongly"))
			}
		})},
		{"poison row lost", "poison", rows(drop("100"))},
		{"poison row twice", "poison", rows(func(_ *provider, rows []sources.Record) []sources.Record {
			more := rows[len(rows)-1]
			more.ID += "again"
			return append(rows, more)
		})},
		{"poison row without mark", "reject", each(func(_ *provider, r *sources.Record) {
			if r.Fault != nil {
				r.Fault = errors.New("poison")
			}
		})},
		{"poison row without class", "reject", each(func(_ *provider, r *sources.Record) {
			if r.Fault != nil {
				r.Fault = fault.Reject("", errors.New("poison"))
			}
		})},
		{"two rows with one id", "record scan", each(func(_ *provider, r *sources.Record) {
			if r.ID == "7" {
				r.ID, r.Raw = "8", []byte("[]")
			}
		})},
		{"print differs between scans", "again change failure late recovery", each(func(_ *provider, r *sources.Record) { r.Print += fmt.Sprint(print.Add(1)) })},
		{"print differs between sources", "again", func(f *fake, opened int) {
			each(func(_ *provider, r *sources.Record) { r.Print += fmt.Sprint(opened) })(f, opened)
		}},
		{"id differs between sources", "again", func(f *fake, opened int) {
			each(func(_ *provider, r *sources.Record) {
				if r.Fault != nil {
					r.ID += fmt.Sprint(opened)
				}
			})(f, opened)
		}},
		{"secret in the print", "secret", each(func(_ *provider, r *sources.Record) { r.Print += "canary" })},
		{"no print", "record", each(func(_ *provider, r *sources.Record) {
			if r.ID == "7" {
				r.Print = ""
			}
		})},
		{"id too long", "record", each(func(_ *provider, r *sources.Record) {
			if r.Fault != nil {
				r.ID = strings.Repeat("x", 513)
			}
		})},
		{"id is no hash of the row", "record", each(func(_ *provider, r *sources.Record) {
			if r.Fault != nil {
				r.ID = sources.HashID + strings.Repeat("0", 64)
			}
		})},
		{"size missing", "record", each(func(_ *provider, r *sources.Record) { r.Size = 0 })},
		{"hash missing", "record", each(func(_ *provider, r *sources.Record) {
			if r.Fault != nil {
				r.Size = 3
			}
		})},
		{"good row cut", "record", each(func(_ *provider, r *sources.Record) {
			if r.ID == "7" {
				r.Size, r.SHA256 = 3, strings.Repeat("0", 64)
			}
		})},
		{"row is not JSON", "record", each(func(_ *provider, r *sources.Record) {
			if r.ID == "7" {
				r.Raw, r.Size = []byte("<row/>"), 6
			}
		})},
		{"good row without time", "record", each(func(_ *provider, r *sources.Record) {
			if r.ID == "7" {
				r.Created = time.Time{}
			}
		})},
		{"print misses a change", "print", each(func(_ *provider, r *sources.Record) { r.Print = "p" })},
		{"rank falls", "rank", each(func(_ *provider, r *sources.Record) { r.Rank = -r.Rank })},
		{"terminal row changes", "terminal", each(func(_ *provider, r *sources.Record) { r.Terminal = true })},
		{"creation moves", "created", each(func(p *provider, r *sources.Record) {
			if v := p.version.Load(); r.ID == "5" && v > 0 {
				r.Created = r.Created.Add(-time.Duration(v) * time.Second)
			}
		})},
		{"changed row lost", "change", rows(func(p *provider, rows []sources.Record) []sources.Record {
			if p.version.Load() > 0 {
				rows = drop("5")(p, rows)
			}
			return rows
		})},
		{"neighbour of a changed row lost", "change", rows(func(p *provider, rows []sources.Record) []sources.Record {
			if p.version.Load() > 0 {
				rows = drop("6")(p, rows)
			}
			return rows
		})},
		{"late row lost", "late", rows(drop("late"))},
	}
}

// TestGuideListsTheRules compares the table of the guide with the rules that
// are broken here.
func TestGuideListsTheRules(t *testing.T) {
	guide, err := os.ReadFile("../../docs/adding-a-source.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(guide), "\n| rule | of |\n")
	if !found {
		t.Fatal("the guide has no table of the rules")
	}
	table, _, _ := strings.Cut(rest, "\n\n")
	var got []string
	for row := range strings.Lines(table) {
		first, _, _ := strings.Cut(strings.TrimPrefix(row, "|"), "|")
		for _, m := range regexp.MustCompile("`([a-z]+)`").FindAllStringSubmatch(first, -1) {
			got = append(got, m[1])
		}
	}
	want := []string{"harness", "open"} // broken by TestHarness
	for _, b := range slices.Concat(brokenAccounts(), brokenRecords(), brokenChunks(), brokenScans(), brokenEvents()) {
		want = append(want, strings.Fields(b.want)...)
	}
	slices.Sort(got)
	slices.Sort(want)
	if want = slices.Compact(want); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
