package httpx

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"connector/internal/secret"
)

// minSecret is the length below which a value is not searched for in text: it
// would mask ordinary words.
const minSecret = 4

// redactor masks secrets in texts and URLs.
type redactor struct {
	params map[string]bool // query parameters whose values are secret
	values []string        // secret wherever they appear, the longest first
}

func newRedactor(params []string, secrets []secret.String) redactor {
	r := redactor{params: map[string]bool{}}
	for _, name := range params {
		r.params[name] = true
	}
	for _, s := range secrets {
		r.values = append(r.values, spellings(s.Reveal())...)
	}
	return r.sorted()
}

// sorted puts the longest values first: one may be the beginning of another.
func (r redactor) sorted() redactor {
	slices.SortFunc(r.values, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return r
}

// spellings returns how value may be written in a URL or text.
func spellings(value string) []string {
	if len(value) < minSecret {
		return nil
	}
	return []string{value, url.QueryEscape(value), url.PathEscape(value)}
}

// with returns r extended by the values of u's secret query parameters.
func (r redactor) with(u *url.URL) redactor {
	r.values = slices.Clone(r.values)
	for name, given := range u.Query() {
		for _, value := range given {
			if r.params[name] {
				r.values = append(r.values, spellings(value)...)
			}
		}
	}
	return r.sorted()
}

// text masks every secret value in s.
func (r redactor) text(s string) string {
	for _, value := range r.values {
		s = strings.ReplaceAll(s, value, secret.Mask)
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
