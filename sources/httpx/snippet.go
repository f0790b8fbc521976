package httpx

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"connector/internal/privacy"
)

const (
	maxSnippet = 200      // bytes of a body in an error's text
	leastCut   = 512      // bytes of a body from which on it may be cut anywhere, in a number or an address, too
	maxTail    = 256      // bytes at the end of a cut text in which the beginning of one is searched
	ellipsis   = "\u2026" // marks a cut snippet
)

// tail is what may be the beginning of a number, a name or an address at the end of a cut text.
var tail = regexp.MustCompile(`[\pL\pN@.%\\+\-_ ]{3,64}$`)

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
	plain = r.beginningOf(strings.Join(strings.Fields(plain), " "))
	plain = plain[:min(len(plain), maxErrorBody)]
	if len(body) >= leastCut {
		end := max(0, len(plain)-maxTail)
		plain = strings.ToValidUTF8(plain[:end]+tail.ReplaceAllLiteralString(plain[end:], ""), "\uFFFD")
	}
	plain = privacy.MaskQuoted(plain)
	if len(plain) <= maxSnippet {
		return plain
	}
	cut := maxSnippet - len(ellipsis)
	for !utf8.RuneStart(plain[cut]) {
		cut--
	}
	return plain[:cut] + ellipsis
}
