package privacy

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// This file masks the scalars of JSON.

// string rewrites a string, which is v.
func (w *rewriter) string(v jsontext.Value, t treatment, depth int) error {
	if t != recipient && harmless(v) {
		return w.enc.WriteValue(v)
	}
	given := scalar(v)
	switch t {
	case plain:
		return w.put(v, maskPlain(given))
	case note:
		return w.put(v, MaskPatterns(given))
	case recipient:
		return w.put(v, maskRecipient(given))
	case text:
		return w.put(v, w.p.maskMessage(given, w.level))
	case body, keep, hide, hash, drop:
	}
	return w.put(v, w.p.maskString(given, depth == 0, w.level))
}

// harmless reports whether a JSON string needs no look: it holds letters of
// ASCII and what joins words.
func harmless(v jsontext.Value) bool {
	for _, c := range v[1 : len(v)-1] {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != ' ' && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// maxPlain is the longest id or word, in bytes, that is kept as it is.
const maxPlain = 128

// maskPlain masks what is no id, time or word, although it should be one.
func maskPlain(s string) string {
	if len(s) > maxPlain {
		return maskText(s)
	}
	if strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' && c != ' ' || c == '@' || c >= utf8.RuneSelf }) {
		return MaskPatterns(s)
	}
	if len(s) >= leastDigits && (isMobile(normalize(s)) || identityPattern.MatchString(s)) {
		return plainPatterns(s)
	}
	return s
}

// maskMessage masks the text of a message by the text rule; of one that is JSON,
// each string and number, and what has personal keys.
func (p *Policy) maskMessage(s string, level int) string {
	if out, err := p.maskJSON(s, text, level); err == nil {
		return out
	}
	return maskText(s)
}

// maskString masks what a string of a body holds: JSON as JSON, else the
// members of any notation, then what the patterns find or, if all is true, the text rule.
func (p *Policy) maskString(s string, all bool, level int) string {
	out, err := p.maskJSON(s, body, level)
	if err == nil {
		return out
	}
	all = all || !errors.Is(err, errNoJSON)
	return decoded(p.maskForm(s), func(plain string) string {
		if plain = p.maskMembers(plain); all {
			return plainText(plain)
		}
		return plainPatterns(plain)
	})
}

// errNoJSON says that a string does not begin as JSON.
var errNoJSON = errors.New("no JSON")

// maskJSON masks a string that holds an object, an array or a string of JSON.
func (p *Policy) maskJSON(s string, t treatment, level int) (string, error) {
	inner := strings.TrimSpace(s)
	if inner == "" || strings.IndexByte(`{["`, inner[0]) < 0 {
		return "", errNoJSON
	}
	if level >= maxLevels {
		return Mask, nil
	}
	out, changed, err := p.rewrite([]byte(inner), level+1, func(w *rewriter) error { return w.value(t, 0) })
	if changed {
		s = string(out)
	}
	return s, err
}

// number rewrites a number, which is v.
func (w *rewriter) number(v jsontext.Value, t treatment) error {
	given := string(v)
	safe := given
	switch t {
	case recipient:
		safe = maskRecipient(given)
	case text:
		safe = plainText(given)
	case body, note:
		if safe = plainPatterns(decimal(given)); safe == decimal(given) {
			safe = given
		}
	case keep, plain, hide, hash, drop:
	}
	if safe == given {
		return w.enc.WriteValue(v)
	}
	return w.put(v, safe)
}

// decimal returns a number without an exponent, or as it is if it is none that a
// person has.
func decimal(number string) string {
	if !strings.ContainsAny(number, "eE") {
		return number
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || math.Abs(n) >= 1e18 {
		return number
	}
	return strconv.FormatFloat(n, 'f', -1, 64)
}
