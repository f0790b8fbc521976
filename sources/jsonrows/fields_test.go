package jsonrows

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

type row struct {
	Text   *Text          `json:"text,omitzero"`
	Int    *Int           `json:"int,omitzero"`
	Number *Number        `json:"number,omitzero"`
	Bool   *Bool          `json:"bool,omitzero"`
	Any    *Any           `json:"any,omitzero"`
	Other  map[string]Any `json:",embed"`
}

func TestDecode(t *testing.T) {
	tests := []struct{ in, want string }{
		{`{}`, `{}`},
		{`{"text":null,"int":null,"number":null,"bool":null,"any":null}`, `{}`},
		{`{"text":"","int":4,"number":1.50,"bool":true,"any":{"a":[1, 2]}}`, `{"text":"","int":4,"number":1.5,"bool":true,"any":{"a":[1,2]}}`},
		{`{"text":138,"int":"4","number":"1.50","bool":"false","any":"x"}`, `{"text":"138","int":4,"number":1.5,"bool":false,"any":"x"}`},
		{`{"text":true,"int":4.0,"number":1e3,"bool":1,"any":9007199254740993}`, `{"text":"true","int":4,"number":1000,"bool":true,"any":9007199254740993}`},
		{`{"int":9223372036854775807,"number":123456789012345678901234567890}`, `{"int":9223372036854775807,"number":1.2345678901234568e+29}`},
		{`{"int":" -1 ","number":" 7 ","bool":" TRUE "}`, `{"int":-1,"number":7,"bool":true}`},
		{`{"text":"a","text":"b","new":1,"new":{"x":[2]}}`, `{"text":"b","new":{"x":[2]}}`},
		{"{\"text\":\"\xff\",\"any\":[\"\xff\",\"\\ud800\"],\"\xff\":1}", `{"text":"` + "\uFFFD" + `","any":["` + "\uFFFD\",\"\uFFFD" + `"],"` + "\uFFFD" + `":1}`},
	}
	for _, tt := range tests {
		var r row
		if err := Decode([]byte(tt.in), &r); err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		got, err := json.Marshal(r, json.Deterministic(true))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: got %s, %v, want %s", tt.in, got, err, tt.want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct{ in, field string }{
		{`{"text":{"secretvalue":1}}`, "text"},
		{`{"text":["secretvalue"]}`, "text"},
		{`{"int":"secretvalue"}`, "int"},
		{`{"int":""}`, "int"},
		{`{"int":1.5}`, "int"},
		{`{"int":9223372036854775808}`, "int"},
		{`{"number":"0xsecretvalue"}`, "number"},
		{`{"number":"01"}`, "number"},
		{`{"number":"1 2"}`, "number"},
		{`{"number":1e400}`, "number"},
		{`{"number":"Inf"}`, "number"},
		{`{"number":""}`, "number"},
		{`{"bool":"secretvalue"}`, "bool"},
		{`{"any":{"secretvalue":1,"secretvalue":2}}`, "any"},
		{`{"new":{"secretvalue":1,"secretvalue":2}}`, "new"},
		{`{"` + strings.Repeat("n", 5000) + `":{"secretvalue":1,"secretvalue":2}}`, "nnn"},
		{`"secretvalue"`, "row"},
		{`null`, "row"},
	}
	for _, tt := range tests {
		var r row
		err := Decode([]byte(tt.in), &r)
		if err == nil || !strings.Contains(err.Error(), tt.field) || strings.Contains(err.Error(), "secretvalue") || len(err.Error()) > 300 {
			t.Errorf("%.300s: got %v, want a short error that names %s and not the value", tt.in, err, tt.field)
		}
	}
}

// FuzzDecode checks that what is decoded can be encoded.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"text":"a","int":"4","number":1e3,"bool":0,"any":{"a":"\ud800"},"new":null}`))
	f.Add([]byte("{\"any\":{\"\xff\":1,\"\xfe\":2},\"\xff\":3,\"\xfe\":4}"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var r row
		if Decode(in, &r) != nil {
			return
		}
		if out, err := json.Marshal(r, json.Deterministic(true)); err != nil || !jsontext.Value(out).IsValid() {
			t.Fatalf("got %s, %v", out, err)
		}
	})
}
