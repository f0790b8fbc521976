package model

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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
	batchGo  = "checkpoint/batch.go"
	streamGo = "pipeline/stream.go"
	leftGo   = "checkpoint/left.go"
	planGo   = "pipeline/plan.go"
	readGo   = "pipeline/read.go"
	clockGo  = "pipeline/clock.go"
	admitGo  = "pipeline/admit.go"
	letterGo = "pipeline/letter.go"
	commitGo = "pipeline/commit.go"
	chunksGo = "sources/scan/chunks.go"
	keysetGo = "sources/scan/keyset.go"
	pairGo   = "sinks/pair.go"
	markGo   = "checkpoint/mark.go"
)

var guards = []guard{
	{name: "Admit: a lower rank is stale", edits: []edit{{batchGo, "ranked && rank < was.rank || ", ""}}},
	{name: "Admit: the latest print is stale", edits: []edit{{batchGo, "print == was.print || ", ""}}},
	{name: "Admit: the print before it is stale", edits: []edit{{batchGo, " || was.prev != 0 && uint32(print>>16) == was.prev)", ")"}}},
	{name: "Admit: rows of one chunk know each other", edits: []edit{{batchGo, "s, ok := b.records[id]\n\tif !ok {",
		"s, ok := b.records[id]\n\tif ok && s.changed {\n\t\tdelete(b.records, id)\n\t\tb.changes--\n\t\tok = false\n\t}\n\tif !ok {"}}},
	{name: "Admit: a row at the edge of a window belongs to it", edits: []edit{{admitGo, "Admit(ctx, rec, near)", "Admit(ctx, rec, w)"}}, redundant: "the ledger allows for two seconds itself"},
	{name: "Dead: no revision for a dead letter", edits: []edit{{batchGo, "s.entry.revision--", ""}}},
	{name: "Cover: settled lies behind by the lateness", edits: []edit{{batchGo, "seen.Add(-lateness)", "seen"}}},
	{name: "Cover: settled lies on the tick", edits: []edit{{batchGo, "seen.Add(-lateness).Truncate(b.ledger.tick)", "seen.Add(-lateness)"}}},
	{name: "Cover: what is given up or watched stays so", edits: []edit{{batchGo, "if was.closed() || was == Watched {", "if false {"}}},
	{name: "scan: an error ends the pass", edits: []edit{{readGo, "return proven, fmt.Errorf(\"reading %s of stream %s: %w\", w, r.stream.Name, err)", "_ = fmt.Errorf\n\t\t\treturn w.To, nil"}}},
	{name: "skip: what is not proven is a gap", edits: []edit{{readGo, "b.ledger.Gap(gap.Span)", "b.ledger.Cover(gap.Span, r.plan.now, r.account.Lateness)"}}},
	{name: "Seal: not before give-up", edits: []edit{{readGo, "b.ledger.Seal(r.horizon(t.now))", "b.ledger.Seal(t.now)"}}},
	{name: "Seal: nothing that is young", edits: []edit{{batchGo, "case Watched:\n\t\t\treturn Sealed", "case Watched, Young:\n\t\t\treturn Sealed"}}},
	{name: "dropped: only what is given up", edits: []edit{{batchGo, "b.closed(bk.from-1, bk.until+1)", "true"}}},
	{name: "dropped: nothing beside what is read", edits: []edit{{batchGo, "b.closed(bk.from-1, bk.until+1)", "b.closed(bk.from, bk.until)"}}, redundant: "a row beside the window of a time that nothing reads is ignored"},
	{name: "admit: no row beside the window of a time that nothing reads", edits: []edit{{admitGo, "!w.Contains(rec.Created) && r.ledger.Closed(rec.Created)", "false"}}},
	{name: "Mark: of each new version", edits: []edit{{admitGo, "m.Mark = b.mark(rec)", "m.Mark = b.mark(b.latest(rec))"}, {admitGo, "// mark returns what", "func (b *batch) latest(rec sources.Record) sources.Record {\n\tif len(b.records) > 0 {\n\t\treturn b.records[0]\n\t}\n\treturn rec\n}\n\n// mark returns what"}}},
	{name: "Mark: of each dead letter", edits: []edit{{letterGo, "b.letter(rec, reason, \"\", b.mark(rec))", "b.letter(rec, reason, \"\", b.ledger.Mark(\"\"))"}}},
	{name: "Recovered: in the order in which they were made", edits: []edit{{markGo, "cmp.Compare(a.number, b.number), cmp.Compare(a.index, b.index)", "cmp.Compare(b.number, a.number), cmp.Compare(b.index, a.index)"}}},
	{name: "Recovered: where the record was found", edits: []edit{{markGo, "b.reached[m.bucket] = was.join(m.reach)", "b.reached[m.bucket] = was"}}, redundant: "a row found elsewhere is found there again; the model test of the ledger sees it"},
	{name: "Recovered: only beyond the state", edits: []edit{{markGo, "m.number > l.head.number", "true"}}, redundant: "a sink yields no mark that its state covers"},
	{name: "restore: tried again", edits: []edit{{commitGo, "if err := c.durable(ctx, build, func(*sinks.RejectedError) bool { return false }); err != nil {", "commit, err := build(ctx)\n\tif err != nil {\n\t\treturn err\n\t}\n\tif err := c.session.Commit(ctx, commit); err != nil {"}}},
	{name: "Empty: a new stream has a head before its events", edits: []edit{{batchGo, "!b.ledger.unsaved && ", ""}}},
	{name: "plan: what is young is read again", edits: []edit{
		{planGo, "s != checkpoint.Young && s != checkpoint.Gap", "s <= checkpoint.Sealed"},
		{planGo, "if s.To.Before(young) &&", "if false &&"},
	}},
	{name: "plan: what is unread is read", edits: []edit{{planGo, "list = r.untried(r.ledger.In(checkpoint.Unread))", "list = nil"}}},
	{name: "plan: open hours are read again", edits: []edit{{planGo, "p.watched = append(p.watched, r.ledger.Open(s.From, s.To)...)", "_ = s"}}},
	{name: "plan: what is given up in between is not read", edits: []edit{{planGo, "after(p.watched, sealed), after(p.gaps, sealed)", "p.watched, p.gaps\n\t_ = sealed"}}},
	{name: "plan: the head stays behind by the lag", edits: []edit{{planGo, "now.Add(-r.account.Lag)", "now"}}},
	{name: "pass: the provider's time, not ours", edits: []edit{{streamGo, "r.plan.begin(r, now)", "r.plan.begin(r, time.Now())"}}},
	{name: "Absent: the readings lie apart", edits: []edit{{leftGo, " && r.At.Sub(since) >= r.Apart", ""}}, redundant: "stale answers are not that old; see pipeline/left_test.go"},
	{name: "Absent: a record that is there is not missing", edits: []edit{{leftGo, "|| r.Seen.has(id)", ""}}, redundant: "the batch itself knows the rows of one chunk; see pipeline/left_test.go"},
	{name: "check: a time that jumps ahead is refused once", edits: []edit{{clockGo, "was.IsZero() ||", "true || was.IsZero() ||"}}},
	{name: "failed: the account waits when throttled", edits: []edit{{streamGo, "wait = max(wait, after)", "_ = after"}}},
	{name: "bury: poison becomes a dead letter", edits: []edit{{admitGo, "\t\tb.bury(rec, err)\n", ""}}},
	{name: "add: an event resolves the dead letters before it", edits: []edit{{admitGo, "case err == nil && v.Resolves:", "case err == nil && v.Resolves && false:"}}},
	{name: "Admit: what is dead is remembered", edits: []edit{{batchGo, "Resolves: was.unresolved()}", "Resolves: false}"}}},
	{name: "replace: a rejected event becomes a dead letter", edits: []edit{{admitGo, "\t\t\t\tb.bury(records[i], err)\n", ""}}},
	{name: "replace: a later version keeps its revision", edits: []edit{{admitGo, "if followed(records, i, refused) {", "if false && followed(records, i, refused) {"}}},
	{name: "commit: applied only when durable", edits: []edit{{commitGo, "pause := again.next()", "return nil\n\t\tpause := again.next()"}}},
	{name: "commit: state not before its messages", edits: []edit{{commitGo, "err = c.session.Commit(ctx, commit)",
		"err = c.session.Commit(ctx, sinks.Commit{State: commit.State})\n\t\tif err == nil && len(commit.Events)+len(commit.Dead) > 0 {\n\t\t\terr = c.session.Commit(ctx, commit)\n\t\t}"}}},
	{name: "Pair: messages before state", edits: []edit{{pairGo, "if err := s.publish(ctx, c); err != nil {",
		"if err := s.store.Save(context.WithoutCancel(ctx), c.State); err != nil {\n\t\treturn err\n\t}\n\tif err := s.publish(ctx, c); err != nil {"}}},
	{name: "Pair: acknowledged messages are not repeated", edits: []edit{{pairGo, "if !s.stored[m.PublicationID()] {", "if true {"}}},
	{name: "Chunks: an unfinished answer proves nothing", edits: []edit{{chunksGo, "Proven: c.proven}", "Proven: c.window}"}}},
	{name: "Keyset: the tick of a page's last row is read again", edits: []edit{{keysetGo, "k.add(p, last.Add(-k.tick)), last", "k.add(p, last), last.Add(k.tick)"}}},
	{name: "Keyset: a tick that fills a page is enumerated", edits: []edit{{keysetGo, "k.enumerate(ctx, span.From), span.From", "k.add(p, span.From), span.From"}}},
	{name: "Keyset: a tick of several pages is counted", edits: []edit{{keysetGo, `case reason == "" && (offset == 0 || k.totals && len(seen.set) == total):`, `case reason == "":`}}},
	{name: "Keyset: the count of a tick does not change", edits: []edit{{keysetGo, "if k.totals && p.Total > 0 && p.Total != total", "if false && p.Total != total"}}, redundant: "the rows do not agree with it, either; see sources/scan"},
	{name: "Keyset: the totals deny an order by chance", edits: []edit{{keysetGo, "s.total-next.Total > s.left", "false"}}, redundant: "not reached in 5,000 histories: pages hardly ascend by chance, and what is missed is read again; see sources/scan"},
	{name: "Keyset: an order counts once it was seen", edits: []edit{{keysetGo, "known = known && o.ascends[i]", ""}}},
	{name: "Keyset: one page of equal times shows no order", edits: []edit{{keysetGo, "!last.IsZero() && at.Truncate(tick).After(last)", "!last.IsZero() && !at.Before(last)"}}},
	{name: "Keyset: a page that descends rules the time out", edits: []edit{
		{keysetGo, "|| descends || !within", "|| !within"},
		{keysetGo, "if descends && !ascends {", "if false && descends {"},
	}},
	{name: "Keyset: a full page proves no more than its rows", edits: []edit{{keysetGo, "if !p.Full {\n\t\t\treturn k.add(p, span.To)", "if true {\n\t\t\treturn k.add(p, span.To)"}}},
}

