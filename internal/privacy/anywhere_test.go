package privacy

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"connector/internal/fault"
	"connector/internal/secret"
	"connector/schema"
	"connector/schema/schematest"
	"connector/sources"
)

// testFields are those of a made-up provider.
var testFields = sources.Fields{
	"to": {Kind: sources.KindRecipient, Path: "sms.recipient"}, "text": {Kind: sources.KindText, Path: "sms.text"},
	"why": {Kind: sources.KindNote, Path: "sms.failureReason"}, "request": {Kind: sources.KindBody, Path: "webhook.request"},
	"id": {Kind: sources.KindPlain}, "at": {Kind: sources.KindPlain},
}

// datum is personal data that is to appear nowhere.
type datum struct{ kind, it string }

func drawDatum(t *rapid.T) datum {
	digits := func(n int, first string) string {
		return first + rapid.StringMatching(fmt.Sprintf(`[0-9]{%d}`, n-len(first))).Draw(t, "digits")
	}
	switch kind := rapid.SampledFrom([]string{"phone", "code", "name", "email", "id"}).Draw(t, "datum"); kind {
	case "phone":
		return datum{kind, digits(11, rapid.SampledFrom([]string{"13", "15", "19"}).Draw(t, "net"))}
	case "code":
		return datum{kind, digits(6, "")}
	case "name":
		return datum{kind, rapid.SampledFrom([]string{"欧阳金丝雀", "Kanarienvogel, Hansi"}).Draw(t, "name")}
	case "email":
		return datum{kind, "hansi" + digits(3, "") + "@kanarie.example"}
	default:
		return datum{kind, digits(6, "11") + "19900307" + digits(4, "")}
	}
}

// written returns s as a JSON string, some characters escaped.
func written(t *rapid.T, s string) string {
	var b strings.Builder
	every := rapid.IntRange(0, 3).Draw(t, "escape")
	for i, c := range s {
		if every > 0 && c <= 0xFFFF && i%every == 0 {
			fmt.Fprintf(&b, `\u%04x`, c)
			continue
		}
		quoted, _ := jsontext.AppendQuote(nil, string(c))
		b.Write(quoted[1 : len(quoted)-1])
	}
	return `"` + b.String() + `"`
}

// value returns JSON that holds the datum where the rules look for it.
func (c datum) body(t *rapid.T) string {
	key := "note"
	if c.kind == "name" || c.kind == "code" {
		key = rapid.SampledFrom([]string{"realName", "user_name", "Pass-Word", "客户姓名", "verifyCode", "address"}).Draw(t, "key")
	}
	forms := []string{"member", "nested", "text", "form", "xml", "broken", "colon", "array"}
	if c.kind == "phone" || c.kind == "id" {
		forms = append(forms, "number", "key")
	}
	inner := fmt.Sprintf("{%s:%s}", written(t, key), written(t, c.it))
	switch form := rapid.SampledFrom(forms).Draw(t, "form"); form {
	case "nested":
		for range rapid.IntRange(1, 3).Draw(t, "levels") {
			inner = fmt.Sprintf(`{"x":%s}`, written(t, inner))
		}
		return inner
	case "text":
		if c.kind == "name" {
			return inner
		}
		return written(t, "您的验证码是："+c.it+"，谢谢")
	case "form":
		return fmt.Sprintf(`{"f":%s}`, written(t, "a=b&"+key+"="+strings.ReplaceAll(c.it, " ", "%20")+"&c=d"))
	case "xml":
		return fmt.Sprintf(`{"f":%s}`, written(t, "<r><"+key+">"+c.it+"</"+key+"></r>"))
	case "broken":
		return written(t, inner[:len(inner)-1])
	case "colon":
		return written(t, `x "`+key+`": "`+c.it+`" y`)
	case "array":
		return fmt.Sprintf(`[1,[%s,{"a":%s}]]`, inner, inner)
	case "number":
		return fmt.Sprintf(`{"n":%s}`, c.it)
	case "key":
		return fmt.Sprintf(`{%s:1,"b":[{%s:2}]}`, written(t, c.it), written(t, c.it))
	default:
		return inner
	}
}

