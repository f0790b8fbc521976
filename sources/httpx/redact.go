package httpx

import (
	"cmp"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"

	"connector/internal/secret"
)

const (
	minSecret = 4   // characters below which a value is not searched for in text: it would mask ordinary words
	maxCut    = 200 // characters after which a value that is cut by the end of a text masks all that is left of it
)

// redactor masks secrets in texts and URLs.
type redactor struct {
	params map[string]bool // query parameters whose values are secret
	values []value         // secret wherever they appear, the longest first
}

// value finds a secret in texts.
type value struct {
	length int
	whole  func() *regexp.Regexp
	cut    func() *regexp.Regexp // its beginning, at the end of a text, which may be in the middle of a character
}

func newRedactor(params []string, secrets []secret.String) redactor {
	r := redactor{params: map[string]bool{}}
	for _, name := range params {
		r.params[name] = true
	}
	for _, s := range secrets {
		r.add(s.Reveal())
	}
	return r
}

// add puts the longest values first: one may be the beginning of another. White
// space is one character, however much it is, and none around a value.
func (r *redactor) add(text string) {
	if text = strings.Join(strings.FieldsFunc(text, unicode.IsSpace), " "); len(text) < minSecret {
		return
	}
	letters := spellings(text)
	r.values = append(r.values, value{
		length: len(text),
		whole:  sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile("(?i)" + strings.Join(letters, "")) }),
		cut: sync.OnceValue(func() *regexp.Regexp {
			return regexp.MustCompile("(?i)" + beginning(letters) + `(?:\x{fffd}+|[%\\&][%\\#0-9a-z]*)?\z`)
		}),
	})
	slices.SortFunc(r.values, func(a, b value) int { return cmp.Compare(b.length, a.length) })
}

// spellings returns an expression for each character of text: as it is, in a
// URL, in JSON or in HTML, also in one of them within another.
func spellings(text string) []string {
	var list []string
	for _, c := range text {
		list = append(list, spelling(c))
	}
	return list
}

const backslash = `(?:\\|%(?:25)*5c)` // which JSON puts before a character

// entities are the names of characters in HTML.
var entities = map[rune]string{'"': "quot", '\'': "apos", '&': "amp", '<': "lt", '>': "gt"}

func spelling(c rune) string {
	switch {
	case c == ' ':
		return `(?:\s|\+|%(?:25)*2[0b])+`
	case c == '\\':
		return backslash + "+"
	case c < unicode.MaxASCII && (unicode.IsLetter(c) || unicode.IsDigit(c)):
		return string(c)
	}
	percent := ""
	for _, b := range []byte(string(c)) {
		percent += fmt.Sprintf("%%(?:25)*%02x", b)
	}
	all := []string{regexp.QuoteMeta(string(c)), fmt.Sprintf("u%04x", c), percent, fmt.Sprintf("&#(?:0*%d|x0*%x);", c, c)}
	if name, ok := entities[c]; ok {
		all = append(all, "&"+name+";")
	}
	return backslash + "*(?:" + strings.Join(all, "|") + ")"
}

// beginning returns an expression for the first characters, minSecret at least.
func beginning(letters []string) string {
	least := min(minSecret, len(letters))
	expr := ""
	if len(letters) > maxCut {
		letters, expr = letters[:maxCut], `[\s\S]*`
	}
	for _, letter := range slices.Backward(letters[least:]) {
		expr = "(?:" + letter + expr + ")?"
	}
	return strings.Join(letters[:least], "") + expr
}

// with returns r extended by the values of u's secret query parameters.
func (r redactor) with(u *url.URL) redactor {
	r.values = slices.Clone(r.values)
	for name, given := range u.Query() {
		for _, value := range given {
			if r.params[name] {
				r.add(value)
			}
		}
	}
	return r
}

// text masks every secret value in s.
func (r redactor) text(s string) string {
	for _, v := range r.values {
		s = v.whole().ReplaceAllLiteralString(s, secret.Mask)
	}
	return s
}

// beginningOf masks every secret value in s, which may be cut in the middle of one.
func (r redactor) beginningOf(s string) string {
	s = r.text(s)
	for _, v := range r.values {
		s = v.cut().ReplaceAllLiteralString(s, secret.Mask)
	}
	return s
}

// url returns u with the values of secret parameters and any user masked.
func (r redactor) url(u *url.URL) string {
	shown := *u
	shown.RawQuery, shown.Fragment = "", ""
	if shown.User != nil {
		shown.User = url.User("-")
	}
	var query []string
	for part := range strings.SplitSeq(u.RawQuery, "&") {
		name, _, _ := strings.Cut(part, "=")
		if plain, err := url.QueryUnescape(name); err != nil || r.params[plain] {
			part = name + "=" + secret.Mask
		}
		query = append(query, part)
	}
	if u.RawQuery == "" {
		return r.text(shown.String())
	}
	return r.text(shown.String() + "?" + strings.Join(query, "&"))
}
