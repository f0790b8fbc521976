package privacy

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// unescape decodes the escapes of JSON (\u0031, \x31), URLs (%31) and HTML
// (&#49;) in s, also those within each other, and mends what is not UTF-8.
// Nothing is left to decode in what it returns.
//
// It goes from the end to the beginning: an escape begins with its mark, so
// that whatever decoding yields is looked at again together with what follows.
func unescape(s string) string {
	if !strings.ContainsAny(s, `\&%`) {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	u := unescaper{b: make([]byte, len(s)), plain: make([]bool, len(s)), at: len(s)}
	for i := len(s) - 1; i >= 0; i-- {
		u.one[0] = s[i]
		u.arrive(u.one[:])
	}
	u.flush()
	return strings.ToValidUTF8(string(u.b[u.at:]), "\uFFFD")
}

// unescaper holds the text decoded so far, b[at:], and the number of
// backslashes in front of it.
type unescaper struct {
	b       []byte
	at      int
	slashes int
	one     [1]byte // the character that arrives
	plain   []bool  // which bytes begin an ordinary character that was escaped
}

// arrive puts a character in front of the text.
func (u *unescaper) arrive(c []byte) {
	for size := 1; size > 0; u.at += size {
		if len(c) == 1 && c[0] == '\\' {
			u.slashes++
			return
		}
		u.flush()
		u.at -= len(c)
		copy(u.b[u.at:], c)
		u.plain[u.at] = false
		c, size = marked(u.b[u.at:])
	}
}

// flush puts the backslashes in front of the text, or what they escape: an
// escape within others has a run of them. Before an ordinary character
// that was escaped none are left, so that nothing stands between digits.
func (u *unescaper) flush() {
	for u.slashes > 0 {
		c, size := slashed(u.b[u.at:])
		if size == 0 {
			if u.at == len(u.b) || !u.plain[u.at] {
				u.at -= u.slashes
				copy(u.b[u.at:], bytes.Repeat([]byte{'\\'}, u.slashes))
			}
			u.slashes = 0
			return
		}
		run := u.slashes
		for run%2 == 0 {
			run /= 2
		}
		u.at += size
		u.slashes = 0
		u.arrive(c)
		if u.slashes > 0 || !plainChar(u.b[u.at]) {
			u.slashes += run / 2
		} else {
			u.plain[u.at] = true
		}
	}
}

// plainChar reports whether c neither begins nor ends anything, so that no
// backslash in front of it means anything.
func plainChar(c byte) bool { return strings.IndexByte(`ux"'\&%`, c) < 0 }

// marked decodes the escape of a URL or of HTML that b begins with: what it
// stands for, which is shorter, and its size, 0 if there is none.
func marked(b []byte) (c []byte, size int) {
	switch b[0] {
	case '%':
		return number(b, 1, 3, true)
	case '&':
		return entity(b)
	}
	return nil, 0
}

// slashed decodes the escape of JSON that b begins with, the backslash left out.
func slashed(b []byte) (c []byte, size int) {
	switch {
	case len(b) == 0:
	case b[0] == 'u':
		return number(b, 1, 5, false)
	case b[0] == 'x':
		return number(b, 1, 3, false)
	}
	return nil, 0
}

// number decodes the hex digits b[from:to] as one byte or as a character.
func number(b []byte, from, to int, single bool) (c []byte, size int) {
	if len(b) < to {
		return nil, 0
	}
	n, err := strconv.ParseUint(string(b[from:to]), 16, 32)
	switch {
	case err != nil:
		return nil, 0
	case single:
		return []byte{byte(n)}, to
	}
	return character(n), to
}

// character returns the UTF-8 of a code point, U+FFFD for none. It is shorter
// than any escape.
func character(n uint64) []byte {
	if n > utf8.MaxRune {
		n = utf8.RuneError
	}
	return utf8.AppendRune(nil, rune(n))
}

const maxEntity = 12 // bytes

// entity decodes &#49; &#x31; &amp; and the like.
func entity(b []byte) (c []byte, size int) {
	end := 0
	for end < min(len(b), maxEntity) && b[end] != ';' {
		end++
	}
	if end >= len(b) || b[end] != ';' || end < 3 {
		return nil, 0
	}
	name := string(b[1:end])
	switch name {
	case "amp":
		return []byte{'&'}, end + 1
	case "quot":
		return []byte{'"'}, end + 1
	case "apos":
		return []byte{'\''}, end + 1
	case "lt":
		return []byte{'<'}, end + 1
	case "gt":
		return []byte{'>'}, end + 1
	}
	if name[0] != '#' {
		return nil, 0
	}
	digits, base := name[1:], 10
	if digits[0] == 'x' || digits[0] == 'X' {
		digits, base = digits[1:], 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil {
		return nil, 0
	}
	return character(n), end + 1
}