// row returns a row that holds the datum somewhere.
func (c datum) row(t *rapid.T) string {
	fields := []string{`"id":"7ac6"`, `"at":"2015-01-19 15:21:27"`, `"plain":{"a":[1,true,null]}`}
	places := []string{"request", "unknown", "deep"}
	if c.kind != "name" {
		places = append(places, "text")
	}
	if c.kind == "phone" {
		places = append(places, "to", "list")
	}
	if c.kind != "name" && c.kind != "code" {
		places = append(places, "why")
	}
	for range rapid.IntRange(1, 3).Draw(t, "places") {
		switch rapid.SampledFrom(places).Draw(t, "place") {
		case "request":
			fields = append(fields, `"request":`+c.body(t))
		case "unknown":
			fields = append(fields, `"new":`+c.body(t))
		case "deep":
			fields = append(fields, `"other":[{"y":`+c.body(t)+`}]`)
		case "text":
			fields = append(fields, `"text":`+written(t, "您的 "+c.it+"。"))
		case "to":
			fields = append(fields, `"to":`+written(t, rapid.SampledFrom([]string{"", "+86", "86 "}).Draw(t, "code")+c.it))
		case "list":
			fields = append(fields, `"to":`+written(t, "10086,"+c.it))
		case "why":
			fields = append(fields, `"why":`+written(t, "number "+c.it+" refused"))
		}
	}
	fields = rapid.Permutation(fields).Draw(t, "fields")
	return "{" + strings.Join(fields, ",") + "}"
}

// check wants that text holds the datum in no spelling.
func (c datum) check(t *rapid.T, what, text string) {
	for _, shown := range []string{text, unescape(text), unescape(unescape(text))} {
		for part := range strings.SplitSeq(c.it, ", ") { // a surname alone is personal, too
			if strings.Contains(shown, part) {
				t.Fatalf("%s holds %s: %s", what, part, text)
			}
		}
	}
}

// made is the event that a source makes of a row.
func made(t rapid.TB, row string) schema.Event {
	t.Helper()
	var members map[string]jsontext.Value
	if err := json.Unmarshal([]byte(row), &members, jsontext.AllowDuplicateNames(true)); err != nil {
		t.Fatalf("%s: %v", row, err)
	}
	words := func(name string) string {
		if len(members[name]) == 0 {
			return ""
		}
		return scalar(members[name])
	}
	section := map[string]any{}
	for name, v := range members {
		if testFields[name].Path == "" && name != "id" {
			section[name] = v
		}
	}
	e := schema.Event{
		SchemaVersion: schema.Version, Source: schema.Source{System: "toy", Account: "a", Stream: "s"},
		Record: schema.Record{ID: "7ac6", Revision: 1}, Channel: "toy", Status: schema.Unknown, CreatedAt: time.Unix(1, 0).UTC(), ObservedAt: time.Unix(2, 0).UTC(),
		SMS:     &schema.SMS{Recipient: words("to"), Text: words("text"), FailureReason: words("why")},
		Webhook: &schema.Webhook{Request: members["request"]},
		Section: map[string]any{"toy": section},
	}
	return e
}

func encoded(t rapid.TB, e schema.Event) string {
	t.Helper()
	m, err := e.Message(schema.Format{})
	if err != nil {
		t.Fatal(err)
	}
	if err := schematest.Event(m.Body); err != nil {
		t.Fatalf("%v: %s", err, m.Body)
	}
	return string(m.Body)
}

// TestAnywhere places personal data anywhere in a row: it is in no event and in no
// dead letter, whatever is left of the row.
func TestAnywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawDatum(t)
		row := c.row(t)
		p := New(rapid.SampledFrom([]Mode{Standard, Strict}).Draw(t, "mode"), Rules{}, secret.New("key"), true)
		rec := sources.Record{ID: "7ac6", Raw: []byte(row), Size: int64(len(row))}
		e := made(t, row)
		if err := p.Event(&e, rec, testFields); err != nil {
			t.Fatal(err)
		}
		c.check(t, "event", encoded(t, e))
		if e.Raw == "" || !jsontext.Value(e.Raw).IsValid(jsontext.AllowDuplicateNames(true)) {
			t.Fatalf("raw is no JSON: %s", e.Raw)
		}

		rec.Fault = fault.Reject("decode", fmt.Errorf("field %q of %q", c.it, "number "+c.it))
		for _, spoil := range []func(){
			func() {},
			func() { rec.Raw = append([]byte(nil), row[:len(row)-1]...) },
			func() { rec.Raw, rec.Size = []byte(row[:rapid.IntRange(1, len(row)).Draw(t, "cut")]), int64(len(row)) },
			func() { rec.Raw = append([]byte("x"), row...) },
		} {
			spoil()
			d := schema.DeadLetter{SchemaVersion: schema.Version, Source: e.Source, RecordID: "1", Class: "decode", ObservedAt: e.ObservedAt, Reason: p.Reason(rec.Fault)}
			p.DeadLetter(&d, rec, testFields)
			m, err := d.Message(schema.Format{})
			if err == nil {
				err = schematest.DeadLetter(m.Body)
			}
			if err != nil {
				t.Fatalf("%v: %s", err, m.Body)
			}
			if c.kind != "name" || len(d.Raw) > 0 {
				if c.kind == "name" { // the reason knows no keys
					d.Reason = ""
					m, _ = d.Message(schema.Format{})
				}
				c.check(t, "dead letter", string(m.Body))
			}
		}
	})
}

