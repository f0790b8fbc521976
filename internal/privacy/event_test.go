package privacy

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"connector/internal/fault"
	"connector/internal/secret"
	"connector/schema"
	"connector/sources"
)

func rules(t *testing.T, given string) (r Rules) {
	t.Helper()
	if given == "" {
		return r
	}
	if err := r.Decode(given); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestModesAndRules has the raw row of an event, and its section sms, under modes and rules.
func TestModesAndRules(t *testing.T) {
	const row = `{"id":"7","to":"13800138000","text":"code 0483","why":"no 13800138000","request":{"name":"Z","cost":"C1","n":1},"new":"x","phone":"1"}`
	hashed := New(Standard, Rules{}, secret.New("key"), false).HashRecipient("13800138000")
	tests := []struct {
		mode      Mode
		rules     string
		raw       string
		recipient string
		hash      string
		text      string
	}{
		{Standard, "", `{"id":"7","to":"138******00","text":"code ***","why":"no ***","request":{"name":"***","cost":"C1","n":1},"new":"x","phone":"***"}`, "138******00", hashed, "code ***"},
		{Strict, "", `{"id":"7","to":"138******00","why":"no ***"}`, "138******00", hashed, ""},
		{Off, "", row, "13800138000", "", "code 0483"},
		{Off, "sms.text=drop", row, "13800138000", "", "code 0483"},
		{Standard, "name=keep,COST=mask,phone=drop,id=hash", `{"id":"` + New(Off, Rules{}, secret.New("key"), false).hash("7") + `","to":"138******00","text":"code ***","why":"no ***","request":{"name":"Z","cost":"***","n":1},"new":"x"}`, "138******00", hashed, "code ***"},
		{Standard, "sms.recipient=hash,sms.text=keep,toy.new=drop,webhook.request=keep", `{"id":"7","to":"` + hashed + `","text":"code 0483","why":"no ***","request":{"name":"Z","cost":"C1","n":1},"phone":"***"}`, "", hashed, "code 0483"},
		{Standard, "sms.recipient=drop,sms.text=drop,sms.failureReason=mask", `{"id":"7","why":"***","request":{"name":"***","cost":"C1","n":1},"new":"x","phone":"***"}`, "", "", ""},
		{Strict, "sms.recipient=keep,sms.text=mask,webhook.request=mask,new=keep", `{"id":"7","to":"13800138000","text":"code ***","why":"no ***","request":{"name":"***","cost":"C1","n":1},"new":"x"}`, "13800138000", hashed, "code ***"},
	}
	for _, tt := range tests {
		p := New(tt.mode, rules(t, tt.rules), secret.New("key"), true)
		e := made(t, row)
		if err := p.Event(&e, sources.Record{Raw: []byte(row)}, testFields); err != nil {
			t.Fatal(err)
		}
		if e.Raw != tt.raw || e.SMS.Recipient != tt.recipient || e.SMS.RecipientHash != tt.hash || e.SMS.Text != tt.text || e.Privacy != schema.Privacy(tt.mode) {
			t.Errorf("%s %s:\n got %s, %+v\nwant %s, %s, %s, %s", tt.mode, tt.rules, e.Raw, e.SMS, tt.raw, tt.recipient, tt.hash, tt.text)
		}
		encoded(t, e)
	}
}

// TestReason has what errors quote.
func TestReason(t *testing.T) {
	p := New(Standard, Rules{}, secret.New("key"), false)
	for _, tt := range []struct {
		quoted, want string
	}{
		{"yesterday", `"yesterday"`}, {"x 483920", `"x ***"`}, {`x"483920"`, `"x\"***\""`}, {`x\`, `"x\\"`}, {`\"483920`, `"\\\"***"`},
	} {
		if got := p.Reason(fmt.Errorf("field %q is %q, after 1234 bytes", "at", tt.quoted)); got != `field "at" is `+tt.want+`, after 1234 bytes` {
			t.Errorf("%s: got %s", tt.quoted, got)
		}
	}
	if got := p.Reason(errors.New(`field "x 483920`)); got != `field "x ***` {
		t.Errorf("without an end: got %s", got)
	}
}

// TestTypes wants a rule to leave no field of the provider's section with a type that its schema does not know.
func TestTypes(t *testing.T) {
	for _, action := range []string{"mask", "hash", "drop"} {
		for _, field := range []string{"ekuaibao.active", "active"} {
			e := made(t, `{"id":"7"}`)
			e.Section = map[string]any{"ekuaibao": jsontext.Value(`{"active":true}`)}
			p := New(Standard, rules(t, field+"="+action), secret.New("key"), false)
			if err := p.Event(&e, sources.Record{}, sources.Fields{"active": {Kind: sources.KindPlain}}); err != nil {
				t.Fatal(err)
			}
			encoded(t, e)
		}
	}
}

func TestRawOnlyWhereWanted(t *testing.T) {
	e := made(t, `{"id":"7"}`)
	if err := New(Standard, Rules{}, secret.New("key"), false).Event(&e, sources.Record{Raw: []byte(`{}`)}, testFields); err != nil || e.Raw != "" {
		t.Errorf("got %q, %v", e.Raw, err)
	}
	if err := New(Off, Rules{}, secret.New("key"), true).Event(&e, sources.Record{Raw: []byte("{\"a\":\"\xff\"}")}, testFields); err != nil || e.Raw != "" || e.RawBase64 == "" {
		t.Errorf("not UTF-8: got %q, %q, %v", e.Raw, e.RawBase64, err)
	}
	if e.RawBase64 = ""; New(Off, Rules{}, secret.New("key"), true).Event(&e, sources.Record{}, testFields) != nil || e.Raw+e.RawBase64 != "" {
		t.Errorf("of a row that left: got %q", e.Raw)
	}
}

func TestDeadLetterRows(t *testing.T) {
	cut := sources.Record{Raw: []byte(`{"id":"7","realName":"张三`), Size: 1000, SHA256: strings.Repeat("ab", 32)}
	tests := []struct {
		name      string
		mode      Mode
		rec       sources.Record
		raw       string
		bytes     int64
		truncated bool
	}{
		{"JSON", Standard, sources.Record{Raw: []byte(`{"id":"7","phone":1}`)}, `{"id":"7","phone":"***"}`, 20, false},
		{"JSON", Strict, sources.Record{Raw: []byte(`{"id":"7","phone":1}`)}, `{"id":"7"}`, 20, false},
		{"plain fields of another shape", Strict, sources.Record{Raw: []byte(`{"id":{"a":1},"at":["x"]}`)}, `{}`, 25, false},
		{"plain fields of another shape", Standard, sources.Record{Raw: []byte(`{"id":{"phone":1},"at":"13800138000"}`)}, `{"id":{"phone":"***"},"at":"***"}`, 37, false},
		{"no object", Standard, sources.Record{Raw: []byte(`"call 1234"`)}, `"call ***"`, 11, false},
		{"no object", Strict, sources.Record{Raw: []byte(`"call 1234"`)}, "", 11, true},
		{"text of another shape", Standard, sources.Record{Raw: []byte(`{"text":{"a":["Q 4839",4839],"name":"Z"},"to":["021-12345678"],"content":{"a":"Q 4839"}}`)}, `{"text":{"a":["Q ***","***"],"name":"***"},"to":["021******78"],"content":{"a":"Q ***"}}`, 88, false},
		{"text of another shape", Strict, sources.Record{Raw: []byte(`{"text":{"a":"Q 4839"},"to":["021-12345678"],"content":"x"}`)}, `{}`, 59, false},
		{"beginning", Standard, cut, `{"id":"7","realName":"***`, 1000, true},
		{"beginning", Strict, cut, "", 1000, true},
		{"beginning", Off, cut, string(cut.Raw), 1000, true},
		{"not UTF-8", Standard, sources.Record{Raw: []byte("\xff1234")}, "\uFFFD***", 5, false},
		{"empty", Standard, sources.Record{}, "", 0, false},
	}
	for _, tt := range tests {
		p := New(tt.mode, Rules{}, secret.New("key"), false)
		var d schema.DeadLetter
		p.DeadLetter(&d, tt.rec, testFields)
		if d.Raw != tt.raw || d.RawBytes != tt.bytes || d.Truncated != tt.truncated || d.RawBase64 != "" || len(d.RawDigest) != 64 || d.Privacy != schema.Privacy(tt.mode) {
			t.Errorf("%s, %s: got %+v, want %q", tt.name, tt.mode, d, tt.raw)
		}
		if tt.rec.SHA256 != "" && d.RawDigest != p.Digest(tt.rec.SHA256) {
			t.Errorf("%s, %s: got digest %s", tt.name, tt.mode, d.RawDigest)
		}
	}
}

// TestKeys: what is hashed depends on the key and on nothing else, and a digest is no plain hash in any mode.
func TestKeys(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	a, b := New(Standard, Rules{}, secret.New("a"), false), New(Off, Rules{}, secret.New("b"), true)
	if a.Digest(sum) == b.Digest(sum) || a.Digest(sum) != New(Strict, Rules{}, secret.New("a"), true).Digest(sum) || a.Digest(sum) == sum {
		t.Errorf("got %s and %s", a.Digest(sum), b.Digest(sum))
	}
	if x, y := DeriveKey(secret.New("a")).Reveal(), DeriveKey(secret.New("b")).Reveal(); x == y || x != DeriveKey(secret.New("a")).Reveal() || len(x) != 64 {
		t.Errorf("got %s and %s", x, y)
	}
	good := sources.Record{ID: sources.HashID + sum, Print: sum}
	bad := sources.Record{ID: sources.HashID + sum, Print: sum, Fault: fault.Reject("no_id", errors.New("x"))}
	named := sources.Record{ID: "7", Print: sum, Fault: fault.Reject("decode", errors.New("x"))}
	given := []sources.Record{good, bad, named}
	got := a.Seal(given)
	if got[0].ID != good.ID || got[0].Print != sum || got[1].ID != Hashed+a.Digest(sum) || got[1].Print != a.Digest(sum) || got[2].ID != "7" || got[2].Print != a.Digest(sum) {
		t.Errorf("got %+v", got)
	}
	if given[1].ID != bad.ID {
		t.Error("the source's record was changed")
	}
}

// TestListsAreDocumented wants every key that counts in docs/privacy.md.
func TestListsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/privacy.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]string{personalKeys, personalEndings, textKeys, codeWords} {
		for _, name := range list {
			if !strings.Contains(string(text), "`"+name+"`") {
				t.Errorf("docs/privacy.md lacks `%s`", name)
			}
			if key := string(appendKey(nil, name)); key != name && !strings.ContainsAny(name, " -") {
				t.Errorf("%q is compared as %q", name, key)
			}
		}
	}
	for path := range paths {
		if !strings.Contains(string(text), "`"+path+"`") {
			t.Errorf("docs/privacy.md lacks `%s`", path)
		}
	}
}
