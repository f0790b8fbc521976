package secret

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
)

const value = "hunter2-s3cr3t"

type holder struct {
	Name   string
	Key    String
	hidden String
	Ptr    *String
	List   []String
	Map    map[string]String
	String // embedded
}

type field struct {
	XMLName xml.Name `xml:"field"`
	Key     String
}

func newField() field { return field{Key: New(value)} }

func newHolder() holder {
	s := New(value)
	return holder{"a", s, s, &s, []String{s}, map[string]String{"k": s}, s}
}

// leaks reports whether text holds the value in a form a verb could give it.
func leaks(text string) bool {
	for _, form := range []string{value, fmt.Sprintf("%x", value), fmt.Sprintf("%X", value), fmt.Sprintf("%d", []byte(value)), fmt.Sprintf("% x", value)} {
		if strings.Contains(text, form) {
			return true
		}
	}
	return false
}

func TestPrint(t *testing.T) {
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o", "%c", "%U", "%b", "%e", "%t", "%z", "%20s", "%.2s", "%-9v"} {
		if got := fmt.Sprintf(verb, New(value)); got != "****" {
			t.Errorf("%s: got %s, want ****", verb, got)
		}
		if got := fmt.Sprintf(verb, String{}); got != "" {
			t.Errorf("%s: empty: got %s, want nothing", verb, got)
		}
		for _, v := range []any{newHolder(), new(newHolder()), []any{newHolder()}, struct{ h holder }{newHolder()}} {
			if got := fmt.Sprintf(verb, v); leaks(got) {
				t.Errorf("%s of %T leaks: %s", verb, v, got)
			}
		}
	}
	bad := "%w" // not constant, so that vet lets the mistake through
	for _, got := range []string{
		fmt.Sprint(New(value)), fmt.Sprintln(newHolder()), New(value).String(), New(value).GoString(),
		fmt.Errorf(bad, New(value)).Error(), fmt.Errorf("%w: %v", errors.New("x"), newHolder()).Error(),
		fmt.Sprint(reflect.ValueOf(newHolder())),
	} {
		if leaks(got) {
			t.Errorf("leaks: %s", got)
		}
	}
}

func TestEncode(t *testing.T) {
	tests := []struct {
		name string
		in   any
		want string
	}{
		{"value", New(value), `"****"`},
		{"empty", String{}, `""`},
		{"pointer", new(New(value)), `"****"`},
		{"field", struct{ Key String }{New(value)}, `{"Key":"****"}`},
		{"embedded", struct{ String }{New(value)}, `"****"`},
		{"unexported", struct{ key String }{New(value)}, `{}`},
		{"omitted", struct {
			Key String `json:",omitzero"`
		}{}, `{}`},
		{"map", map[string]String{"k": New(value)}, `{"k":"****"}`},
	}
	for _, tt := range tests {
		got, err := json.Marshal(tt.in)
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: got %s, %v, want %s", tt.name, got, err, tt.want)
		}
	}
	if got, err := New(value).MarshalText(); err != nil || string(got) != "****" {
		t.Errorf("text: got %s, %v, want ****", got, err)
	}
	if got, err := xml.Marshal(newField()); err != nil || string(got) != "<field><Key>****</Key></field>" {
		t.Errorf("xml: got %s, %v", got, err)
	}
}

func TestLog(t *testing.T) {
	var out bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("m", "s", New(value), "h", newHolder(), "g", slog.GroupValue(slog.Any("s", New(value))), "e", fmt.Errorf("x: %v", New(value)))
	}
	if leaks(out.String()) {
		t.Errorf("leaks: %s", &out)
	}
	if got := strings.Count(out.String(), "s=**** "); got != 2 {
		t.Errorf("got %d masks in the text log, want 2: %s", got, &out)
	}
}

func TestReveal(t *testing.T) {
	for _, want := range []string{"", "x", value} {
		s := New(want)
		if got := s.Reveal(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := s.IsZero(); got != (want == "") {
			t.Errorf("%q: got IsZero %v", want, got)
		}
	}
}

func TestDecode(t *testing.T) {
	for _, bad := range []string{value + "\n", "a\x00b", "a\tb", value + "\u0085"} {
		var s String
		err := s.Decode(bad)
		if err == nil || leaks(err.Error()) || !s.IsZero() {
			t.Errorf("%q: got %v, want an error without the value", bad, err)
		}
	}
	for _, want := range []string{"", value, "p:a_ss wörd%"} {
		var s String
		if err := s.Decode(want); err != nil || s.Reveal() != want {
			t.Errorf("got %q, %v, want %q", s.Reveal(), err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("key")
	f.Add("line\nbreak")
	f.Fuzz(func(t *testing.T, in string) {
		var s String
		if err := s.Decode(in); err == nil && s.Reveal() != in {
			t.Errorf("got %q, want %q", s.Reveal(), in)
		}
		if got := fmt.Sprintf("%#v", s); got != "****" && got != "" {
			t.Errorf("printed %q", got)
		}
	})
}
