// Package secret holds values that must never be printed.
package secret

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"unicode"
)

// Mask replaces the value wherever it would be printed. It does not tell the length.
const Mask = "****"

// String is a secret text. However it is printed, logged or encoded (fmt with
// any verb, JSON, text, slog), it appears as "****", or as nothing when it is
// empty; only [String.Reveal] gives the value. The zero value is empty.
//
// The value sits behind a pointer because fmt prints unexported fields of a
// surrounding struct without asking their methods: it then prints an address.
// For the same reason == compares addresses, not values.
type String struct{ v *string }

// New returns s as a secret.
func New(s string) String {
	if s == "" {
		return String{}
	}
	return String{&s}
}

// Reveal returns the value, to hand to the one call that needs it.
func (s String) Reveal() string {
	if s.v == nil {
		return ""
	}
	return *s.v
}

// IsZero reports whether s is empty.
func (s String) IsZero() bool { return s.v == nil }

// Decode sets s from a variable of the environment. It refuses line breaks and
// other control characters, which no key or token holds; its error does not
// hold the value.
func (s *String) Decode(value string) error {
	if strings.ContainsFunc(value, unicode.IsControl) {
		return errors.New("holds a line break or another control character; remove it")
	}
	*s = New(value)
	return nil
}

// String returns the mask.
func (s String) String() string {
	if s.IsZero() {
		return ""
	}
	return Mask
}

// GoString returns the mask.
func (s String) GoString() string { return s.String() }

// Format writes the mask for every verb and flag.
func (s String) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText returns the mask.
func (s String) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON returns the mask as a JSON string.
func (s String) MarshalJSON() ([]byte, error) { return []byte(`"` + s.String() + `"`), nil }

// LogValue returns the mask.
func (s String) LogValue() slog.Value { return slog.StringValue(s.String()) }
