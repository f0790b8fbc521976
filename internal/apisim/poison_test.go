package apisim

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestPoisonRows(t *testing.T) {
	sim, base := newEkuaibao(t, EkuaibaoConfig{
		Population: Population{PoisonBytes: 3000}, Switches: EkuaibaoSwitches{Order: OldestFirst},
	})
	for i, kind := range append(poisonKinds[:], "") {
		mustAdd(t, sim.Add, Row{ID: "row-" + string(kind), Created: noon.Add(time.Duration(i-9) * time.Second), Poison: kind})
	}
	addr := ekuaibaoURL(base, "flow", noon.Add(-time.Minute), noon)
	raw := decode[struct{ Items []json.RawMessage }](t, answerBody(t, addr)).Items
	_ = answerBody(t, addr)
	if len(raw) != 5 {
		t.Fatalf("got %d rows, want 5", len(raw))
	}
	for i, want := range []func(s string) bool{
		func(s string) bool { return !strings.Contains(s, `"id"`) },
		func(s string) bool { return strings.HasPrefix(s, `"`) },
		func(s string) bool { return strings.Contains(s, `"createTime":"yesterday"`) },
		func(s string) bool { return len(s) > 3000 },
		func(s string) bool { return strings.Contains(s, `"id":"row-"`) },
	} {
		if !want(string(raw[i])) {
			t.Errorf("row %d: got %.200s", i, raw[i])
		}
	}
	wantEqual(t, "served", versions(sim.Served()), []string{"row-@1"})
	wantEqual(t, "current", versions(sim.Current("flow")), []string{"row-@1"})
	poisoned := sim.Poisoned()
	if len(poisoned) != 4 {
		t.Fatalf("got %v, want 4", poisoned)
	}
	for i, p := range poisoned {
		sum := sha256.Sum256(raw[i])
		want := Poisoned{Version{"ekuaibao", "flow", "row-" + string(poisonKinds[i]), "1"}, poisonKinds[i], len(raw[i]), hex.EncodeToString(sum[:])}
		if p != want {
			t.Errorf("got %v, want %v", p, want)
		}
	}
}

func TestPoisonRowsXML(t *testing.T) {
	sim, base := newSubmail(t, SubmailConfig{Population: Population{PoisonBytes: 3000}})
	for i, kind := range poisonKinds {
		mustAdd(t, sim.Add, Row{ID: string(kind), Created: noon.Add(time.Duration(i-9) * time.Second), Poison: kind})
	}
	body, err := post(t, base+SubmailLogPath+".xml", map[string]string{"order_by": "asc"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<result>row not an object</result>", "<send_date>yesterday</send_date>", strings.Repeat("x", 3000)} {
		if !strings.Contains(body, want) {
			t.Errorf("no %.50q in the answer", want)
		}
	}
	for _, p := range sim.Poisoned() {
		if p.Size == 0 || p.SHA256 == "" {
			t.Errorf("got %v", p)
		}
	}
	if got := strings.Count(body, "<sendID>"); got != 2 {
		t.Errorf("got %d ids, want 2", got)
	}
}
