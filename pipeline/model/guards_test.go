package model

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var removeGuards = flag.Bool("guards", false, "remove each guard of the product in turn and tell what the histories find")

// edit replaces a text that occurs once in a file.
type edit struct{ file, old, with string }

// guard is something in the product without which a history fails.
type guard struct {
	name      string
	edits     []edit
	redundant string // why no history fails; empty when one must
}

const (
	ledgerGo = "checkpoint/ledger.go"
	streamGo = "pipeline/stream.go"
	admitGo  = "pipeline/admit.go"
	commitGo = "pipeline/commit.go"
	chunksGo = "sources/scan/chunks.go"
	keysetGo = "sources/scan/keyset.go"
	pairGo   = "sinks/pair.go"
)

var (
	contiguity = edit{ledgerGo, "!s.From.After(b.head.settled.Add(tick)) && settled.After", "settled.After"}
	skipFailed = edit{streamGo, "return fmt.Errorf(\"reading %s of stream %s: %w\", w, r.stream.Name, err)", "_ = fmt.Errorf\n\t\t\treturn nil"}
)

var guards = []guard{
	{name: "Admit: a lower rank is stale", edits: []edit{{ledgerGo, "r.Rank < known.rank || ", ""}}},
	{name: "Admit: the latest print is stale", edits: []edit{{ledgerGo, "print == known.print || ", ""}}},
	{name: "Admit: the print before it is stale", edits: []edit{{ledgerGo, " || print == known.prev)", ")"}}},
	{name: "Admit: rows of one chunk know each other", edits: []edit{{ledgerGo, "if r, ok := b.changed[id]; ok {", "if r, ok := b.changed[id]; ok && false {"}}},
	{name: "Admit: a row at the edge of a window keeps its hour", edits: []edit{{admitGo, "Admit(rec, near)", "Admit(rec, w); _ = near"}}},
	{name: "Dead: no revision for a dead letter", edits: []edit{{ledgerGo, "rec.revision--", ""}}},
	{name: "Cover: settled lies behind by the lateness", edits: []edit{{ledgerGo, "seen.Add(-lateness)", "seen"}}},
	{name: "Cover: settled lies on the tick", edits: []edit{{ledgerGo, "seen.Add(-lateness).Truncate(tick)", "seen.Add(-lateness)"}}},
	{name: "Cover: settled ends with what is proven", edits: []edit{{ledgerGo, "if s.To.Before(settled) {", "if false {"}}},
	{name: "Cover: a span joins what is settled", edits: []edit{contiguity}, redundant: "windows follow each other, and a failed one ends the pass"},
	{name: "read: an error ends the pass", edits: []edit{skipFailed}},
	{name: "Open: nothing before the start", edits: []edit{{ledgerGo, "if from.Before(l.head.start) {", "if false {"}}},
	{name: "Forget: not before give-up", edits: []edit{{streamGo, "b.Forget(horizon)", "b.Forget(r.ledger.Settled())"}}},
	{name: "Forget: not after settled", edits: []edit{{ledgerGo, "if t.After(b.head.settled) {", "if false {"}}, redundant: "give-up is longer than the lateness"},
	{name: "Forget: its margin", edits: []edit{{ledgerGo, "t = t.Add(-forgetMargin)", ""}}},
	{name: "pass: begins at settled, not at the frontier", edits: []edit{{streamGo, "sources.Span{To: r.ledger.Settled()}", "sources.Span{To: r.ledger.Frontier()}"}}},
	{name: "pass: the head stays behind by the lag", edits: []edit{{streamGo, "now.Add(-r.account.Lag)", "now"}}},
	{name: "pass: the provider's time, not ours", edits: []edit{{streamGo, "\tif r.ledger == nil {", "\tnow = time.Now()\n\tif r.ledger == nil {"}}},
	{name: "watch: open hours are read again", edits: []edit{{streamGo, "if r.once || ", "if true || r.once || "}}},
	{name: "failed: the account waits when throttled", edits: []edit{{streamGo, "wait = max(wait, after)", "_ = after"}}},
	{name: "bury: poison becomes a dead letter", edits: []edit{{admitGo, "\t\t\tb.bury(rec, err)\n", ""}}},
	{name: "replace: a rejected event becomes a dead letter", edits: []edit{{admitGo, "\t\t\t\tb.bury(records[i], err)\n", ""}}},
	{name: "replace: a later version keeps its revision", edits: []edit{{admitGo, "if followed(records, i, refused) {", "if false && followed(records, i, refused) {"}}},
	{name: "commit: applied only when durable", edits: []edit{{commitGo, "wait := again.next()", "b.ledger.Apply()\n\t\treturn nil\n\t\twait := again.next()"}}},
	{name: "commit: state not before its messages", edits: []edit{{commitGo, "err := c.session.Commit(ctx, b.commit())",
		"all := b.commit()\n\t\terr := c.session.Commit(ctx, sinks.Commit{State: all.State})\n\t\tif err == nil && len(all.Events)+len(all.Dead) > 0 {\n\t\t\terr = c.session.Commit(ctx, all)\n\t\t}"}}},
	{name: "Pair: messages before state", edits: []edit{{pairGo, "if err := s.publish(ctx, c); err != nil {",
		"if err := s.store.Save(context.WithoutCancel(ctx), c.State); err != nil {\n\t\treturn err\n\t}\n\tif err := s.publish(ctx, c); err != nil {"}}},
	{name: "Pair: acknowledged messages are not repeated", edits: []edit{{pairGo, "if !s.stored[m.ID] {", "if true {"}}},
	{name: "Chunks: an unfinished answer proves nothing", edits: []edit{{chunksGo, "Proven: c.proven}", "Proven: c.window}"}}},
	{name: "Keyset: the tick of a page's last row is read again", edits: []edit{{keysetGo, "k.add(p, last.Add(-k.tick)), last", "k.add(p, last), last.Add(k.tick)"}}},
	{name: "Keyset: a tick that fills a page is enumerated", edits: []edit{{keysetGo, "k.enumerate(ctx, span.From), span.From", "k.add(p, span.From), span.From"}}},
	{name: "Keyset: one page of equal times shows no order", edits: []edit{{keysetGo, "case ordered && k.ascends:", "case ordered:"}}},
	{name: "Keyset: pages out of order halve the span", edits: []edit{{keysetGo, "return first, last, false", "last = r.Created"}}, redundant: "no page has shown the order"},
	{name: "Keyset: a full page proves no more than its rows", edits: []edit{{keysetGo, "if !p.Full {\n\t\t\treturn k.add(p, span.To)", "if true {\n\t\t\treturn k.add(p, span.To)"}}},
}

