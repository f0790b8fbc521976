package schema

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

const marked = `{
  "properties": {
    "a": {"type": "string"},
    "b": {"x-since": "1.1"},
    "c": {"x-since": "1.10"},
    "o": {"$ref": "#/$defs/o", "properties": {"y": {"x-since": "1.1"}}},
    "l": {"items": {"$ref": "#/$defs/o"}},
    "d~/": {"x-since": "1.1", "properties": {"e": {"x-since": "1.2"}}},
    "any": true
  },
  "examples": [{"x-since": "1.1"}],
  "$defs": {"o": {"properties": {"x": {"x-since": "1.2"}}}}
}`

func TestCut(t *testing.T) {
	body := `{"a":"\u00e9\/","b":{"a":1},"c":[2],"o":{"x":1,"y":2,"z":1.0},"l":[{"x":1,"b":2},3],"d~/":1,"any":{"b":1e2},"n":null}`
	tests := []struct{ version, want string }{
		{"1.0", `{"a":"\u00e9\/","o":{"z":1.0},"l":[{"b":2},3],"any":{"b":1e2},"n":null}`},
		{"1.1", `{"a":"\u00e9\/","b":{"a":1},"o":{"y":2,"z":1.0},"l":[{"b":2},3],"d~/":1,"any":{"b":1e2},"n":null}`},
		{"1.2", strings.Replace(body, `"c":[2],`, "", 1)},
		{"1.10", body},
		{"2.0", body},
	}
	for _, tt := range tests {
		c, err := newCut(File{Name: "f", JSON: []byte(marked)}, tt.version)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.apply([]byte(body))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s:\n got %s, %v\nwant %s", tt.version, got, err, tt.want)
		}
		if none := tt.want == body; none != (c == nil) {
			t.Errorf("%s: got the cut %+v", tt.version, c)
		}
	}
}

func TestCutCannotBeMade(t *testing.T) {
	for content, want := range map[string]string{
		`{`: "parsing f",
		`{"anyOf": [{"properties": {"a": {"x-since": "1.1"}}}]}`:                  "x-since at /anyOf/0/properties/a cannot be obeyed",
		`{"$defs": {"unused": {"properties": {"a": {"x-since": "1.1"}}}}}`:        "x-since at /$defs/unused/properties/a",
		`{"properties": {"a": {"$ref": "#/$defs/none"}}}`:                         "leads to nothing in $defs",
		`{"properties": {"a": {"$ref": "#"}}}`:                                    "leads to nothing in $defs",
		`{"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}`: "leads in a circle",
	} {
		if _, err := newCut(File{Name: "f", JSON: []byte(content)}, "1.0"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", content, err, want)
		}
	}
}

// FuzzCut wants of any body an error, or one without the members of later versions.
func FuzzCut(f *testing.F) {
	c, err := newCut(File{Name: "f", JSON: []byte(marked)}, "1.0")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{`{"b":1,"a":{"b":2}}`, `{"o":{"x":[]},"l":[[{"x":1}],{"x":{}}]}`, `[]`, `{"b":1`, `{} {}`, `{"b":1,"b":2}`, `{"\u0062":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := c.apply(body)
		if err != nil {
			return
		}
		var was, is any
		if json.Unmarshal(body, &was) != nil || json.Unmarshal(got, &is) != nil {
			t.Skip("one of the libraries takes more than the other")
		}
		if o, ok := was.(map[string]any); ok {
			for _, name := range []string{"b", "c", "d~/"} {
				delete(o, name)
			}
			if in, ok := o["o"].(map[string]any); ok {
				delete(in, "x")
				delete(in, "y")
			}
			list, _ := o["l"].([]any)
			for _, e := range list {
				if in, ok := e.(map[string]any); ok {
					delete(in, "x")
				}
			}
		}
		if !reflect.DeepEqual(was, is) || bytes.ContainsRune(got, '\n') && !bytes.ContainsRune(body, '\n') {
			t.Errorf("%s: got %s", body, got)
		}
	})
}
