package privacy

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

var (
	// phonePattern is a Chinese mobile number, with or without the country's code: digits that spaces
	// and hyphens may part, or groups of three, four and four.
	phonePattern = regexp.MustCompile(`(?:(?:\+|00)?86[ \-]?)?1(?:[ \-]?[3-9](?:[ \-]?[0-9]){9}|[3-9][0-9][ \-+._/·()\t]{1,3}[0-9]{4}[ \-+._/·()\t]{1,3}[0-9]{4})`)
	// identityPattern is a Chinese identity number: region, date of birth, serial number, check digit.
	identityPattern = regexp.MustCompile(`[1-9][0-9]{5}(?:18|19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{3}[0-9Xx]`)
)

// leastDigits is how many digits the shortest number has that is hidden by its pattern.
const leastDigits = 11

// MaskPatterns hides Chinese mobile and identity numbers and e-mail addresses
// in a text, and codes where the text announces one.
func MaskPatterns(s string) string {
	at, digits, escapes, high := false, 0, false, false
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c == '@':
			at = true
		case c == '\\' || c == '&' || c == '%':
			escapes = true
		case c >= utf8.RuneSelf:
			high = true
		}
	}
	if digits == 0 && !at && !escapes && !high || digits < minToken && !at && !escapes && !wideDigits(s, high) {
		return s
	}
	return decoded(s, plainPatterns)
}

// wideDigits reports whether s, which may hold what is not ASCII, has digits
// or an at sign of other scripts.
func wideDigits(s string, high bool) bool {
	return high && strings.ContainsFunc(s, func(c rune) bool { return c >= utf8.RuneSelf && (isDigit(narrow(c)) || c == '＠') })
}

func plainPatterns(s string) string {
	if announcesCode(s) {
		return plainText(s)
	}
	ascii := s
	if strings.ContainsFunc(s, func(c rune) bool { return shown(c) != c }) {
		ascii = strings.Map(shown, s)
	}
	masked := ascii
	if strings.ContainsAny(masked, "@＠") {
		masked = emailPattern.ReplaceAllLiteralString(masked, Mask)
	}
	masked = maskNumbers(identityPattern, masked)
	masked = maskNumbers(phonePattern, masked)
	if masked == ascii {
		return s
	}
	return masked
}

// shown returns the ASCII character that c shows if a number may hold that, -1 if it shows nothing, else c.
func shown(c rune) rune {
	if invisible(c) {
		return -1
	}
	if n := narrow(c); isDigit(n) || n == ' ' || n == '-' || n == '+' {
		return n
	}
	return c
}

// maskNumbers hides what pattern finds, unless it is a part of a longer number.
func maskNumbers(pattern *regexp.Regexp, s string) string {
	digits := 0
	for i := range len(s) {
		if s[i] >= '0' && s[i] <= '9' {
			digits++
		}
	}
	if digits < leastDigits {
		return s
	}
	var b strings.Builder
	kept := 0
	for from := 0; from < len(s); {
		at := pattern.FindStringIndex(s[from:])
		if at == nil {
			break
		}
		begin, end := from+at[0], from+at[1]
		if begin > 0 && isDigit(rune(s[begin-1])) || end < len(s) && isDigit(rune(s[end])) {
			from = begin + 1 + len(s[begin+1:]) - len(strings.TrimLeft(s[begin+1:], "0123456789")) // nothing begins within digits
			continue
		}
		b.WriteString(s[kept:begin])
		b.WriteString(Mask)
		kept, from = end, end
	}
	if kept == 0 {
		return s
	}
	b.WriteString(s[kept:])
	return b.String()
}