// TestIdempotent masks what was masked: nothing changes any more.
func TestIdempotent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		row := drawDatum(t).row(t)
		p := New(rapid.SampledFrom([]Mode{Standard, Strict}).Draw(t, "mode"), Rules{}, secret.New("key"), true)
		once, _ := p.row(sources.Record{Raw: []byte(row), Size: int64(len(row))}, "toy", testFields)
		twice, _ := p.row(sources.Record{Raw: once, Size: int64(len(once))}, "toy", testFields)
		if string(once) != string(twice) {
			t.Fatalf("%s:\nonce  %s\ntwice %s", row, once, twice)
		}
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[0-9a-c -@./\\"u%&#;:={}\[\]]{0,40}`), rapid.Just(row)).Draw(t, "text")
		for name, mask := range map[string]func(string) string{
			"text": maskText, "patterns": MaskPatterns, "recipient": maskRecipient, "unparsed": p.maskUnparsed, "plain": maskPlain, "quoted": MaskQuoted,
			"message": func(s string) string { return p.maskMessage(s, 0) }, "string": func(s string) string { return p.maskString(s, false, 0) },
		} {
			if once := mask(text); mask(once) != once {
				t.Fatalf("%s of %q: once %q, twice %q", name, text, once, mask(once))
			}
		}
	})
}

// TestOff leaves events and rows as they are.
func TestOff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		row := drawDatum(t).row(t)
		e := made(t, row)
		e.Privacy, e.Raw = schema.PrivacyOff, row
		want := encoded(t, e)
		e.Privacy, e.Raw = "", ""
		if err := New(Off, Rules{}, secret.String{}, true).Event(&e, sources.Record{Raw: []byte(row)}, testFields); err != nil {
			t.Fatal(err)
		}
		if got := encoded(t, e); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		var none *Policy
		d := schema.DeadLetter{Reason: row}
		none.DeadLetter(&d, sources.Record{Raw: []byte(row)}, nil)
		if d.Raw != row || d.Reason != row || d.Privacy != schema.PrivacyOff || d.RawBytes != int64(len(row)) || d.Truncated {
			t.Fatalf("got %+v", d)
		}
	})
}

// FuzzUnparsed checks what a masked text may hold: no token of four or more
// letters and digits with a digit, also when its escapes are decoded, and nothing
// that is not UTF-8.
func FuzzUnparsed(f *testing.F) {
	for _, s := range []string{
		`{"phone":"13800138000","x":"\u0031\u0032\u0033\u0034"`, `<a><name>x</name>1 2 3 4</a>`, "a=b&c=1234", "\xff1234\xff", `\\\\u0031\\x32%33&#52;`,
		"１２３４", "12\u200b34", `{"address":[1`, "密码: abcdef, x", "a@b.c", "http://x/y1", "%2531%2532%2533%2534",
	} {
		f.Add(s)
	}
	p := New(Standard, Rules{}, secret.New("key"), false)
	f.Fuzz(func(t *testing.T, s string) {
		for name, mask := range map[string]func(string) string{"unparsed": p.maskUnparsed, "text": maskText} {
			got := mask(s)
			for _, shown := range []string{got, unescape(got)} {
				digits, chars := 0, 0
				for _, c := range shown + " " {
					switch n := narrow(c); {
					case isAlnum(n):
						chars++
						if isDigit(n) {
							digits++
						}
					default:
						if chars >= minToken && digits > 0 {
							t.Fatalf("%s of %q: got %q", name, s, got)
						}
						digits, chars = 0, 0
					}
				}
			}
			if name == "unparsed" && !utf8.ValidString(got) || mask(got) != got {
				t.Fatalf("%s of %q: got %q, then %q", name, s, got, mask(got))
			}
		}
		_, _, _ = p.rewrite([]byte(s), 0, func(w *rewriter) error { return w.row("toy", testFields) }) // does not panic
	})
}
