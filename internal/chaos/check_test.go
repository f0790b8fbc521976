//go:build unix

package chaos

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"connector/internal/apisim"
	"connector/schema"
)

func published(id string, revision int, version string) message {
	m := message{ID: id + version, Type: "delivery.webhook.failed", Position: "at " + id + version}
	m.Data.Source = schema.Source{System: "ekuaibao", Account: "hq", Stream: "flow"}
	m.Data.Record = schema.Record{ID: id, Revision: revision, Version: version}
	return m
}

func dead(sum string) message {
	m := message{ID: "dead " + sum, Type: schema.DeadLetterType, Position: "at dead " + sum}
	m.Data.RawDigest = sum
	return m
}

// small is a truth of two records with three versions each and a poison row,
// and the messages of it, which lack a version that was overwritten unseen.
func small() (*truth, []message) {
	tr := newTruth()
	for _, id := range []string{"a", "b"} {
		var row apisim.Timeline
		for v := range 3 {
			row.Versions = append(row.Versions, apisim.Version{System: "ekuaibao", Stream: "flow", RecordID: id, Version: fmt.Sprint(v + 1)})
		}
		tr.add(row)
	}
	tr.add(apisim.Timeline{Poison: &apisim.Poisoned{SHA256: "p"}})
	return tr, []message{published("a", 1, "1"), published("b", 1, "1"), dead(keys.Digest("p")), published("a", 2, "2"), published("a", 3, "3"), published("b", 2, "3")}
}

// TestCompareFindsFaults doctors a good list: each fault must be found and named.
func TestCompareFindsFaults(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		doctor func([]message) []message
		want   string // empty: no fault
	}{
		"nothing":                  {func(l []message) []message { return l }, ""},
		"a lost last version":      {func(l []message) []message { return l[:5] }, "lost: last version 3 of record {ekuaibao flow b}; 1 was"},
		"a lost record":            {func(l []message) []message { return []message{l[0], l[2], l[3], l[4]} }, "lost: record {ekuaibao flow b}"},
		"a lost earlier version":   {func(l []message) []message { return slices.Delete(l, 3, 4) }, "has revision 3, want 2"},
		"a lost dead letter":       {func(l []message) []message { return slices.Delete(l, 2, 3) }, "is no dead letter"},
		"a repeated event":         {func(l []message) []message { return append(l, l[4]) }, "repeated: delivery.webhook.failed of {ekuaibao flow a 3}"},
		"one under another id":     {func(l []message) []message { m := l[5]; m.ID = "x"; return append(l, m) }, "repeated: {ekuaibao flow b 3} at at b3, under another id"},
		"a repeated dead letter":   {func(l []message) []message { return append(l, l[2]) }, "repeated: delivery.deadletter"},
		"one with another id":      {func(l []message) []message { m := l[2]; m.ID = "x"; return append(l, m) }, "of a row that another one has"},
		"swapped versions":         {func(l []message) []message { l[3], l[4] = l[4], l[3]; return l }, "swapped: {ekuaibao flow a 2} at at a2 follows version 3"},
		"a swapped revision":       {func(l []message) []message { l[3].Data.Record.Revision = 3; return l }, "has revision 3, want 2"},
		"an invented record":       {func(l []message) []message { return append(l, published("c", 1, "1")) }, "invented: no provider had {ekuaibao flow c 1}"},
		"an invented version":      {func(l []message) []message { return append(l, published("a", 4, "4")) }, "invented: no provider had {ekuaibao flow a 4}"},
		"an invented dead letter":  {func(l []message) []message { return append(l, dead("q")) }, "invented: no provider had the row of the dead letter"},
		"a record of other origin": {func(l []message) []message { l[0].Data.Source.Stream = "message"; return l }, "invented"},
	} {
		tr, list := small()
		c := tr.compare(tt.doctor(list))
		got := strings.Join(c.faults, "\n")
		if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}
