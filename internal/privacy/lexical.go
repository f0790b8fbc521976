package privacy

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// This file masks values under personal keys in text that need not be of any
// format: broken JSON, forms, XML, lines of logs.

// maskUnparsed masks text of which the format is not known, such as a row that
// cannot be read, or the beginning of one.
func (p *Policy) maskUnparsed(s string) string {
	return decoded(p.maskForm(s), func(plain string) string { return plainText(p.maskMembers(plain)) })
}

// maskForm masks the values of an encoded form, whose ends can be told only
// before it is decoded.
func (p *Policy) maskForm(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	return p.maskMembers(s)
}

// maskMembers masks the values that follow personal keys: phone=1, "phone":1,
// \"phone\":[…], <phone>1</phone>.
func (p *Policy) maskMembers(s string) string {
	if !strings.ContainsAny(s, ":=<：＝") {
		return s
	}
	var b strings.Builder
	kept, key := 0, make([]byte, 0, 64)
	for i := 0; i < len(s); {
		size := wordAt(s[i:])
		if size == 0 {
			_, skip := utf8.DecodeRuneInString(s[i:])
			i += skip
			continue
		}
		end := i + size
		if key = appendKey(key[:0], s[i:end]); p.hides(key) {
			if from, to := valueAfter(s, i, end); from < to {
				if isHeader(key) {
					to += endOfHeader(s[to:])
				}
				if strings.Trim(s[from:to], "*") != "" {
					b.WriteString(s[kept:from])
					b.WriteString(Mask)
					kept = to
				}
				end = to
			}
		}
		i = end
	}
	if kept == 0 {
		return s
	}
	b.WriteString(s[kept:])
	return b.String()
}

// hides reports whether values under a key are to be masked wherever no better
// way is known.
func (p *Policy) hides(key []byte) bool {
	if p != nil {
		if action, ok := p.rules.keys[string(key)]; ok {
			return action != ActKeep
		}
	}
	return isPersonal(key)
}

// isHeader reports whether a key is that of a header whose value holds spaces,
// semicolons and equals signs.
func isHeader(key []byte) bool {
	switch string(key) {
	case "cookie", "setcookie", "authorization", "proxyauthorization":
		return true
	}
	return false
}

// endOfHeader returns how much of s belongs to the value of a header that goes on there.
func endOfHeader(s string) int {
	if end := strings.IndexAny(s, "\r\n\"'\\<>&{}"); end >= 0 {
		return end
	}
	return len(s)
}

// wordAt returns the bytes of the name that s begins with.
func wordAt(s string) int {
	for i, c := range s {
		if !unicode.IsLetter(c) && !unicode.IsNumber(c) && !unicode.IsMark(c) && c != '_' && c != '-' && !invisible(c) {
			return i
		}
	}
	return len(s)
}

// valueAfter returns where the value begins and ends whose key is s[begin:end];
// an empty range for none.
func valueAfter(s string, begin, end int) (from, to int) {
	if element(s[:begin]) {
		return elementText(s, end)
	}
	i := end
	i += len(s[i:]) - len(strings.TrimLeft(s[i:], "\\\"'”’[0123456789]) \t\r\n")) // phone[0]=1, too
	c, size := utf8.DecodeRuneInString(s[i:])
	if c = narrow(c); c != ':' && c != '=' {
		return 0, 0
	}
	i += size
	if strings.HasPrefix(s[i:], ">") { // as in "phone" => 1
		i++
	}
	i += len(s[i:]) - len(strings.TrimLeft(s[i:], " \t\r\n"))
	if c == '=' {
		if to, ok := formValue(s, begin, i); ok {
			return i, to
		}
	}
	return valueAt(s, i, c == '=')
}

// formValue returns the end of the value at i if that seems to be one of a form: another
// member follows, or the key at begin follows one.
func formValue(s string, begin, i int) (to int, ok bool) {
	size := strings.IndexAny(s[i:], "&=<>\"'\r\n")
	switch {
	case size < 0:
		return len(s), begin > 0 && s[begin-1] == '&'
	case s[i+size] == '&':
		return i + size, true
	}
	return i + size, s[i+size] != '=' && begin > 0 && s[begin-1] == '&'
}

// element reports whether the name that follows s is that of an XML element.
func element(s string) bool {
	if strings.HasSuffix(s, ":") { // a name space
		rest := s[:len(s)-1]
		for len(rest) > 0 {
			c, size := utf8.DecodeLastRuneInString(rest)
			if !unicode.IsLetter(c) && !unicode.IsNumber(c) && c != '_' && c != '-' {
				break
			}
			rest = rest[:len(rest)-size]
		}
		s = rest
	}
	return strings.HasSuffix(s, "<")
}

// elementText returns the range of what an element holds whose name ends at end:
// up to its end, or that of s. Elements within are part of it up to the first
// that has its name.
func elementText(s string, end int) (from, to int) {
	open := strings.IndexAny(s[end:], "<>")
	if open < 0 {
		return end, len(s)
	}
	from = end + open
	if s[from] == '>' {
		if from++; s[from-2] == '/' {
			return 0, 0
		}
	}
	closing := "</" + s[strings.LastIndexByte(s[:end], '<')+1:end]
	for to = from; ; to += len(closing) {
		at := strings.Index(s[to:], closing)
		if at < 0 {
			return from, len(s)
		}
		if to += at; wordAt(s[to+len(closing):]) == 0 {
			return from, to
		}
	}
}

// valueAt returns the range of the value that begins at i: to the end of a
// quoted text; of an object or array, to the end of s; else to a character that
// cannot belong to it.
func valueAt(s string, i int, noSpaces bool) (from, to int) {
	rest := strings.TrimLeft(s[i:], "\\")
	slashes := len(s) - i - len(rest)
	switch {
	case rest == "":
		return i, len(s)
	case rest[0] == '"' || rest[0] == '\'':
		from = i + slashes + 1
		return from, from + quotedEnd(s[from:], rest[0], slashes)
	case rest[0] == '{' || rest[0] == '[':
		return i, len(s)
	}
	for at, c := range s[i:] {
		if strings.ContainsRune(",;&}]<>\"'\r\n，；。", c) || noSpaces && unicode.IsSpace(c) {
			return i, i + at
		}
	}
	return i, len(s)
}

// quotedEnd returns the length of a text up to its quote, which has no more
// backslashes in front than the one it began with, or all of s.
func quotedEnd(s string, quote byte, slashes int) int {
	run := 0
	for i := range len(s) {
		switch {
		case s[i] == '\\':
			run++
			continue
		case s[i] == quote && run <= slashes:
			return i - run
		}
		run = 0
	}
	return len(s)
}

// MaskQuoted masks, whatever the mode, what an answer quotes in a log line or an
// error: members with personal keys, and numbers and codes as [MaskPatterns] does.
func MaskQuoted(s string) string {
	var none *Policy
	return decoded(none.maskForm(s), func(plain string) string { return plainPatterns(none.maskMembers(plain)) })
}
