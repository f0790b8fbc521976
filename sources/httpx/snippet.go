package httpx

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"connector/internal/privacy"
)

const (
	maxSnippet = 200      // bytes of a body in an error's text
	ellipsis   = "\u2026" // marks a cut snippet
)

// snippet returns the beginning of an answer as one short line of plain text,
// without what is personal in it: a provider may quote a row, or hold rows where
// none are expected.
func (r redactor) snippet(body []byte) string {
	plain := strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || unicode.IsSpace(c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(string(body), "\uFFFD"))
	plain = privacy.MaskQuoted(r.beginningOf(strings.Join(strings.Fields(plain), " ")))
	if len(plain) <= maxSnippet {
		return plain
	}
	cut := maxSnippet - len(ellipsis)
	for !utf8.RuneStart(plain[cut]) {
		cut--
	}
	return plain[:cut] + ellipsis
}