// guarded is how many histories a removed guard must survive to count as not
// caught.
const guarded = full / 2

var verdict = regexp.MustCompile(`history (\d+), seed (\d+): [^:]*: (invariant \d+): (.*)`)

// A guard whose text is gone would be tested no more.
func TestGuardTexts(t *testing.T) {
	for _, g := range slices.Concat(guards, sourceGuards) {
		if _, err := g.apply("../.."); err != nil {
			t.Error(err)
		}
	}
}

// apply returns the text of the files of the product without the guard.
func (g guard) apply(root string) (map[string]string, error) {
	texts := map[string]string{}
	for _, e := range g.edits {
		path := filepath.Join(root, e.file)
		text, ok := texts[path]
		if !ok {
			b, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			text = string(b)
		}
		if n := strings.Count(text, e.old); n != 1 {
			return nil, fmt.Errorf("guard %q: %q occurs %d times in %s, want once", g.name, e.old, n, e.file)
		}
		texts[path] = strings.Replace(text, e.old, e.with, 1)
	}
	return texts, nil
}

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
	for _, g := range slices.Concat(guards, sourceGuards) {
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
	texts, err := g.apply(root)
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	for from, text := range texts {
		to := filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
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
	cmd := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-count=1", "-overlay", file, "./pipeline/model", "-run", "TestHistories", "-histories", fmt.Sprint(guarded))
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	found := verdict.FindStringSubmatch(string(out))
	if err != nil && found == nil {
		t.Fatalf("%s: %s", g.name, out)
	}
	return found
}
