package httpx

import (
	"encoding/json"
	"html"
	"net/url"
	"strings"
	"testing"

	"connector/internal/secret"
)

// writers are ways in which a provider writes a secret it was told.
var writers = map[string]func(string) string{
	"plain":           func(s string) string { return s },
	"query":           url.QueryEscape,
	"path":            url.PathEscape,
	"lower query":     func(s string) string { return strings.ToLower(url.QueryEscape(s)) },
	"query twice":     func(s string) string { return url.QueryEscape(url.QueryEscape(s)) },
	"JSON":            quoted,
	"JSON twice":      func(s string) string { return quoted(quoted(s)) },
	"PHP's JSON":      func(s string) string { return strings.ReplaceAll(quoted(s), "/", `\/`) },
	"JSON in a query": func(s string) string { return url.QueryEscape(quoted(s)) },
	"HTML":            html.EscapeString,
	"numbered HTML":   func(s string) string { return strings.ReplaceAll(html.EscapeString(s), "&lt;", "&#x3c;") },
	"more space":      func(s string) string { return strings.ReplaceAll(s, " ", " \t\r\n ") },
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b[1 : len(b)-1])
}

// TestRedactorKnowsSpellings writes secrets in all ways, whole and cut.
func TestRedactorKnowsSpellings(t *testing.T) {
	for _, value := range []string{"canary-key", `canary:a_b/c+d=="e<f>&g'h\i j  k%20é试`, "canary" + strings.Repeat("/x", maxCut)} {
		r := newRedactor(nil, []secret.String{secret.New(value)})
		for name, write := range writers {
			written := write(value)
			if got := r.snippet([]byte("a " + written + " b")); got != "a **** b" {
				t.Errorf("%s: got %q, want all but the secret", name, got)
			}
			for cut := len("canary"); cut < len(written); cut++ {
				if got := r.snippet([]byte("a " + written[:cut])); got != "a ****" {
					t.Errorf("%s, cut: of %q got %q, want all but the secret", name, written[:cut], got)
				}
			}
		}
		if got := r.text("a can b anary:a_b-key c"); got != "a can b anary:a_b-key c" {
			t.Errorf("got %q of what is no secret", got)
		}
	}
}

// TestRedactorOfSpace has values that are too short without the space around them.
func TestRedactorOfSpace(t *testing.T) {
	r := newRedactor(nil, []secret.String{secret.New("     "), secret.New(" \t a\n "), secret.New("  canary\n")})
	if got, want := r.snippet([]byte("a can, canary, can")), "a can, ****, can"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestSnippetOfCutAnswer has a number that the end of what was read cuts, where little text is left in front of it.
func TestSnippetOfCutAnswer(t *testing.T) {
	r := newRedactor(nil, nil)
	for digits := 3; digits <= 11; digits++ {
		for _, before := range []string{"call ", "13900139000, ", "a=b "} {
			body := "refused" + strings.Repeat(" ", 512) + before + "13800138000"[:digits]
			if got := r.snippet([]byte(body)); strings.Contains(got, "138") || !strings.HasPrefix(got, "refused") && before != "call " {
				t.Errorf("%s, %d digits: got %q", before, digits, got)
			}
		}
	}
	if got := r.snippet([]byte("error code 40001")); got != "error code 40001" {
		t.Errorf("a whole answer: got %q", got)
	}
}
