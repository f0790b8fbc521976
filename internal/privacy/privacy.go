// Package privacy hides personal data in events, dead letters and texts before
// anything of them is written: recipients, codes in message texts, and personal
// values in the bodies of requests and responses. It also makes the keyed
// digests that name rows which cannot be read.
//
// A [Policy] is one account's; docs/privacy.md says what each mode does.
package privacy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"sync"

	"connector/internal/secret"
)

// Mode says how much is hidden.
type Mode string

// The modes.
const (
	Off      Mode = "off"      // nothing
	Standard Mode = "standard" // recipients, codes, and what is personal in bodies
	Strict   Mode = "strict"   // recipients; texts, bodies and unknown fields are left out
)

// Choices are the values of the type.
func (Mode) Choices() []string { return []string{string(Standard), string(Strict), string(Off)} }

// Decode reads one of Choices, in any case.
func (m *Mode) Decode(value string) error {
	switch mode := Mode(strings.ToLower(value)); mode {
	case Off, Standard, Strict:
		*m = mode
		return nil
	}
	return errors.New("use standard, strict or off")
}

// Mask stands for what was hidden.
const Mask = "***"

// Policy hides what the mode and the rules of an account say. A nil Policy
// hides nothing and has an empty key. Its methods may be called from several
// goroutines.
type Policy struct {
	mode      Mode
	rules     Rules
	key       []byte
	raw       bool
	rewriters sync.Pool
}

// New returns a policy whose hashes and digests are made with key. raw says
// whether events carry the provider's row. Mode off knows no rules.
func New(mode Mode, rules Rules, key secret.String, raw bool) *Policy {
	if mode == Off {
		rules = Rules{}
	}
	return &Policy{mode: mode, rules: rules, key: []byte(key.Reveal()), raw: raw}
}

// DeriveKey returns the key of an account for which none is configured: made
// from its credential, from which it cannot be told, and the same until that changes.
func DeriveKey(credential secret.String) secret.String {
	sum := keyed([]byte(credential.Reveal()), "connector privacy key")
	return secret.New(hex.EncodeToString(sum[:]))
}

// Mode returns what the policy applies.
func (p *Policy) Mode() Mode {
	if p == nil {
		return Off
	}
	return p.mode
}

// Digest returns what tells rows apart and does not reveal them, given the hex
// SHA-256 of a row: hex HMAC-SHA-256 over "row:" and sum. A plain hash of a row
// of which only a code of six digits is unknown can be found by trying all.
func (p *Policy) Digest(sum string) string {
	var key []byte
	if p != nil {
		key = p.key
	}
	return hexed(keyed(key, "row:"+sum))
}

// hash returns the hex HMAC-SHA-256 over a value; that of a phone number is the
// recipientHash of events.
func (p *Policy) hash(value string) string { return hexed(keyed(p.key, value)) }

func keyed(key []byte, text string) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte(text))
	h.Sum(sum[:0])
	return sum
}

func hexed(sum [sha256.Size]byte) string {
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], sum[:])
	return string(text[:])
}