var verdict = regexp.MustCompile(`history (\d+), seed (\d+): [^:]*: (invariant \d+): (.*)`)

// TestGuards removes one guard at a time. Each removal must make a history
// fail, or be known as redundant.
func TestGuards(t *testing.T) {
	if !*removeGuards {
		t.Skip("run with -guards")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	table := "| without | fails | histories |\n|---|---|---|\n"
	for _, g := range guards {
		t.Run(g.name, func(t *testing.T) { table += g.check(t, root) })
	}
	t.Log("\n" + table)
}

// check fails unless a history does, and returns a row of the table.
func (g guard) check(t *testing.T, root string) string {
	t.Helper()
	found := g.remove(t, root)
	switch {
	case found == nil && g.redundant == "":
		t.Error("no history failed")
		return fmt.Sprintf("| %s | nothing | |\n", g.name)
	case found == nil:
		return fmt.Sprintf("| %s | nothing: %s | |\n", g.name, g.redundant)
	case g.redundant != "":
		t.Errorf("called redundant, but a history failed: %s", found[0])
	}
	return fmt.Sprintf("| %s | %s: %s | %s |\n", g.name, found[3], found[4], found[1])
}

// remove plays histories without the guard and returns what the first failure
// says, or nil.
func (g guard) remove(t *testing.T, root string) []string {
	t.Helper()
	dir := t.TempDir()
	replace := map[string]string{}
	for i, e := range g.edits {
		from := filepath.Join(root, e.file)
		text, err := os.ReadFile(from)
		if earlier, ok := replace[from]; ok {
			text, err = os.ReadFile(earlier)
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(text), e.old) != 1 {
			t.Fatalf("%s: %q occurs %d times in %s, want once", g.name, e.old, strings.Count(string(text), e.old), e.file)
		}
		to := filepath.Join(dir, fmt.Sprintf("%d.go", i))
		if err := os.WriteFile(to, []byte(strings.Replace(string(text), e.old, e.with, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[from] = to
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-count=1", "-overlay", file, "./pipeline/model", "-run", "TestHistories", "-histories", fmt.Sprint(full))
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	found := verdict.FindStringSubmatch(string(out))
	if err != nil && found == nil {
		t.Fatalf("%s: %s", g.name, out)
	}
	return found
}
