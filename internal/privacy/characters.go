package privacy

import "unicode"

// narrow returns the ASCII character that c shows: full-width forms, and digits
// of any script. Others are returned as they are.
func narrow(c rune) rune {
	switch {
	case c < 0x80:
		return c
	case c >= 0xFF01 && c <= 0xFF5E:
		return c - 0xFF01 + '!'
	case c == 0x3000 || c == 0xA0:
		return ' '
	case c >= 0x2010 && c <= 0x2015 || c == 0x2212:
		return '-'
	case unicode.Is(unicode.Nd, c):
		return '0' + digitOf(c)
	}
	return c
}

// digitOf returns the value of a decimal digit: each script has ten in a row,
// of which the first is the value zero.
func digitOf(c rune) rune {
	first := c
	for c-first < 9 && unicode.Is(unicode.Nd, first-1) {
		first--
	}
	return (c - first) % 10
}

// invisible reports whether c shows nothing, and may stand between digits.
func invisible(c rune) bool {
	return c >= 0x80 && (unicode.In(c, unicode.Cf, unicode.Variation_Selector) || c == 0x20E3) // U+20E3 draws a key around a digit
}

func isDigit(c rune) bool { return c >= '0' && c <= '9' }

func isAlnum(c rune) bool { return isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
