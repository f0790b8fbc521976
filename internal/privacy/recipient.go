package privacy

import (
	"regexp"
	"strings"
	"unicode"
)

// maskedNumber is what maskNumber makes of a number.
var maskedNumber = regexp.MustCompile(`^(?:\+?[0-9]{3}\*{4,}|\*{3,})(?:[0-9]{2})?$`)

// separatesNumbers reports whether c stands between two recipients.
func separatesNumbers(c rune) bool { return strings.ContainsRune(",;|/，；、\n", c) }

// maskRecipient masks each number of a list. Numbers are separated by commas in
// what it returns.
func maskRecipient(s string) string { return eachNumber(s, maskNumber) }

// HashRecipient returns the recipientHash of events: hex HMAC-SHA-256 over the
// number, of a list the hashes with commas between them. Of a number, + and
// ASCII digits count: full-width digits are ASCII digits, 00 in front is +, and
// the country's code of a Chinese mobile number is left out, so that
// +86 138-0013-8000, 8613800138000 and 13800138000 give the same. What holds no digit counts
// as it is, in lower case. A number that the provider masked has no hash: those of
// different people look alike.
func (p *Policy) HashRecipient(s string) string {
	return eachNumber(s, func(number string) string {
		switch plain := normalize(number); {
		case strings.ContainsAny(number, "*＊xX"):
			return ""
		case plain != "":
			return p.hash(plain)
		}
		return p.hash(strings.ToLower(number))
	})
}

// maxNumbers is how many recipients of a list count: a hash is longer than a number.
const maxNumbers = 100

func eachNumber(s string, use func(string) string) string {
	var out []string
	for item := range strings.FieldsFuncSeq(s, separatesNumbers) {
		if len(out) == maxNumbers {
			break
		}
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		if item = use(item); item != "" {
			out = append(out, item)
		}
	}
	return strings.Join(out, ",")
}

// normalize returns + and the digits of a number, "" for none.
func normalize(number string) string {
	var b strings.Builder
	for _, c := range number {
		switch c = narrow(c); {
		case isDigit(c):
			b.WriteRune(c)
		case c == '+' && b.Len() == 0:
			b.WriteRune(c)
		}
	}
	plain := b.String()
	if rest, ok := strings.CutPrefix(plain, "00"); ok {
		plain = "+" + rest
	}
	if national, ok := strings.CutPrefix(strings.TrimPrefix(plain, "+"), "86"); ok && isMobile(national) {
		return national
	}
	if plain == "+" {
		return ""
	}
	return plain
}

// isMobile reports whether digits are a Chinese mobile number.
func isMobile(digits string) bool {
	return len(digits) == 11 && digits[0] == '1' && digits[1] >= '3' && digits[1] <= '9'
}

// maskNumber keeps the first three and the last two digits of a number that has
// nine or more, the last two of one with seven or eight, none of a shorter one.
func maskNumber(number string) string {
	if maskedNumber.MatchString(number) {
		return number
	}
	plain := normalize(number)
	digits := strings.TrimPrefix(plain, "+")
	sign := plain[:len(plain)-len(digits)]
	n := len(digits)
	switch {
	case n >= 9:
		return sign + digits[:3] + strings.Repeat("*", min(n, 32)-5) + digits[n-2:]
	case n >= 7:
		return strings.Repeat("*", n-2) + digits[n-2:]
	}
	return Mask
}

// hashValue hashes a value by a rule: one that is a phone number as HashRecipient
// does.
func (p *Policy) hashValue(s string) string {
	if !strings.ContainsFunc(s, unicode.IsLetter) && len(normalize(s)) >= 7 {
		return p.HashRecipient(s)
	}
	return p.hash(s)
}
