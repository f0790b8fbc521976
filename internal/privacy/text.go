package privacy

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// minToken is the least number of letters and digits that are hidden.
const minToken = 4

var (
	emailPattern = regexp.MustCompile(`(?:[A-Za-z0-9._%+\-]+|\p{Han}+)[@＠](?:[A-Za-z0-9][A-Za-z0-9.\-]*|[\pL\pN][\pL\pN.\-]*)`)
	linkPattern  = regexp.MustCompile(`(://[^\s/?#]+|[A-Za-z0-9\-]+\.[A-Za-z]{2,}(?::[0-9]+)?)[/?#][!-~]+`)
)

// maskText hides, in the text of a message, e-mail addresses, what of a link
// follows the host, and every token of four or more letters and digits that holds
// a digit. Words joined by hyphens, and groups of digits joined by spaces, are
// one token; escapes count as the characters they stand for.
func maskText(s string) string {
	if !strings.ContainsFunc(s, func(c rune) bool {
		return c == '@' || c == '＠' || c == '/' || isDigit(narrow(c)) || c == '\\' || c == '&' || c == '%'
	}) {
		return s
	}
	return decoded(s, plainText)
}

// decoded applies mask to s, its escapes decoded; what needs no mask stays as it
// is written.
func decoded(s string, mask func(string) string) string {
	plain := unescape(s)
	masked := mask(plain)
	if masked == plain && (plain == s || utf8.ValidString(s) && mask(s) == s) {
		return s
	}
	return masked
}

func plainText(s string) string {
	if strings.ContainsAny(s, "@＠") {
		s = emailPattern.ReplaceAllLiteralString(s, Mask)
	}
	if strings.Contains(s, "/") {
		s = linkPattern.ReplaceAllStringFunc(s, maskLink)
	}
	return maskTokens(s)
}

// maskLink hides what follows the host of a link.
func maskLink(link string) string {
	host := strings.Index(link, "://")
	if host < 0 {
		host = 0
	} else {
		host += len("://")
	}
	end := host + strings.IndexAny(link[host:], "/?#")
	return link[:end+1] + Mask
}

// maskTokens hides tokens that hold a digit.
func maskTokens(s string) string {
	var b strings.Builder
	kept := 0
	for i := 0; i < len(s); {
		c, size := utf8.DecodeRuneInString(s[i:])
		if !isAlnum(narrow(c)) {
			i += size
			continue
		}
		t := readToken(s[i:])
		if t.digits > 0 && t.chars >= minToken {
			b.WriteString(s[kept:i])
			b.WriteString(Mask)
			kept = i + t.size
		}
		i += t.size
	}
	if kept == 0 {
		return s
	}
	b.WriteString(s[kept:])
	return b.String()
}

// token is the beginning of a text: words and what joins them.
type token struct {
	size          int // bytes
	chars, digits int // letters and digits, and digits among them
}

// readToken reads the words at the beginning of s that belong together.
func readToken(s string) token {
	t := readWord(s)
	for last := t; ; {
		space, gap := joint(s[t.size:])
		if gap == 0 {
			return t
		}
		next := readWord(s[t.size+gap:])
		if next.size == 0 || space && (next.chars > next.digits || last.chars > last.digits) {
			return t
		}
		t = token{t.size + gap + next.size, t.chars + next.chars, t.digits + next.digits}
		last = next
	}
}

// readWord reads letters and digits; what is invisible between them belongs to them.
func readWord(s string) (t token) {
	for i, c := range s {
		n := narrow(c)
		switch {
		case isAlnum(n):
			t.chars++
			if isDigit(n) {
				t.digits++
			}
			t.size = i + utf8.RuneLen(c)
		case !invisible(c):
			return t
		}
	}
	return t
}

// maxJoint is the most characters between groups that belong together.
const maxJoint = 3

// joint returns the bytes at the beginning of s that may join two words, and
// whether a space is among them.
func joint(s string) (space bool, size int) {
	count := 0
	for i, c := range s {
		switch n := narrow(c); {
		case n == ' ':
			space = true
		case n == '-' || n == '_' || n == '\\':
		case invisible(c):
			continue
		default:
			return space, i
		}
		if count++; count > maxJoint {
			return space, 0
		}
	}
	return space, 0
}
